"""The answer as server-sent events (contract §4, "Stream").

The status is held back until the first event, or for one heartbeat: a failure until then is a normal JSON error.
After that silence is filled with comment lines -- never with an event without data, which breaks SDKs -- and what
goes wrong is one last `error` event.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from core.contract.answer import ERROR, PARTIAL, unfold
from core.contract.document import Document
from core.contract.errors import InternalFault
from core.contract.reply import EVENT_STREAM, Reply
from core.delivery.failure import failure_of
from core.delivery.headers import answer_headers
from core.delivery.pieces import in_pieces
from core.generation import Drawn, GaveUp, Showing
from core.logs import write_fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from core.contract.document import Buffer
    from core.delivery.envelope import Envelope
    from core.generation import Progress

KEEP_ALIVE: Final = b": keep-alive\n\n"
_HEADERS: Final = {
    "content-type": f"{EVENT_STREAM}; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


async def deliver_stream(events: AsyncGenerator[Progress], envelope: Envelope, *, heartbeat_seconds: float) -> Reply:
    """Answer with the first event, or with a silent stream once `heartbeat_seconds` have gone by without one."""
    reader = _Reader(events, envelope.event_id)
    try:
        first = await reader.wait(heartbeat_seconds)
    except BaseException:
        await reader.aclose()
        raise
    if isinstance(first, GaveUp):
        await reader.aclose()
        return envelope.gave_up(first)
    headers = dict(_HEADERS)
    if first is not None:
        relayed = first.partial.relayed if isinstance(first, Showing) else first.picture.relayed
        headers = {**answer_headers(first.step, first.trail, relayed), **headers}
    return Reply(status=200, headers=headers, body=_Body(first, reader, envelope, heartbeat_seconds))


class _Body:
    """The stream itself. Closing it frees the generation, also where nobody began to read."""

    def __init__(self, first: Progress | None, reader: _Reader, envelope: Envelope, heartbeat_seconds: float) -> None:
        self._reader = reader
        self._pieces = _pieces(first, reader, envelope, heartbeat_seconds)

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self

    async def __anext__(self) -> Buffer:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        await self._pieces.aclose()
        await self._reader.aclose()


async def _pieces(
    event: Progress | None, reader: _Reader, envelope: Envelope, heartbeat_seconds: float
) -> AsyncGenerator[Buffer]:
    try:
        while True:
            for piece in in_pieces(_told(event, envelope)):
                yield piece
            if isinstance(event, Drawn | GaveUp):
                return
            event = None
            event = await reader.wait(heartbeat_seconds)
    except Exception as fault:  # noqa: BLE001 -- the status has gone out: the caller must hear of it as an event
        write_fault(fault, envelope.event_id)
        error = InternalFault(retry_safe=False)
        yield b"".join(_event(ERROR, Document({"type": ERROR, **envelope.error_value(error)})))
    finally:
        await reader.aclose()


def _told(event: Progress | None, envelope: Envelope) -> Iterator[Buffer]:
    match event:
        case None:
            yield KEEP_ALIVE
        case Showing():
            partial = event.partial.event
            yield from _event(PARTIAL, Document({"index": 0, **partial.value, "type": PARTIAL}, partial.literals))
        case Drawn():
            extra_fields = envelope.extra_fields(event)
            for completed in unfold(event.picture.answer):
                value = {**completed.value, "extra_fields": extra_fields}
                yield from _event(completed.value["type"], Document(value, completed.literals))
        case GaveUp():
            value = envelope.error_value(failure_of(event), event.trail.as_json())
            yield from _event(ERROR, Document({**value, "type": ERROR}))


def _event(name: str, document: Document) -> Iterator[Buffer]:
    yield b"event: %s\ndata: " % name.encode()
    yield from document.render()
    yield b"\n\n"


class _Reader:
    """Reads a generation one event at a time, so that waiting can be interrupted without losing the event.

    The next event is asked for only when someone waits for it: back-pressure reaches upstream.
    """

    def __init__(self, events: AsyncGenerator[Progress], event_id: str) -> None:
        self._events = events
        self._event_id = event_id
        self._pending: asyncio.Task[Progress] | None = None

    async def wait(self, seconds: float) -> Progress | None:
        """Give the next event, or None if there is none within `seconds`."""
        if self._pending is None:
            self._pending = asyncio.ensure_future(_next(self._events))
        await asyncio.wait({self._pending}, timeout=seconds)
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    async def aclose(self) -> None:
        """Stop reading and free all that the generation holds."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})
            if not pending.cancelled() and (fault := pending.exception()) is not None:
                write_fault(fault, self._event_id)
        await self._events.aclose()


async def _next(events: AsyncGenerator[Progress]) -> Progress:
    return await anext(events)
