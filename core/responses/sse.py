"""The answer as server-sent events (contract §4, "Stream").

The status is held back until the first event, or for one heartbeat: a failure until then is a normal JSON error.
After that silence is filled with comment lines -- never with an event without data, which breaks SDKs -- and what
goes wrong is one last `error` event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.domain.errors import InternalFault, Overdue, Stopping
from core.domain.image_json import ImageJson
from core.domain.image_response import ERROR, PARTIAL
from core.domain.response import HttpResponse
from core.responses.headers import answer_headers
from core.responses.pieces import split_pieces
from core.responses.response_builder import STREAM_HEADERS
from core.responses.sse_format import serialize_event
from core.responses.upstream_errors import failure_of
from core.routing.executor import Failed, PartialImage, Succeeded
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from core.domain.image_json import Buffer
    from core.responses.generation_task import GenerationTask
    from core.responses.response_builder import ResponseBuilder
    from core.routing.executor import Progress

KEEP_ALIVE: Final = b": keep-alive\n\n"


async def respond_stream(
    reader: GenerationTask, composer: ResponseBuilder, *, heartbeat_seconds: float
) -> HttpResponse:
    """Answer with the first event, or with a silent stream once `heartbeat_seconds` have gone by without one."""
    try:
        first = await reader.wait(heartbeat_seconds)
    except (Stopping, Overdue) as end:
        await reader.closed_for(end)
        await reader.aclose()
        raise
    except BaseException:
        await reader.aclose()
        raise
    if isinstance(first, Failed):
        await reader.aclose()
        return await composer.compose(first)
    headers = dict(STREAM_HEADERS)
    if first is not None:
        relayed = first.partial.relayed if isinstance(first, PartialImage) else first.picture.relayed
        headers = {**answer_headers(first.step, first.trail, relayed), **headers}
    return HttpResponse(status=200, headers=headers, body=_Body(first, reader, composer, heartbeat_seconds))


class _Body:
    """The stream itself. Closing it frees the generation, also where nobody began to read."""

    def __init__(
        self, first: Progress | None, reader: GenerationTask, composer: ResponseBuilder, heartbeat_seconds: float
    ) -> None:
        self._reader = reader
        self._pieces = _pieces(first, reader, composer, heartbeat_seconds)

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._pieces

    async def aclose(self) -> None:
        await self._pieces.aclose()
        await self._reader.aclose()


async def _pieces(
    event: Progress | None, reader: GenerationTask, composer: ResponseBuilder, heartbeat_seconds: float
) -> AsyncGenerator[Buffer]:
    envelope = composer.envelope
    try:
        while True:
            for piece in await _told(event, composer):
                yield piece
            if isinstance(event, Succeeded | Failed):
                return
            event = None
            event = await reader.wait(heartbeat_seconds)
    except (Stopping, Overdue) as end:
        await reader.closed_for(end)
        yield _error(envelope.error_value(end))
    except Exception as fault:  # noqa: BLE001 -- the status has gone out: the caller must hear of it as an event
        write_fault(fault, envelope.event_id)
        yield _error(envelope.error_value(InternalFault(retry_safe=False)))
    finally:
        await reader.aclose()


async def _told(event: Progress | None, composer: ResponseBuilder) -> Iterable[Buffer]:
    match event:
        case None:
            return (KEEP_ALIVE,)
        case PartialImage():
            composer.envelope.picture_event()
            partial = event.partial.event
            value = {"index": 0, **partial.value, "type": PARTIAL}
            return split_pieces(serialize_event(PARTIAL, ImageJson(value, partial.literals)))
        case Succeeded():
            composer.envelope.picture_event()
            return (await composer.compose(event)).whole
        case Failed():
            return (_error(composer.envelope.error_value(failure_of(event))),)


def _error(value: dict[str, Any]) -> bytes:
    return b"".join(serialize_event(ERROR, ImageJson({**value, "type": ERROR})))
