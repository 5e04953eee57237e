"""uvicorn's HTTP/1.1 on httptools, with a bound on what brings nothing.

uvicorn takes httptools where it is installed, and then a request's head has no bound: `h11_max_incomplete_event_size`
is h11's alone, and llhttp has no limit of its own. In Azure the host stands before the worker and takes 32 KiB of
headers from a caller; this is for who reaches the worker's port past it, and for `make serve`.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BARREN_BYTES: Final = 64 * 1024
"""How much may come that neither ends a head nor belongs to a body: a head that is not over, chunk extensions,
trailers. The host takes 32 KiB of headers and adds some of its own."""


class BoundedHead(HttpToolsProtocol):
    """uvicorn's protocol; a connection on which too much comes to nothing is answered 400 and closed.

    What is counted is what comes after one read of the network and before something comes of it, so a head may be as
    much longer as is read at once (256 KiB), as with h11.
    """

    _barren = 0

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
