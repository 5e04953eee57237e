"""`python -m bench.upstream`: an Azure OpenAI that answers at once with prepared bytes, faster than any gateway asks.

It knows `POST /openai/deployments/{deployment}/images/generations`, as JSON and as a stream; the deployment's name says
what is answered (see bench.answers). `GET /held` tells how many answers are held back, `POST /release` sends them.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Final

import httptools

from bench import answers
from bench.answers import AnswerKind

HOSTS: Final = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""Loopback only. Several, so that a catalogue can name several resources."""
HELD_BYTES: Final = 16
"""How much of an answer is held back: in a stream this is less than all that follows the last image."""

_PATH: Final = re.compile(rb"/(?:openai/)?deployments/([^/?]+)/images/generations(?:\?|$)")


class Upstream:
    """What all connections share: the answers of which the last bytes are held back."""

    def __init__(self) -> None:
        self.held: dict[Connection, memoryview] = {}

    def count_held(self) -> int:
        """The answers of which all but the held bytes has gone out."""
        return sum(1 for connection in self.held if connection.is_drained)

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
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", b""

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
        """Read what came (asyncio)."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._answer("400 Bad Request", b"{}")
            if self._transport is not None:
                self._transport.close()

    def on_message_begin(self) -> None:
        """Begin a request (httptools)."""
        self._path, self._body = b"", b""

    def on_url(self, part: bytes) -> None:
        """Take a part of a request's path (httptools)."""
        self._path += part

    def on_body(self, part: bytes) -> None:
        """Take a part of a request's body (httptools)."""
        self._body += part

    def on_message_complete(self) -> None:
        """Answer a request (httptools)."""
        found = _PATH.match(self._path)
        kind = found and AnswerKind.parse(found[1].decode("latin-1"))
        if kind:
            self._answer_images(kind, json.loads(self._body))
        elif self._path == b"/held":
            self._answer("200 OK", b"%d" % self._upstream.count_held())
        elif self._path == b"/release":
            self._upstream.release()
            self._answer("200 OK", b"{}")
        else:
            self._answer("404 Not Found", b"{}")

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send, if the connection is still there."""
        if self._transport is not None:
            self._transport.writelines(pieces)

    def _answer(self, status: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.send(head.encode(), body)

    def _answer_images(self, kind: AnswerKind, request: dict[str, object]) -> None:
        if not request.get("stream"):
            images = int(str(request.get("n", 1)))
            self._send_after(kind.wait_ms, answers.make_json(kind.characters, images), hold=kind.hold)
            return
        partials = int(str(request.get("partial_images", 0)))
        for index in range(partials):
            event = answers.make_partial_event(kind.characters, index)
            self._send_after(kind.wait_ms * (index + 1), (event,), hold=False)
        last = answers.make_completed_event(kind.characters, is_first=partials == 0)
        self._send_after(kind.wait_ms * (partials + 1), (last,), hold=kind.hold)

    def _send_after(self, milliseconds: int, pieces: tuple[bytes, ...], *, hold: bool) -> None:
        if milliseconds:
            asyncio.get_running_loop().call_later(milliseconds / 1000, self._send_now, pieces, hold)
        else:
            self._send_now(pieces, hold)

    def _send_now(self, pieces: tuple[bytes, ...], hold: bool) -> None:
        if hold:
            *before, last = pieces
            cut = memoryview(last)
            self.send(*before, cut[:-HELD_BYTES])
            self._upstream.held[self] = cut[-HELD_BYTES:]
        else:
            self.send(*pieces)


async def listen() -> tuple[asyncio.Server, int]:
    """Listen on the same free port of every host of HOSTS."""
    loop = asyncio.get_running_loop()
    upstream = Upstream()
    probe = await loop.create_server(lambda: Connection(upstream), HOSTS[0], 0)
    port: int = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    return await loop.create_server(lambda: Connection(upstream), HOSTS, port, backlog=1024), port


async def _serve() -> None:
    server, port = await listen()
    print(port, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(_serve())
    except KeyboardInterrupt:
        sys.exit(0)
