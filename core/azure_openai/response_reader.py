"""Receiving an answer: its pieces, read within limits, become partial images and one outcome.

How long a partial image is shown is the caller's doing: it does not count as upstream's silence, only as time.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import httpx2
from msgspec import Struct
from msgspec.structs import replace

from core.azure_openai import response_outcome
from core.azure_openai.sse import Event, EventReader, StreamTooLong
from core.domain.image_json import BOM, ImageJson, ImageJsonParser, InvalidImageJson
from core.domain.image_response import COMPLETED, ERROR, PARTIAL
from core.domain.outcome import Failure, FailureReason, Outcome, UpstreamPartial

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from core.deadline import Deadline

    Show = Callable[[UpstreamPartial], Awaitable[None]]
    """Takes a partial image; it returns when more is wanted."""

MAX_ERROR_BYTES: Final = 1 << 20
SECONDS_FOR_AN_ERROR: Final = 5.0
MAX_ANSWER_BYTES: Final = 512 << 20
"""The largest JSON answer that is held: ten 4K pictures are 330 MB of base64."""
SECONDS_TO_END: Final = 0.1
"""How long the end of a stream is waited for once its last picture is there, so that the connection can be kept."""

BYTES_WITHOUT_A_PAUSE: Final = 1 << 20
"""After how many bytes the reading of one answer gives way to others: some milliseconds of work."""
WORK_OF_AN_EVENT: Final = 8 << 10
"""An event, or some empty lines, is as much work as so many bytes of a picture."""

MAX_BLANK_BYTES: Final = 4096
"""How much white space an answer may begin with that does not say what it is."""

_AT_THE_END: Final = "(at the end)"
_READABLE: Final = frozenset({"message", PARTIAL, COMPLETED, ERROR, _AT_THE_END})
"""The events whose data must be JSON; others are none of ours."""
_NOTHING: Final = frozenset({b"", b"[DONE]"})
"""Data that says nothing; with the second, OpenAI's other streams end."""


class Timeouts(Struct, frozen=True, kw_only=True):
    """How long each part of an attempt may take, in seconds."""

    connect: float = 5.0
    """Until a connection is free, and again until a new one is there (`GATEWAY_CONNECT_SECONDS`)."""
    first_byte: float = 200.0
    """Until the head of the answer has come (`GATEWAY_FIRST_BYTE_SECONDS`)."""
    idle: float = 90.0
    """Between two pieces of a stream (`GATEWAY_IDLE_SECONDS`)."""


async def receive_error(body: AsyncGenerator[bytes], deadline: Deadline) -> bytes:
    """Read as much of an error's body as comes: its status has said the most."""
    read = bytearray()
    try:
        async with deadline.phase(SECONDS_FOR_AN_ERROR):
            async for piece in body:
                read += piece
                if len(read) > MAX_ERROR_BYTES:
                    break
    except (httpx2.RequestError, TimeoutError):
        return bytes(read)
    return bytes(read)


async def receive_whole(
    response: httpx2.Response, body: AsyncGenerator[bytes], deadline: Deadline, *, images: int
) -> Outcome:
    """Read an answer that is JSON. Of more pictures than `images`, the rest is not looked at."""
    parser = ImageJsonParser(images)
    work = _Work()
    try:
        async with aclosing(_timed(body, deadline)) as pieces:
            async for piece in pieces:
                parser.feed(piece)
                await work.done(len(piece))
                if parser.is_full:
                    break
                if parser.size > MAX_ANSWER_BYTES:
                    return _failed(FailureReason.UNREADABLE, response)
        answer = parser.document()
    except InvalidImageJson:
        return _failed(FailureReason.UNREADABLE, response)
    except httpx2.RequestError:
        return _failed(FailureReason.CUT_SHORT, response)
    except TimeoutError:
        return _failed(FailureReason.TIMED_OUT, response)
    return response_outcome.read_answer(response.status_code, response.headers, answer, images=images)


class _Work:
    """The work on one answer, which gives way to others now and then: what has come already is read without waiting."""

    def __init__(self) -> None:
        self._since = 0

    async def done(self, amount: int) -> None:
        """Note some work, in bytes that were read."""
        self._since += amount
        if self._since > BYTES_WITHOUT_A_PAUSE:
            self._since = 0
            await asyncio.sleep(0)


