"""The answer as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.domain.errors import Overdue, Stopping
from core.domain.response import HttpResponse
from core.routing.executor import Failed, Succeeded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from core.domain.image_json import Buffer
    from core.responses.generation_task import GenerationTask
    from core.responses.response_builder import ResponseBuilder


async def respond_json(reader: GenerationTask, composer: ResponseBuilder) -> HttpResponse:
    """Wait for the end of a generation and answer with it. Raises Stopping or Overdue.

    Of a generation that goes on, the caller is told now that it is not there yet; it is waited for behind the answer,
    within the invocation.
    """
    try:
        event = await reader.wait()
        while not isinstance(event, Succeeded | Failed):
            event = await reader.wait()
        reply = await composer.compose(event)
    except (Stopping, Overdue) as end:
        await reader.closed_for(end)
        if reader.goes_on:
            return _with_the_rest_behind(composer.envelope.refused(end), reader)
        raise
    except BaseException:
        await reader.aclose()
        raise
    await reader.aclose()
    return reply


def _with_the_rest_behind(reply: HttpResponse, reader: GenerationTask) -> HttpResponse:
    length = str(sum(len(piece) for piece in reply.whole))
    return HttpResponse(
        status=reply.status, headers={**reply.headers, "content-length": length}, body=_Tailed(reply.whole, reader)
    )


class _Tailed:
    """An answer that is there, and a generation to be waited for after it.

    The caller has the whole answer by its length. The response is ended later, so that the host sees a call in flight
    and leaves the process alone.
    """

    def __init__(self, body: tuple[Buffer, ...], reader: GenerationTask) -> None:
        self._reader = reader
        self._pieces = _pieces(body, reader)

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._pieces

    async def aclose(self) -> None:
        await self._pieces.aclose()
        await self._reader.aclose()


async def _pieces(body: tuple[Buffer, ...], reader: GenerationTask) -> AsyncGenerator[Buffer]:
    for piece in body:
        yield piece
    await reader.aclose()
