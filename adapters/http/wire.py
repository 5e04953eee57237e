"""One connection to upstream: HTTP/1.1 as a client speaks it, one request at a time.

llhttp (through httptools) finds the parts of an answer; this file says what they mean for who waits for it: when it
begins, what may follow, whether it came whole, and whether the connection can take another request (RFC 9112 §6, §9).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import httptools

from adapters.http.arriving import Headers, ResponseStream

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES: Final = 256 << 10
"""The most that is read at once."""
MOST_HEAD_BYTES: Final = 64 << 10
"""How long an answer's head may be, those of interim answers (103 and the like) included; and as many bytes may come
after it that bring no body: extensions of chunks, trailers."""

SMALL_BYTES: Final = 16 << 10
"""What any network takes at once, unless it stands still."""


class HttpConnection(asyncio.BufferedProtocol):
    """A connection and what is being asked on it."""

    _transport: asyncio.Transport | None = None

    def __init__(self, buffer: memoryview, has_ended: Callable[[HttpConnection], None]) -> None:
        """`buffer` is what is read into; wires of one loop may share it, as none waits while it holds something.

        `has_ended` is called when the connection is gone.
        """
        self._buffer = buffer
        self._has_ended = has_ended
        self._parser = httptools.HttpResponseParser(self)
        self._answer: ResponseStream | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._allowance = MOST_HEAD_BYTES
        self._brought_something = False
        self._asked_for_body = True
        self._request_bytes = 0
        self._is_delimited = True
        self._persists = True
        self._is_over = False

    # -- for who owns it --

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent, as far as is known here."""
        return not self._is_over and self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes, *, for_body: bool = True) -> ResponseStream:
        """Send a request, head and body, on an open wire that has no other; its answer is to be waited for.

        `for_body` is false for HEAD, whose answer announces a body that does not come.
        """
        if self._transport is None or self._answer is not None:
            raise AssertionError("asked on a wire that is not free")
        self._answer = answer = ResponseStream(self._transport)
        self._allowance = MOST_HEAD_BYTES
        self._asked_for_body = for_body
        self._request_bytes = len(request)
        self._transport.write(request)
        return answer

    def let_go(self) -> bool:
        """End what is being asked. Whether the wire can be asked again; if not, it is closed."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail("its reader has left")
            answer.resume()
            if not answer.is_whole or not self._is_surely_sent(answer.status):
                self._persists = False
        if not self._persists:
            self.abort()
        return self.is_open

    def _is_surely_sent(self, status: int) -> bool:
        """Whether all of the request has left: upstream may answer, and end, before it has read it whole.

        Over TLS the transport does not say what the one below it has yet to send (asyncio.sslproto). There it is gone
        where it was small, or was taken.
        """
        if self._transport is None or self._transport.get_write_buffer_size():
            return False
        is_plain = self._transport.get_extra_info("sslcontext") is None
        return is_plain or self._request_bytes <= SMALL_BYTES or 200 <= status < 300

    def abort(self) -> None:
        """Close it at once. Over TLS nobody is waited for to agree."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.BufferedProtocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, connected and past its handshake."""
        self._transport = cast("asyncio.Transport", transport)  # as of every connection; uvloop's has no such base

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's signature
        """Where the next bytes go; of a head no more than is still allowed."""
        if self._answer is None or self._answer.begun:
            return self._buffer
        return self._buffer[: max(self._allowance, 1)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has been read into the buffer."""
        if self._is_over:
            return
        if self._answer is None or self._answer.is_whole:
            self._close("nobody asked")
            return
        self._brought_something = False
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._close("the answer is not HTTP/1.1")
            return
        if not self._brought_something:
            self._allowance -= nbytes
            if self._allowance <= 0:
                self._close("the head of the answer is too long")

    def eof_received(self) -> None:
        """Upstream sends no more: the end of a body that has no other."""
        if self._answer is not None and self._answer.begun and not self._is_delimited:
            self._answer.end()
        self._close("the connection ended before the answer did")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._is_over = True
        if self._answer is not None:
            self._answer.fail("the connection broke" if exc else "the connection was closed")
        del self._parser  # it holds this wire
        self._has_ended(self)

    # -- httptools --

    def on_message_begin(self) -> None:
        """Another answer begins; only interim ones may come before the one that was asked for."""
        self._fields = []
        if self._answer is not None and self._answer.is_whole:
            self._persists = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which nobody looks at."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        answer = self._answer
        if status < 200 or answer is None or answer.is_whole:
            return
        headers = Headers(self._fields)
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self._close("the answer has a transfer-encoding that is not known here")
            return
        self._is_delimited = coding is not None or "content-length" in headers or status in {204, 304}
        self._persists = self._parser.should_keep_alive()
        self._brought_something = True
        answer.begin(status, headers)
        if not self._asked_for_body:
            answer.end()
            self._persists = False  # the parser waits for what does not come

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._answer is not None and not self._answer.is_whole:
            self._brought_something = True
            self._answer.add(body)

    def on_message_complete(self) -> None:
        """An answer has come whole."""
        if self._answer is not None and self._answer.begun:
            self._brought_something = True
            self._answer.end()

    def _close(self, reason: str) -> None:
        """Close it soon: asyncio's TLS does not bear an `abort` from within the calls that it makes to a protocol."""
        self._is_over = True
        if self._answer is not None:
            self._answer.fail(reason)
        if self._transport is not None:
            asyncio.get_running_loop().call_soon(self._transport.abort)
