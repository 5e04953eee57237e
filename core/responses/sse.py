"""The response as server-sent events (contract §4, "Stream").

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
    from core.generation_task import GenerationTask
    from core.responses.response_builder import ResponseBuilder
    from core.routing.executor import Progress

KEEP_ALIVE: Final = b": keep-alive\n\n"


async def respond_stream(task: GenerationTask, builder: ResponseBuilder, *, heartbeat_seconds: float) -> HttpResponse:
    """Answer with the first event, or with a silent stream once `heartbeat_seconds` have gone by without one."""
    try:
        first = await task.next_event(heartbeat_seconds)
    except (Stopping, Overdue) as end:
        await task.close_for(end)
        await task.aclose()
        raise
    except BaseException:
        await task.aclose()
        raise
    if isinstance(first, Failed):
        await task.aclose()
        return await builder.build(first)
    headers = dict(STREAM_HEADERS)
    if first is not None:
        known = (
            builder.headers(first)
            if isinstance(first, Succeeded)
            else answer_headers(first.step, first.summary, first.partial.relayed)
        )
        headers = {**known, **headers}
    return HttpResponse(status=200, headers=headers, body=_StreamBody(first, task, builder, heartbeat_seconds))


class _StreamBody:
    """The stream itself. Closing it frees the generation, also where nobody began to read."""

    def __init__(
        self, first: Progress | None, task: GenerationTask, builder: ResponseBuilder, heartbeat_seconds: float
    ) -> None:
        self._first = first
        self._has_begun = False
        self._task = task
        self._pieces = self._serialize(first, builder, heartbeat_seconds)

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._pieces

    async def aclose(self) -> None:
        await self._pieces.aclose()
        if not self._has_begun and isinstance(self._first, Succeeded):
            self._task.put_back(self._first)
        await self._task.aclose()

    async def _serialize(
        self, event: Progress | None, builder: ResponseBuilder, heartbeat_seconds: float
    ) -> AsyncGenerator[Buffer]:
        self._has_begun = True
        task, call = self._task, builder.call
        try:
            while True:
                for piece in await _serialize_progress(event, builder):
                    yield piece
                if isinstance(event, Succeeded | Failed):
                    event = None
                    return
                event = None
                event = await task.next_event(heartbeat_seconds)
        except (Stopping, Overdue) as end:
            await task.close_for(end)
            yield _error_event(call.error_json(end))
        except Exception as fault:  # noqa: BLE001 -- the status has gone out: the caller must hear of it as an event
            write_fault(fault, call.event_id)
            yield _error_event(call.error_json(InternalFault(retry_safe=False)))
        finally:
            if isinstance(event, Succeeded):  # not all of it was sent
                task.put_back(event)
            await task.aclose()


async def _serialize_progress(event: Progress | None, builder: ResponseBuilder) -> Iterable[Buffer]:
    match event:
        case None:
            return (KEEP_ALIVE,)
        case PartialImage():
            builder.call.note_first_event()
            partial = event.partial.event
            value = {"index": 0, **partial.value, "type": PARTIAL}
            return split_pieces(serialize_event(PARTIAL, ImageJson(value, partial.literals)))
        case Succeeded():
            builder.call.note_first_event()
            return (await builder.build(event)).whole
        case Failed():
            return (_error_event(builder.call.error_json(failure_of(event))),)


def _error_event(value: dict[str, Any]) -> bytes:
    return b"".join(serialize_event(ERROR, ImageJson({**value, "type": ERROR})))
