"""uvicorn's HTTP/1.1 on httptools, with a bound on what brings nothing, and small answers sent in one piece.

uvicorn takes httptools where it is installed, and then a request's head has no bound: `h11_max_incomplete_event_size`
is h11's alone, and llhttp has no limit of its own. In Azure the host stands before the worker and takes 32 KiB of
headers from a caller; this is for who reaches the worker's port past it, and for `make serve`.

It also sends the head of an answer by itself, though the body follows in the same moment: a system call and a packet
more, and the caller is woken twice.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BARREN_BYTES: Final = 64 * 1024
"""How much may come that neither ends a head nor belongs to a body: a head that is not over, chunk extensions,
trailers. The host takes 32 KiB of headers and adds some of its own."""
SMALL_BYTES: Final = 16 * 1024
"""Up to here copying a piece costs less than sending it by itself."""

_HEAD: Final = b"HTTP/1.1 "
"""So begins the head of every answer."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol; a connection on which too much comes to nothing is answered 400 and closed.

    What is counted is what comes after one read of the network and before something comes of it, so a head may be as
    much longer as is read at once (256 KiB), as with h11.
    """

    _barren = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection (asyncio.Protocol)."""
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", HeadHolder(transport))

    def data_received(self, data: bytes) -> None:
        """Take what came (asyncio.Protocol)."""
        self._barren += len(data)
        super().data_received(data)
        if self._barren > MOST_BARREN_BYTES and not self.transport.is_closing():
            self.send_400_response("Request header fields are too long.")

    def on_headers_complete(self) -> None:
        """Something came: a head (httptools)."""
        self._barren = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Something came: a piece of a body (httptools)."""
        self._barren = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Something came: the end of a request (httptools)."""
        self._barren = 0
        super().on_message_complete()


class HeadHolder:
    """A transport that holds the head of an answer back until its body begins, for a turn of the loop at most."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._head = b""

    def write(self, data: bytes | memoryview) -> None:
        """Send a head or a piece of a body (asyncio.Transport)."""
        if self._head and len(data) <= SMALL_BYTES:
            data, self._head = b"".join((self._head, data)), b""
        elif self._head:
            self._send_head()
        elif data[: len(_HEAD)] == _HEAD:
            self._head = bytes(data)
            self._loop.call_soon(self._end_turn)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close it once all is sent (asyncio.Transport)."""
        self._send_head()
        self._transport.close()

    def _end_turn(self) -> None:
        if not self._transport.is_closing():  # else the caller has gone
            self._send_head()

    def _send_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        """Find all else with the transport itself."""
        return getattr(self._transport, name)
