"""One connection to a server, as asyncio drives it; what is said on it is an Exchange's matter."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Final, cast

import httpx2

from adapters.http.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES: Final = 256 << 10
"""The most that is read at once."""
SMALL_BYTES: Final = 16 << 10
"""What any network takes at once, unless it stands still."""


class Http1Protocol(asyncio.BufferedProtocol):
    """A connection and the one exchange on it."""

    _transport: asyncio.Transport | None = None

    def __init__(self, buffer: memoryview, on_lost: Callable[[Http1Protocol], None]) -> None:
        """`buffer` is what is read into: connections of one loop may share it, as none waits while it holds something.

        `on_lost` is called when the connection is gone.
        """
        self.last_used = 0.0
        """When the last exchange ended, on the loop's clock."""
        self._buffer = buffer
        self._on_lost = on_lost
        self._exchange: Exchange | None = None
        self._request_bytes = 0
        self._is_over = False

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent, as far as is known without looking at the socket."""
        return not self._is_over and self._transport is not None and not self._transport.is_closing()

    def is_readable(self) -> bool:
        """Whether something has come that the loop has not read yet.

        On a connection without an exchange that is its end, or bytes that nobody asked for.
        """
        poll = select.poll()
        poll.register(self._connected().get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    def start(self, method: str, timeout: float | None) -> Exchange:
        """Begin an exchange on a connection that has no other (see Exchange). Raises ReadError where it has ended."""
        if self._exchange is not None:
            raise AssertionError("the connection is not free")
        if not self.is_open:
            raise httpx2.ReadError("the connection was closed")
        self._request_bytes = 0
        self._exchange = Exchange(self._connected(), method, timeout)
        return self._exchange

    def write(self, *pieces: bytes) -> None:
        """Send a part of the request; small pieces go out together."""
        size = sum(map(len, pieces))
        self._request_bytes += size
        for piece in pieces if size > SMALL_BYTES else (b"".join(pieces),):
            self._connected().write(piece)

    def finish(self) -> bool:
        """End the exchange, if there is one. Whether the connection can take another; if not, it is closed."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self.last_used = asyncio.get_running_loop().time()
            exchange.finish()
            if not (exchange.is_whole and exchange.persists and self._is_surely_sent(exchange.status)):
                self.abort()
        return self.is_open

    def abort(self) -> None:
        """Close the connection at once. Over TLS nobody is waited for to agree."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    def _is_surely_sent(self, status: int) -> bool:
        """Whether all of the request has left: a server may answer, and end, before it has read it whole.

        Over TLS the transport does not say what the one below it has yet to send (asyncio.sslproto). There it is gone
        where it was small, or was taken.
        """
        transport = self._connected()
        if transport.get_write_buffer_size():
            return False
        is_plain = transport.get_extra_info("sslcontext") is None
        return is_plain or self._request_bytes <= SMALL_BYTES or 200 <= status < 300

    def _connected(self) -> asyncio.Transport:
        if self._transport is None:
            raise AssertionError("the connection has not been made")
        return self._transport

    # -- asyncio.BufferedProtocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, connected and past its handshake."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_over:  # nobody waits for it any more
            self._close()
        self.last_used = asyncio.get_running_loop().time()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's signature
        """Where the next bytes go; of a head no more than is still allowed."""
        if self._exchange is None or self._exchange.has_begun:
            return self._buffer
        return self._buffer[: max(self._exchange.bytes_allowed, 1)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has been read into the buffer."""
        if self._is_over:
            return
        if self._exchange is None:
            self._close()
            return
        try:
            self._exchange.feed(self._buffer[:nbytes])
        except httpx2.RemoteProtocolError as error:
            self._exchange.fail(httpx2.RemoteProtocolError, str(error))
            self._close()

    def eof_received(self) -> None:
        """Nothing more will come."""
        if self._exchange is not None:
            self._exchange.end_of_connection()
        self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._is_over = True
        if self._exchange is not None:
            self._exchange.fail(httpx2.ReadError, "the connection broke" if exc else "the connection was closed")
        self._on_lost(self)

    def pause_writing(self) -> None:
        """The network takes no more for now."""
        if self._exchange is not None:
            self._exchange.allow_writing(allowed=False)

    def resume_writing(self) -> None:
        """The network takes more."""
        if self._exchange is not None:
            self._exchange.allow_writing(allowed=True)

    def _close(self) -> None:
        """Close it soon: asyncio's TLS does not bear an `abort` from within the calls that it makes to a protocol."""
        self._is_over = True
        asyncio.get_running_loop().call_soon(self._connected().abort)
