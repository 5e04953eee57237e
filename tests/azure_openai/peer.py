"""An upstream that says byte for byte what a test has written down, over TCP or TLS, whatever it was asked."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")

CLOSE = object()
"""Said instead of bytes: the connection is closed."""
RESET = object()
"""Said instead of bytes: the connection is torn down."""
Said = bytes | object | asyncio.Event


def ok(body: bytes = b"ok", *headers: bytes) -> bytes:
    """A plain answer."""
    head = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(head) + body


class Peer:
    """Answers each request with the next of its answers; the last one stays."""

    def __init__(self, *answers: Said | tuple[Said, ...]) -> None:
        self.url = ""
        self.requests: list[bytes] = []
        self.asked_on: list[int] = []
        """The number of the connection on which each request came."""
        self.open: dict[int, asyncio.StreamWriter] = {}
        self.count = 0
        """How many connections there were."""
        self._answers = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[Peer], bool]) -> None:
        """Wait until this is true of the peer."""
        async with asyncio.timeout(HANGS_SECONDS):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until either side ends it."""
        self.count += 1
        number = self.count
        self.open[number] = writer
        self._changed.set()
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    await self._exchange(number, reader, writer)
        finally:
            del self.open[number]
            writer.transport.abort()
            self._changed.set()

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in list(self.open.values()):
            writer.transport.abort()

    async def _exchange(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.requests.append(head + body)
        self.asked_on.append(number)
        self._changed.set()
        for said in self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]:
            if isinstance(said, bytes):
                writer.write(said)
                await writer.drain()
            elif isinstance(said, asyncio.Event):
                await _first_of(said.wait(), reader.readexactly(1))
            else:
                if said is RESET:
                    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
                    writer.get_extra_info("socket").setsockopt(1, 13, linger)  # SOL_SOCKET, SO_LINGER
                raise ConnectionAbortedError


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait for one of these, and no longer: what is waited for may also be that the other side leaves."""
    tasks = {asyncio.ensure_future(wait) for wait in waits}
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
    for task in done:
        task.result()


@asynccontextmanager
async def speaking(
    *answers: Said | tuple[Said, ...], tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Peer]:
    """Run a peer on a free port of this machine."""
    peer = Peer(*answers)
    server = await asyncio.start_server(peer.serve, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    name = "localhost" if tls else f"[{host}]" if ":" in host else host
    peer.url = f"{'https' if tls else 'http'}://{name}:{port}"
    try:
        yield peer
    finally:
        server.close()
        peer.hang_up()
        await peer.until(lambda peer: not peer.open)
