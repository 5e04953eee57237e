"""The response as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.domain.errors import Overdue, Stopping
from core.domain.response import HttpResponse
from core.errors_http import error_response
from core.routing.executor import Failed, Succeeded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from core.domain.image_json import Buffer
    from core.generation_task import GenerationTask
    from core.responses.response_builder import ResponseBuilder


async def respond_json(task: GenerationTask, builder: ResponseBuilder) -> HttpResponse:
    """Wait for the end of a generation and answer with it. Raises Stopping or Overdue.

    If the generation goes on after that, the caller is told so now, and the end is waited for behind the answer,
    within the invocation.
    """
    event = None
    try:
        while not isinstance(event, Succeeded | Failed):
            event = await task.next_event()
        response = await builder.build(event)
    except (Stopping, Overdue) as end:
        await task.close_for(end)
        if task.goes_on:
            return _keep_open(error_response(builder.call, end), task)
        raise
    except BaseException:
        if isinstance(event, Succeeded):
            task.put_back(event)
        await task.aclose()
        raise
    await task.aclose()
    return response


def _keep_open(response: HttpResponse, task: GenerationTask) -> HttpResponse:
    length = str(sum(len(piece) for piece in response.whole))
    return HttpResponse(
        status=response.status,
        headers={**response.headers, "content-length": length},
        body=_OpenBody(response.whole, task),
    )


class _OpenBody:
    """A whole answer, and a generation to be waited for after it.

    The caller has the whole answer by its length. The response is ended later, so that the host sees a call in flight
    and leaves the process alone.
    """

    def __init__(self, body: tuple[Buffer, ...], task: GenerationTask) -> None:
        self._task = task
        self._pieces = _pieces(body, task)

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._pieces

    async def aclose(self) -> None:
        await self._pieces.aclose()
        await self._task.aclose()


async def _pieces(body: tuple[Buffer, ...], task: GenerationTask) -> AsyncGenerator[Buffer]:
    for piece in body:
        yield piece
    await task.aclose()
