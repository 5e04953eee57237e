"""`python -m bench.upstream`: an Azure OpenAI that answers at once with canned bytes, faster than any gateway asks.

It knows `POST /openai/deployments/{deployment}/images/generations`, as JSON and as a stream; the deployment's name says
what is answered (see bench.canned). `GET /control` tells what goes on, `POST /control/release` lets go of what is held.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Final

from bench import canned
from bench.canned import Kind

HOSTS: Final = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""Loopback only. Several, so that a catalogue can name several resources."""
HELD_BYTES: Final = 16
"""How much of an answer is kept back: in a stream this is less than all that follows the last picture."""
LIMIT_BYTES: Final = 1 << 20
"""No request is longer."""

_PATH: Final = re.compile(rb"POST /(?:openai/)?deployments/([^/?]+)/images/generations[? ]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n")
_NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
_BAD: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its head, its body, and how many bytes it took."""

    head: bytes
    body: bytes
    size: int


class BadRequestError(Exception):
    """What came is no HTTP request that is understood here."""


def taken(data: bytes | bytearray) -> Request | None:
    """The first request in the data; None while it is not whole. Raises BadRequestError."""
    if len(data) > LIMIT_BYTES:
        raise BadRequestError
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, start = bytes(data[: end + 2]), end + 4
    if _CHUNKED.search(head):
        return _taken_in_chunks(head, data, start)
    length = _LENGTH.search(head)
    size = start + (int(length[1]) if length else 0)
    return None if len(data) < size else Request(head, bytes(data[start:size]), size)


def _taken_in_chunks(head: bytes, data: bytes | bytearray, position: int) -> Request | None:
    body = bytearray()
    while found := _CHUNK.match(data, position):
        size = int(found[1], 16)
        position = found.end() + size + 2
        if len(data) < position:
            return None
        if size == 0:
            return Request(head, bytes(body), position)
        body += data[found.end() : found.end() + size]
    return None


class Upstream:
    """What all connections share."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        """Answers that were begun, by `json` and `stream`."""
        self.held: dict[Connection, memoryview] = {}
        """What is still to be sent to whom."""

    def state(self) -> dict[str, int]:
        """What `GET /control` tells; `held` are the answers of which all but the end has gone out."""
        held = sum(1 for connection in self.held if connection.is_drained)
        return {"json": self.answered["json"], "stream": self.answered["stream"], "held": held}

    def release(self) -> None:
        """Send what is held."""
        held, self.held = self.held, {}
        for connection, rest in held.items():
            connection.send(rest)


class Connection(asyncio.Protocol):
    """One connection, kept for as many requests as come, one after the other."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()

    @property
    def is_drained(self) -> bool:
        """Whether the system has taken all that was to be sent."""
        return self._transport is not None and self._transport.get_write_buffer_size() == 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """End (asyncio)."""
        self._transport = None
        self._upstream.held.pop(self, None)

    def data_received(self, data: bytes) -> None:
        """Answer what came (asyncio)."""
        self._unread += data
        try:
            while (request := taken(self._unread)) is not None:
                del self._unread[: request.size]
                self._answer(request)
        except BadRequestError:
            self.send(_BAD)
            if self._transport is not None:
                self._transport.close()

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send, if there is still somebody to send to."""
        if self._transport is not None:
            self._transport.writelines(pieces)

    def _answer(self, request: Request) -> None:
        if request.head.startswith((b"GET /control ", b"POST /control/release ")):
            self._control(request)
            return
        named = _PATH.match(request.head)
        kind = None if named is None else Kind.of(named[1].decode("latin-1"))
        if kind is None:
            self.send(_NOT_FOUND)
            return
        try:
            asked = json.loads(request.body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise BadRequestError
        if asked.get("stream"):
            self._upstream.answered["stream"] += 1
            self._stream(kind, int(asked.get("partial_images", 0)))
        else:
            self._upstream.answered["json"] += 1
            self._later(kind.wait_ms, canned.whole(kind.characters, int(asked.get("n", 1))), hold=kind.hold)

    def _stream(self, kind: Kind, partials: int) -> None:
        for index in range(partials):
            self._later(kind.wait_ms * (index + 1), (canned.partial_event(kind.characters, index),), hold=False)
        last = canned.completed_event(kind.characters, is_first=partials == 0)
        self._later(kind.wait_ms * (partials + 1), (last,), hold=kind.hold)

    def _later(self, milliseconds: int, pieces: tuple[bytes, ...], *, hold: bool) -> None:
        if milliseconds:
            asyncio.get_running_loop().call_later(milliseconds / 1000, self._now, pieces, hold)
        else:
            self._now(pieces, hold)

    def _now(self, pieces: tuple[bytes, ...], hold: bool) -> None:
        if hold:
            *before, last = pieces
            cut = memoryview(last)
            self.send(*before, cut[:-HELD_BYTES])
            self._upstream.held[self] = cut[-HELD_BYTES:]
        else:
            self.send(*pieces)

    def _control(self, request: Request) -> None:
        if request.head.startswith(b"POST"):
            self._upstream.release()
        body = json.dumps(self._upstream.state()).encode()
        self.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )


async def listening(port: int = 0) -> tuple[asyncio.Server, int, Upstream]:
    """Listen on every host of HOSTS; give the server, the port, and what it knows."""
    loop = asyncio.get_running_loop()
    upstream = Upstream()
    if port == 0:
        probe = await loop.create_server(lambda: Connection(upstream), HOSTS[0], 0)
        port = probe.sockets[0].getsockname()[1]
        probe.close()
        await probe.wait_closed()
    server = await loop.create_server(lambda: Connection(upstream), HOSTS, port, backlog=1024)
    return server, port, upstream


async def _serve() -> None:
    server, port, _ = await listening()
    print(port, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(_serve())
    except KeyboardInterrupt:
        sys.exit(0)
