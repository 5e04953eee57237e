"""Receiving an answer: its pieces, read within limits, become partial images and one outcome.

How long a partial image is shown is the caller's doing: it does not count as upstream's silence, only as time.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from core.azure_openai import response_outcome
from core.azure_openai.connection import Lost
from core.azure_openai.sse import Event, EventReader, StreamTooLong
from core.domain.image_json import BOM, ImageJson, ImageJsonParser, InvalidImageJson
from core.domain.image_response import COMPLETED, ERROR, PARTIAL
from core.domain.outcome import Failure, FailureReason, Outcome, UpstreamPartial

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from core.azure_openai.connection import HttpResponse, Limit

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


class Patience(Struct, frozen=True, kw_only=True):
    """How long each part of an attempt may take, in seconds."""

    first_byte: float = 200.0
    """Until the head of the answer has come (`GATEWAY_FIRST_BYTE_SECONDS`)."""
    idle: float = 90.0
    """Between two pieces of a stream (`GATEWAY_IDLE_SECONDS`)."""


class Time(Struct, frozen=True, kw_only=True):
    """The time that an attempt has left."""

    clock: Callable[[], float]
    ends_at: float

    def left(self, seconds: float | None = None) -> float:
        """How long may be waited: what is left of the attempt, and at most `seconds`."""
        left = max(0.0, self.ends_at - self.clock())
        return left if seconds is None else min(left, seconds)

    def until(self, seconds: float) -> Limit:
        """Bound several waits together, as `left` bounds one from now on."""
        ends_at = min(self.ends_at, self.clock() + seconds)
        return lambda: max(0.0, ends_at - self.clock())

    def limit(self, seconds: float | None = None) -> asyncio.Timeout:
        """Bound a wait by what is left of the attempt, and by `seconds`."""
        return asyncio.timeout(self.left(seconds))

    def reason(self, otherwise: FailureReason) -> FailureReason:
        """Why a wait ended: the attempt's time is over, or else its own limit was reached."""
        return FailureReason.TIMED_OUT if self.clock() >= self.ends_at else otherwise


async def receive_error(response: HttpResponse, time: Time) -> bytes:
    """Read as much of an error's body as comes: its status has said the most."""
    body = bytearray()
    try:
        async with aclosing(response.pieces()) as pieces, time.limit(SECONDS_FOR_AN_ERROR):
            async for piece in pieces:
                body += piece
                if len(body) > MAX_ERROR_BYTES:
                    break
    except (Lost, TimeoutError):
        return bytes(body)
    return bytes(body)


async def receive_whole(response: HttpResponse, time: Time, *, images: int) -> Outcome:
    """Read an answer that is JSON. Of more pictures than `images`, the rest is not looked at."""
    parser = ImageJsonParser(images)
    work = _Work()
    try:
        async with aclosing(response.pieces(time.left)) as pieces:
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
    except Lost:
        return _failed(FailureReason.CUT_SHORT, response)
    except TimeoutError:
        return _failed(FailureReason.TIMED_OUT, response)
    return response_outcome.read_answer(response.status, response.headers, answer, images=images)


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


async def receive_stream(response: HttpResponse, time: Time, patience: Patience, *, images: int, show: Show) -> Outcome:
    """Read a stream: show its partial images as they come, and give its outcome."""
    completed: list[ImageJson] = []
    has_drawn = False
    try:
        async with aclosing(_events(response, time, patience)) as events:
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
                        if not response.is_whole:
                            await _await_end(events)
                        break
                del event, read  # megabytes, and the next one may be long in coming
    except (Lost, TimeoutError) as error:
        if not completed:
            silent = isinstance(error, TimeoutError)
            return _failed(time.reason(FailureReason.WENT_SILENT) if silent else FailureReason.CUT_SHORT, response)
    # What is finished has been paid for: of several pictures, those that came are kept.
    return response_outcome.read_completed(completed, response.headers)


def _read_event(
    event: Event, response: HttpResponse, *, has_drawn: bool
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
    response: HttpResponse, time: Time, patience: Patience, *, asked: bool
) -> tuple[bool, HttpResponse]:
    """Tell whether an answer is a stream of events, and give it to be read from its start.

    The content type says so, but JSON has come as text/plain (user reports), so where it says neither, what was
    asked and the first byte decide. Raises Lost or TimeoutError.
    """
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith("text/event-stream"):
        return True, response
    if not asked or "json" in kind:
        return False, response
    begun = _Begun(response, time.until(patience.idle))
    read = begun.read
    while not read.strip() and len(read) < MAX_BLANK_BYTES and (piece := await anext(begun.rest, None)) is not None:
        read += piece
    return not read.removeprefix(BOM).lstrip().startswith((b"{", b"<")), begun


class _Begun:
    """An answer whose first bytes have been read already."""

    def __init__(self, response: HttpResponse, limit: Limit) -> None:
        """`limit` is for what is read before somebody asks for its pieces."""
        self._response = response
        self._limit = limit
        self.read = bytearray()
        self.rest = response.pieces(lambda: self._limit())  # noqa: PLW0108 -- which may be another one by then

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def is_whole(self) -> bool:
        return self._response.is_whole

    async def pieces(self, limit: Limit | None = None) -> AsyncGenerator[bytes]:
        self._limit = limit or self._limit
        async with aclosing(self.rest):
            yield bytes(self.read)
            async for piece in self.rest:
                yield piece


async def _events(response: HttpResponse, time: Time, patience: Patience) -> AsyncGenerator[Event]:
    """Yield the events of a stream. Raises Lost or TimeoutError."""
    reader = EventReader()
    work = _Work()
    async with aclosing(response.pieces(lambda: time.left(patience.idle))) as pieces:
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
    except (TimeoutError, Lost):
        return


def _failed(reason: FailureReason, response: HttpResponse) -> Failure:
    return Failure(reason=reason, status=response.status, relayed=response_outcome.relayed(response.headers))
