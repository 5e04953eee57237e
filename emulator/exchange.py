"""One request and its answer, with hands on the connection itself.

ASGI has no words for a connection that breaks. `Connection` has the transport below it, which
`emulator.server.Protocol` puts into the scope's state.
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
from emulator.errors import Answer

PIECE = 256 * 1024  # a piece waits until the one before has gone out: so it is seen when a client leaves
MOMENT = 0.005


@dataclass(frozen=True, eq=False)
class Connection:
    """A TCP connection from a client."""

    number: int
    transport: asyncio.Transport

    def close(self) -> None:
        """Send what is written, then FIN, whether the answer is whole or not."""
        self.transport.close()

    async def sent(self) -> None:
        """Wait until the client's side has all that is written."""
        descriptor = self.transport.get_extra_info("socket").fileno()
        while self.transport.get_write_buffer_size() or _unsent_bytes(descriptor):
            await asyncio.sleep(MOMENT)  # the kernel tells only when asked
            if self.transport.is_closing():
                return

    def reset(self) -> None:
        """Send RST; what is not yet sent is lost."""
        # SO_LINGER with a time of 0: closing sends RST instead of FIN (socket(7), POSIX setsockopt).
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


def _unsent_bytes(descriptor: int) -> int:
    """Count what the kernel still has to send, which RST would throw away; 0 where it does not tell."""
    if sys.platform == "win32":
        return 0
    import fcntl  # noqa: PLC0415  (not on Windows)
    import termios  # noqa: PLC0415

    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


class ClientLeft(Exception):
    """The client went away before the answer was whole."""


async def read_body(receive: Receive) -> bytes | None:
    """Read a request's body; None if the client leaves before its end."""
    pieces = []
    while (message := await receive())["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
    return None


class Exchange:
    """What a handler speaks through: it begins an answer, writes, and ends it one way or another.

    The record knows of each step before the client can.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, call: Call, calls: Calls) -> None:
        self.scope = scope
        self.call = call
        self._calls = calls
        self._receive = receive
        self._send = send
        self._zip: zlib._Compress | None = None

    @property
    def connection(self) -> Connection:
        """The connection below; only the emulator's own server has one."""
        try:
            connection: Connection = self.scope["state"]["connection"]
        except KeyError:
            raise RuntimeError("Serve the emulator with http=emulator.server.Protocol.") from None
        return connection

    async def left(self) -> None:
        """Wait until the connection is gone or the answer is whole."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        await self.start(answer.status, (*answer.headers, ("content-length", str(len(answer.body)))))
        await self.write(answer.body)
        await self.finish()

    async def start(self, status: int, headers: Iterable[tuple[str, str]], *, gzip: bool = False) -> None:
        """Begin an answer; with `gzip`, all that is written from here on is compressed."""
        self.call.status = status
        if gzip:
            self._zip = zlib.compressobj(wbits=31)  # 31: the gzip container (zlib manual)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        """Send a part of the body now."""
        if self._zip:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            self._check()

    async def finish(self) -> None:
        """End the answer as HTTP wants it ended."""
        self._check()
        self._calls.end(self.call, "answered")
        rest = self._zip.flush() if self._zip else b""
        await self._send({"type": "http.response.body", "body": rest, "more_body": False})

    def close(self) -> None:
        """Close the connection with the answer unfinished."""
        self._calls.end(self.call, "answered")
        self.connection.close()

    async def reset(self) -> None:
        """Let the client have what is written, then reset the connection with the answer unfinished."""
        await self.connection.sent()
        self._check()
        self._calls.end(self.call, "answered")
        self.connection.reset()

    def _check(self) -> None:
        """Raise `ClientLeft` if it has: ASGI's `send` would go on as if nothing had happened."""
        if self.connection.transport.is_closing():
            raise ClientLeft
