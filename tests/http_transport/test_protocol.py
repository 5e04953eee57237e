"""The gateway's own transport without a network: any bytes in any pieces, and when a connection can be used again."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.exchange import MAX_UNREAD_BYTES
from adapters.http.protocol import READ_BYTES, SMALL_BYTES, Http1Protocol
from tests.http_transport.peer import ok
from tests.http_transport.test_answers import WHOLE


class Line(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__({"sslcontext": object()} if tls else {})
        self.written: list[bytes] = []
        self.is_paused = False
        self.unsent = 0
        self._is_closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self) -> None:
        self._is_closing = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Connected:
    """A connection on such a transport, with an exchange on it."""

    def __init__(self, *, tls: bool = False, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> None:
        self.line = Line(tls=tls)
        self.protocol = Http1Protocol(memoryview(bytearray(READ_BYTES)), lambda _: None)
        self.protocol.connection_made(self.line)
        self.exchange = self.protocol.start("GET", 0.0)
        self.protocol.write(request)

    def says(self, text: bytes) -> None:
        """Let the server say something, in pieces no larger than there is room for."""
        while text and not self.line.is_closing():
            room = self.protocol.get_buffer(-1)
            size = min(len(room), len(text))
            room[:size], text = text[:size], text[size:]
            self.protocol.buffer_updated(size)

    async def whole(self) -> tuple[int, bytes]:
        """Status and body: nothing here waits for more."""
        await self.exchange.head()
        return self.exchange.status, b"".join([piece async for piece in self.exchange])


@given(st.data())
def test_an_answer_in_any_pieces(data):
    """However an answer is cut on its way, it is the same, and before its last byte it is not whole."""
    text, status, body = data.draw(st.sampled_from(list(WHOLE.values())))
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8))

    async def read() -> tuple[int, bytes]:
        connected = Connected()
        for start, end in pairwise([0, *sorted(cuts), len(text)]):
            assert not connected.exchange.is_whole or start == len(text)
            connected.says(text[start:end])
        return await connected.whole()

    assert (status, body) == asyncio.run(read())


@given(st.lists(st.binary(max_size=99) | st.sampled_from([text for text, _, _ in WHOLE.values()]), max_size=4))
def test_any_bytes(pieces):
    """Whatever a server says, its answer comes, or an exception of httpx2."""

    async def read() -> None:
        connected = Connected()
        for piece in pieces:
            connected.says(piece)
        connected.protocol.eof_received()
        connected.protocol.connection_lost(None)
        try:
            await connected.whole()
        except httpx2.TransportError:
            assert not connected.exchange.is_whole

    asyncio.run(read())


USED_AGAIN = {
    "all of it sent": (False, 9, 0, 429, True),
    "a rest unsent": (False, 9, 1, 200, False),
    "large, all of it sent": (False, SMALL_BYTES + 1, 0, 429, True),
    "TLS, small": (True, SMALL_BYTES, 0, 429, True),
    "TLS, large and refused": (True, SMALL_BYTES + 1, 0, 429, False),
    "TLS, large and a redirect": (True, SMALL_BYTES + 1, 0, 300, False),
    "TLS, large and taken": (True, SMALL_BYTES + 1, 0, 200, True),
    "TLS, large and just taken": (True, SMALL_BYTES + 1, 0, 299, True),
    "TLS, a rest unsent": (True, 9, 1, 200, False),
}


@pytest.mark.parametrize(("tls", "size", "unsent", "status", "again"), USED_AGAIN.values(), ids=USED_AGAIN)
async def test_what_surely_has_been_sent(tls, size, unsent, status, again):
    """A connection is used again where all of the request has surely left: its rest would be in the next one's way."""
    connected = Connected(tls=tls, request=bytes(size))
    connected.line.unsent = unsent
    connected.says(b"HTTP/1.1 %d \r\ncontent-length: 0\r\n\r\n" % status)

    assert again == connected.protocol.finish()
    assert again != connected.line.is_closing()


async def test_pieces_that_wait_are_handed_out_as_one():
    """What has come since a reader last looked is one piece: each costs its way through the gateway."""
    connected = Connected()
    connected.says(WHOLE["chunks"][0])

    assert [b"hello"] == [piece async for piece in connected.exchange]


async def test_reading_is_paused_and_resumed():
    """More than MAX_UNREAD_BYTES do not wait for their reader; what is left unread pauses no later exchange."""
    connected = Connected()
    connected.says(ok(bytes(MAX_UNREAD_BYTES + 2))[:-1])
    assert connected.line.is_paused
    await anext(connected.exchange)
    assert not connected.line.is_paused
    connected.says(bytes(1))
    assert connected.protocol.finish()

    connected.exchange = connected.protocol.start("GET", 0.0)
    connected.says(ok(bytes(2 * MAX_UNREAD_BYTES)))
    assert connected.line.is_paused
    assert connected.protocol.finish()
    assert not connected.line.is_paused


async def test_small_parts_go_out_together():
    """Head and body are one write where they are small, and none is copied where they are large."""
    connected = Connected()
    body = bytes(SMALL_BYTES)
    connected.protocol.write(b"head", b"body")
    connected.protocol.write(b"head", body)

    assert [b"headbody", b"head", body] == connected.line.written[1:]


async def test_a_connection_takes_one_exchange_at_a_time():
    """A second exchange before the first has ended is a fault of ours; on a connection that ended there is none."""
    connected = Connected()
    with pytest.raises(AssertionError):
        connected.protocol.start("GET", None)
    connected.says(ok())
    connected.protocol.finish()
    connected.protocol.eof_received()
    with pytest.raises(httpx2.ReadError):
        connected.protocol.start("GET", None)
