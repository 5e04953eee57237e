"""One HTTP request and its response, with access to the TCP connection.

ASGI cannot break a connection. `Connection` holds its transport, which `emulator.server.Protocol` puts into the
scope's state.
"""

import asyncio
import socket
import struct
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from emulator.calls import Call, Calls
from emulator.errors import HttpResponse

MAX_PIECE_BYTES = 256 * 1024
"""A piece is sent once the one before has gone out, so that a client that disconnects is noticed."""
POLL_SECONDS = 0.005


@dataclass(frozen=True, eq=False)
class Connection:
    """A TCP connection from a client."""

    number: int
    transport: asyncio.Transport

    def close(self) -> None:
        """Send what is written, then FIN, whether the response is complete or not."""
        self.transport.close()

    async def drain(self) -> None:
        """Wait until the client's machine has all that is written."""
        descriptor = self.transport.get_extra_info("socket").fileno()
        while self.transport.get_write_buffer_size() or _count_unsent_bytes(descriptor):
            await asyncio.sleep(POLL_SECONDS)  # the kernel does not notify
            if self.transport.is_closing():
                return

    def reset(self) -> None:
        """Send RST; what is not yet sent is lost."""
        # SO_LINGER with a time of 0: closing sends RST instead of FIN (socket(7), POSIX setsockopt).
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


def _count_unsent_bytes(descriptor: int) -> int:
    """Count what the kernel still has to send, which RST would discard; 0 where it does not say."""
    if sys.platform == "win32":
        return 0
    import fcntl  # noqa: PLC0415  (not on Windows)
    import termios  # noqa: PLC0415

    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


class ClientDisconnected(Exception):
    """The client disconnected before the response was complete."""


async def read_body(receive: Receive) -> bytes | None:
    """Read a request's body; None if the client disconnects before its end."""
    pieces = []
    while (message := await receive())["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
    return None


class Exchange:
    """Sends the response to one request, and records each step before the client can see it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, call: Call, calls: Calls) -> None:
        self.scope = scope
        self.call = call
        self._calls = calls
        self._receive = receive
        self._send = send
        self._zip: zlib._Compress | None = None

    @property
    def connection(self) -> Connection:
        """The TCP connection, which only the emulator's own server gives."""
        try:
            connection: Connection = self.scope["state"]["connection"]
        except KeyError:
            raise RuntimeError("Serve the emulator with http=emulator.server.Protocol.") from None
        return connection

    async def wait_for_disconnect(self) -> None:
        """Wait until the client has disconnected or the response is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, response: HttpResponse) -> None:
        """Send a whole response."""
        await self.start(response.status, (*response.headers, ("content-length", str(len(response.body)))))
        await self.write(response.body)
        await self.finish()

    async def start(self, status: int, headers: Iterable[tuple[str, str]], *, gzip: bool = False) -> None:
        """Send the head; with `gzip`, all that is written from here on is compressed."""
        self.call.status = status
        if gzip:
            self._zip = zlib.compressobj(wbits=31)  # 31: the gzip container (zlib manual)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        """Send a part of the body now."""
        if self._zip:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        for at in range(0, len(data), MAX_PIECE_BYTES):
            piece = data[at : at + MAX_PIECE_BYTES]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            self._check_connected()

    async def finish(self) -> None:
        """End the response as HTTP requires."""
        self._check_connected()
        self._calls.end(self.call, "answered")
        rest = self._zip.flush() if self._zip else b""
        await self._send({"type": "http.response.body", "body": rest, "more_body": False})

    def close(self) -> None:
        """Close the connection with the response unfinished."""
        self._calls.end(self.call, "answered")
        self.connection.close()

    async def reset(self) -> None:
        """Send what is written, then reset the connection with the response unfinished."""
        await self.connection.drain()
        self._check_connected()
        self._calls.end(self.call, "answered")
        self.connection.reset()

    def _check_connected(self) -> None:
        """Raise `ClientDisconnected` if it has: ASGI's `send` does not tell."""
        if self.connection.transport.is_closing():
            raise ClientDisconnected
