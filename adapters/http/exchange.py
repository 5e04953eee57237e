"""One request and its answer on a connection: the connection puts in what it reads, one reader takes the body out.

llhttp (through httptools) finds the parts of an answer; this file says what they mean: when it begins, what may follow,
whether it came whole, and whether the connection can take another request (RFC 9112 §6, §9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools
import httpx2

from core.tasks import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

MAX_UNREAD_BYTES: Final = 256 << 10
"""How much of a body may wait for its reader before no more is read from the network."""
MAX_HEAD_BYTES: Final = 64 << 10
"""How long an answer's head may be, those of interim answers (103 and the like) included; and as many bytes may come
after it that bring no body: extensions of chunks, trailers."""


class Exchange(httpx2.AsyncByteStream):
    """The body of an answer, as it comes. After a cancelled wait for its next piece it can still be read on."""

    status: int
    headers: httpx2.Headers
    """There, as the status is, once it has begun."""

    def __init__(self, transport: asyncio.Transport, method: str, timeout: float | None) -> None:
        """`timeout` is httpx's for reading: how long the next bytes may take, in seconds."""
        self.has_begun = False
        """Whether the head is there."""
        self.is_whole = False
        """Whether all of the answer has come, read or not."""
        self.persists = True
        """Whether the connection can take another exchange after this one."""
        self.can_write = True
        """Whether the network takes more of the request."""
        self.on_close: Callable[[], None] | None = None
        """Called once, when the reader has closed the answer."""
        self.bytes_allowed = MAX_HEAD_BYTES
        """How many bytes may yet come without bringing a head or a piece of the body."""
        self._transport = transport
        self._is_head_request = method == "HEAD"
        self._timeout = timeout
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._has_progressed = False
        self._ends_with_connection = False
        self._pieces: list[bytes] = []
        self._unread = 0
        self._is_paused = False
        self._failure: tuple[type[httpx2.TransportError], str] | None = None
        self._news = Signal()

    # -- for the reader --

    def __aiter__(self) -> Exchange:
        """Read the body."""
        return self

    async def __anext__(self) -> bytes:
        """Give what has come since the last piece, as one. Raises ReadTimeout, ReadError, RemoteProtocolError."""
        if not self._pieces:
            await self._until(lambda: self._pieces or self.is_whole, self._timeout, httpx2.ReadTimeout)
            if not self._pieces:
                raise StopAsyncIteration
        piece = b"".join(self._pieces)  # one alone is not copied
        self._pieces.clear()
        self._unread = 0
        self._resume_reading()
        return piece

    async def head(self) -> None:
        """Wait until status and headers are there. Raises as reading does."""
        await self._until(lambda: self.has_begun, self._timeout, httpx2.ReadTimeout)

    async def drain(self, timeout: float | None) -> None:  # noqa: ASYNC109 -- httpx's: for each write
        """Wait until the network takes more, or the answer has begun. Raises WriteTimeout, and as reading does."""
        await self._until(lambda: self.can_write or self.has_begun, timeout, httpx2.WriteTimeout)

    async def aclose(self) -> None:
        """End the exchange and give the connection back."""
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()

    async def _until(
        self, is_so: Callable[[], object], seconds: float | None, late: type[httpx2.TimeoutException]
    ) -> None:
        """Wait until something is so, for so many seconds each time until something comes. Raises `late`."""
        while not is_so():
            if self._failure is not None:
                error, reason = self._failure
                raise error(reason)
            if not await self._news.wait(seconds) and not is_so():
                raise late("nothing could be read or written in time")

    # -- for the connection --

    def feed(self, data: memoryview) -> None:
        """Take what the server says. Raises RemoteProtocolError where it is no answer to this request."""
        if self.is_whole:
            raise httpx2.RemoteProtocolError("the server sent what nobody asked for")
        self._has_progressed = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise httpx2.RemoteProtocolError("the answer is not HTTP/1.1") from None
        if not self._has_progressed:
            self.bytes_allowed -= len(data)
            if self.bytes_allowed <= 0:
                raise httpx2.RemoteProtocolError("the head of the answer is too long")
        self._news.set()

    def end_of_connection(self) -> None:
        """The server sends no more: that is the end of a body that has no other."""
        if self._ends_with_connection:
            self.is_whole = True
        self.fail(httpx2.RemoteProtocolError, "the server closed the connection before the answer was whole")

    def fail(self, error: type[httpx2.TransportError], reason: str) -> None:
        """Note that no more will come. What has come can still be read, and that is all if it is whole."""
        if self._failure is None:
            self._failure = error, reason
        self._news.set()

    def finish(self) -> None:
        """Leave the connection as another exchange needs it."""
        self.fail(httpx2.ReadError, "the answer was closed")
        self._resume_reading()
        del self._parser  # it holds this exchange

    def allow_writing(self, *, allowed: bool) -> None:
        """Note whether the network takes more of the request."""
        self.can_write = allowed
        self._news.set()

    def _resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # -- httptools --

    def on_message_begin(self) -> None:
        """Another answer begins; only interim ones may come before the one that was asked for."""
        self._fields = []
        if self.is_whole:
            self.persists = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which nobody looks at."""
        self._fields.append((name, value.strip()))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        if status < 200 or self.is_whole:
            return
        self.status, self.headers = status, httpx2.Headers(self._fields)
        coding = self.headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise ValueError("a transfer-encoding that is not known here")
        self._ends_with_connection = not (coding or "content-length" in self.headers or status in {204, 304})
        self.persists = self._parser.should_keep_alive() and not self._is_head_request
        self.has_begun = self._has_progressed = True
        self.is_whole = self._is_head_request  # the parser waits for a body that does not come

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self.is_whole:
            return
        self._has_progressed = True
        self._pieces.append(body)
        self._unread += len(body)
        if self._unread > MAX_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """An answer has come whole."""
        if self.has_begun:
            self._has_progressed = self.is_whole = True