async def receive_stream(
    response: httpx2.Response,
    body: AsyncGenerator[bytes],
    deadline: Deadline,
    idle_seconds: float,
    *,
    images: int,
    show: Show,
) -> Outcome:
    """Read a stream: show its partial images as they come, and give its outcome."""
    completed: list[ImageJson] = []
    has_drawn = False
    try:
        async with aclosing(_events(body, deadline, idle_seconds)) as events:
            async for event in events:
                read = _read_event(event, response, has_drawn=has_drawn)
                if isinstance(read, Failure):
                    if completed:
                        break
                    return read
                if isinstance(read, UpstreamPartial):
                    has_drawn = True
                    await show(read)
                elif read is not None:
                    completed.append(read)
                    if len(completed) >= images:
                        await _await_end(events)
                        break
                del event, read  # megabytes, and the next one may be long in coming
    except (httpx2.RequestError, TimeoutError) as error:
        if not completed:
            is_silent = isinstance(error, TimeoutError)
            reason = timeout_reason(deadline, FailureReason.WENT_SILENT) if is_silent else FailureReason.CUT_SHORT
            return _failed(reason, response)
    # What is finished has been paid for: of several pictures, those that came are kept.
    return response_outcome.read_completed(completed, response.headers)


def timeout_reason(deadline: Deadline, otherwise: FailureReason) -> FailureReason:
    """Why a wait ended: the attempt's time is over, or else its own limit was reached."""
    return FailureReason.TIMED_OUT if deadline.is_over else otherwise


def _read_event(
    event: Event, response: httpx2.Response, *, has_drawn: bool
) -> UpstreamPartial | ImageJson | Failure | None:
    """What an event says: a partial image, a finished one (its document), a failure, or nothing that counts."""
    document = event.document
    if document is None:
        if event.name not in _READABLE or event.text.strip() in _NOTHING:
            return None
        return _failed(FailureReason.CUT_SHORT if event.name == _AT_THE_END else FailureReason.UNREADABLE, response)
    if response_outcome.is_error(document.value):
        return response_outcome.read_error_event(document.value, response.headers, has_drawn=has_drawn)
    kind = document.value.get("type", event.name)
    if kind == PARTIAL:
        return UpstreamPartial(event=document, relayed=response_outcome.relayed(response.headers))
    return document if kind == COMPLETED else None


async def is_event_stream(
    response: httpx2.Response, body: AsyncGenerator[bytes], deadline: Deadline, *, asked: bool
) -> tuple[bool, bytes]:
    """Tell whether an answer is a stream of events, and give what had to be read of it for that.

    The content type says so, but JSON has come as text/plain (user reports), so where it says neither, what was
    asked and the first byte decide. Raises RequestError or TimeoutError.
    """
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith("text/event-stream"):
        return True, b""
    if not asked or "json" in kind:
        return False, b""
    read = bytearray()
    async with deadline.phase():
        while not read.strip() and len(read) < MAX_BLANK_BYTES and (piece := await anext(body, None)) is not None:
            read += piece
    return not read.removeprefix(BOM).lstrip().startswith((b"{", b"<")), bytes(read)


async def rejoin(read: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """A body of which something has been read already, from its start."""
    if read:
        yield read
    async for piece in rest:
        yield piece


async def _timed(
    body: AsyncGenerator[bytes], deadline: Deadline, seconds: float | None = None
) -> AsyncGenerator[bytes]:
    """Wait for each piece as long as the deadline and `seconds` allow. Raises TimeoutError.

    One that comes as the time ends is still taken; after it only what need not be waited for.
    """
    was_over = False
    while True:
        is_over = deadline.is_over
        async with asyncio.timeout(0) if was_over else deadline.phase(seconds):
            piece = await anext(body, None)
        if piece is None:
            return
        yield piece
        was_over = is_over


async def _events(body: AsyncGenerator[bytes], deadline: Deadline, idle_seconds: float) -> AsyncGenerator[Event]:
    """Yield the events of a stream. Raises RequestError or TimeoutError."""
    reader = EventReader()
    work = _Work()
    async with aclosing(_timed(body, deadline, idle_seconds)) as pieces:
        async for piece in pieces:
            try:
                for event in reader.feed(piece):
                    await work.done(WORK_OF_AN_EVENT)
                    if event is not None:
                        yield event
                    del event
            except StreamTooLong:
                return
            await work.done(len(piece))
    last = reader.close()
    if last is not None:
        yield last if last.document is not None else replace(last, name=_AT_THE_END)


async def _await_end(events: AsyncGenerator[Event]) -> None:
    """Read to the end if it is near. What still comes, or fails, after the last picture changes nothing."""
    try:
        async with asyncio.timeout(SECONDS_TO_END):
            async for _ in events:
                pass
    except (TimeoutError, httpx2.RequestError):
        return


def _failed(reason: FailureReason, response: httpx2.Response) -> Failure:
    return Failure(reason=reason, status=response.status_code, relayed=response_outcome.relayed(response.headers))
