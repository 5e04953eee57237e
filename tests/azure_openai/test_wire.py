"""HTTP/1.1 as the wire reads it: what an answer is, when it is whole, and what may be asked on it next."""

from __future__ import annotations

import asyncio
import gzip
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.arriving import MOST_UNREAD_BYTES, Headers
from adapters.http.wire import MOST_HEAD_BYTES, READ_BYTES, HttpConnection
from core.azure_openai.connection import Lost
from tests.azure_openai.peer import ok
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable


class Line(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
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
    """A wire on such a transport, asked once; `said` is what upstream says to that."""

    def __init__(self) -> None:
        self.line = Line()
        self.ended: list[HttpConnection] = []
        self.wire = HttpConnection(memoryview(bytearray(READ_BYTES)), self.ended.append)
        self.wire.connection_made(self.line)
        self.answer = self.wire.ask(b"GET / HTTP/1.1\r\n\r\n")

    def says(self, text: bytes) -> None:
        while text and not self.line.is_closing():
            room = self.wire.get_buffer(-1)
            size = min(len(room), len(text))
            room[:size], text = text[:size], text[size:]
            self.wire.buffer_updated(size)

    def hangs_up(self, error: Exception | None = None) -> None:
        if error is None:
            self.wire.eof_received()
        self.wire.connection_lost(error)

    async def whole(self) -> tuple[int, bytes]:
        """Status and body, as far as they have come: nothing here waits for more."""
        async with asyncio.timeout(0):
            await self.answer.head()
            return self.answer.status, b"".join([piece async for piece in self.answer.pieces()])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    "a length of nothing": (b"HTTP/1.1 502 \r\nContent-Length: 0\r\n\r\n", 502, b""),
    "chunks": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, b"hello"),
    "chunks with extensions": (CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n', 200, b"hello"),
    "chunks and trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nchecksum: 1\r\nx: y\r\n\r\n", 200, b"hello"),
    "chunks, spelled otherwise": (CHUNKED.replace(b"chunked", b"Chunked") + b"0\r\n\r\n", 200, b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified, with the length of what was not sent": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        304,
        b"",
    ),
    "interim answers before it": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + ok(),
        200,
        b"ok",
    ),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        200,
        b"ok",
    ),
}


@pytest.mark.parametrize(("text", "status", "body"), WHOLE.values(), ids=WHOLE)
async def test_an_answer_that_says_where_it_ends(text, status, body):
    """An answer that says where it ends is whole there, and the wire can be asked again."""
    connected = Connected()
    connected.says(text)

    assert (status, body) == await connected.whole()
    assert connected.wire.let_go()
    assert not connected.line.is_closing()


@given(st.data())
def test_an_answer_in_any_pieces(data):
    """However an answer is cut on its way, it is the same, and before its last byte it is not whole."""
    text, status, body = data.draw(st.sampled_from(list(WHOLE.values())))
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8))

    async def read() -> tuple[int, bytes]:
        connected = Connected()
        for start, end in pairwise([0, *sorted(cuts), len(text)]):
            assert not connected.answer.is_whole or start == len(text)
            connected.says(text[start:end])
        return await connected.whole()

    assert (status, body) == asyncio.run(read())


UNTIL_THE_END = {
    "neither length nor chunks": b"HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("head", UNTIL_THE_END.values(), ids=UNTIL_THE_END)
async def test_an_answer_that_ends_with_its_connection(head):
    """An answer that does not say where it ends goes on to the end of its connection."""
    connected = Connected()
    connected.says(head + b"hello")
    with pytest.raises(TimeoutError):
        await connected.whole()
    connected.says(b", world")
    connected.hangs_up()

    assert (200, b", world") == await connected.whole()
    assert not connected.wire.let_go()


async def test_an_answer_without_an_end_that_breaks():
    """Where its connection is torn down, an answer without an end of its own is lost."""
    connected = Connected()
    connected.says(UNTIL_THE_END["HTTP/1.0"] + b"hello")
    connected.hangs_up(ConnectionResetError())

    with pytest.raises(Lost, match="broke"):
        await connected.whole()


CUT_SHORT = {
    "nothing at all": b"",
    "a head cut short": b"HTTP/1.1 200 OK\r\ncontent-le",
    "an interim answer alone": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "a body shorter than its length": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
    "no last chunk": CHUNKED + b"5\r\nhello\r\n",
    "a chunk cut short": CHUNKED + b"5\r\nhell",
    "trailers cut short": CHUNKED + b"5\r\nhello\r\n0\r\nchecksum: 1\r\n",
}
UNREADABLE = {
    "a size that is none": CHUNKED + b"five\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "a size beyond all numbers": CHUNKED + b"f" * 17 + b"\r\n",
    "a length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "a length that is none": b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
    "another transfer coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello",
    "two transfer codings": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a protocol to go over to": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxyz",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a status that is none": b"HTTP/1.1 OK\r\n\r\n",
}


@pytest.mark.parametrize("text", CUT_SHORT.values(), ids=CUT_SHORT)
async def test_an_answer_that_is_cut_short(text):
    """An answer whose connection ends too early is lost, not short."""
    connected = Connected()
    connected.says(text)
    with pytest.raises(TimeoutError):
        await connected.whole()
    connected.hangs_up()

    with pytest.raises(Lost):
        await connected.whole()
    assert not connected.wire.let_go()


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_answer_that_cannot_be_read(text):
    """What is not an answer as HTTP/1.1 has it is lost at once, and its connection is closed."""
    connected = Connected()
    connected.says(text)

    with pytest.raises(Lost):
        await connected.whole()
    assert not connected.wire.is_open
    await asyncio.sleep(0)
    assert connected.line.is_closing()
    connected.wire.connection_lost(None)
    with pytest.raises(Lost, match=r"HTTP/1\.1|transfer-encoding"):  # why, and not only that it was closed then
        await connected.whole()


async def test_what_has_come_of_a_lost_answer():
    """What came before an answer was lost is handed out first."""
    connected = Connected()
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell")
    connected.hangs_up(ConnectionResetError())
    pieces = connected.answer.pieces()

    assert b"hell" == await anext(pieces)
    with pytest.raises(Lost):
        await anext(pieces)


@pytest.mark.parametrize("cut", [0, 5], ids=["whole", "cut short"])
async def test_an_answer_that_is_compressed(cut):
    """A compressed answer is handed out as it was; one that is short is lost, though its length is right."""
    packed = gzip.compress(b"hello")
    packed = packed[: len(packed) - cut]
    connected = Connected()
    connected.says(ok(packed, b"Content-Encoding: gzip"))

    if cut:
        with pytest.raises(Lost):
            await connected.whole()
    else:
        assert (200, b"hello") == await connected.whole()


async def test_an_answer_that_is_compressed_in_another_way():
    """An answer in an encoding that is not known is lost, but for its head."""
    connected = Connected()
    connected.says(ok(b"?", b"Content-Encoding: br"))
    await connected.answer.head()

    assert connected.answer.status == 200
    with pytest.raises(Lost, match="br"):
        await connected.whole()


ONCE = {
    "said so": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    "an older protocol": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "more than was announced": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok more",
    "an answer that nobody asked for": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" * 2,
    "more behind the last chunk": CHUNKED + b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
}


@pytest.mark.parametrize("text", ONCE.values(), ids=ONCE)
async def test_a_wire_for_one_answer(text):
    """An answer after which nothing can follow, or something did, is whole; its wire is closed."""
    connected = Connected()
    connected.says(text)

    assert (200, b"ok") == await connected.whole()
    assert not connected.wire.let_go()
    assert connected.line.is_closing()


async def test_an_answer_to_head():
    """What HEAD is answered has no body, whatever it announces; its wire is closed."""
    connected = Connected()
    connected.says(WHOLE["a length"][0])
    assert connected.wire.let_go()
    connected.answer = connected.wire.ask(b"HEAD / HTTP/1.1\r\n\r\n", for_body=False)
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")

    assert (200, b"") == await connected.whole()
    assert not connected.wire.let_go()


@pytest.mark.parametrize("more", [b"x", b"\r\n"])
async def test_more_after_a_whole_answer(more):
    """What comes later than the whole answer closes the wire, too."""
    connected = Connected()
    connected.says(WHOLE["a length"][0])
    connected.says(more)

    assert (200, b"hello") == await connected.whole()
    assert not connected.wire.let_go()


async def test_a_request_that_upstream_did_not_read_to_its_end():
    """An answer that came before the whole request had gone out closes the wire."""
    connected = Connected()
    connected.line.unsent = 1
    connected.says(WHOLE["a length"][0])

    assert not connected.wire.let_go()


async def test_one_answer_after_the_other():
    """A wire that was let go takes the next request; the answers do not mix."""
    connected = Connected()
    connected.says(WHOLE["chunks"][0])
    first = connected.answer
    assert connected.wire.let_go()
    connected.answer = connected.wire.ask(b"second")
    connected.says(b"HTTP/1.1 404 Not Found\r\nx: 2\r\ncontent-length: 2\r\n\r\nno")

    assert (404, b"no") == await connected.whole()
    assert {"x": "2", "content-length": "2"} == dict(connected.answer.headers)
    assert [b"hello"] == [piece async for piece in first.pieces()]


async def test_an_answer_whose_reader_has_left():
    """Who reads on after letting go gets no more, and above all nothing of the next answer."""
    connected = Connected()
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")
    assert not connected.wire.let_go()

    async with asyncio.timeout(HANGS_SECONDS):
        pieces = connected.answer.pieces()
        assert b"he" == await anext(pieces)
        with pytest.raises(Lost):
            await anext(pieces)


@pytest.mark.parametrize("text", [b"x", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"])
async def test_a_word_from_upstream_while_nothing_is_asked(text):
    """An idle wire on which upstream says something is closed."""
    connected = Connected()
    connected.says(WHOLE["a length"][0])
    assert connected.wire.let_go()
    connected.says(text)

    assert not connected.wire.is_open


async def test_the_end_of_an_idle_wire():
    """An idle wire that upstream ends is closed, and its owner hears of it."""
    connected = Connected()
    connected.says(WHOLE["a length"][0])
    assert connected.wire.let_go()
    connected.hangs_up()

    assert not connected.wire.is_open
    assert [connected.wire] == connected.ended


# -- bounds -----------------------------------------------------------------------------------------------------------

ENDLESS = {
    "a header": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10),
    "line breaks": (b"", b"\r\n" * 100),
    "a chunk's extension": (CHUNKED + b"5;", b"a" * 1000),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"x: y\r\n" * 100),
    "a trailer": (CHUNKED + b"0\r\nx: ", b"y" * 1000),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
async def test_what_brings_nothing_is_bounded(begin, more):
    """Of a head, and of what is no body, no more is taken than is allowed; then the answer is lost."""
    connected = Connected()
    connected.says(begin)
    taken = 0
    while connected.wire.is_open:
        connected.says(more)
        taken += len(more)
        assert taken < MOST_HEAD_BYTES + 2 * len(more)

    with pytest.raises(Lost, match="too long"):
        await connected.whole()


async def test_each_answer_is_allowed_as_much():
    """What one answer has used of its allowance, the next one on the wire has again."""
    connected = Connected()
    hint = b"HTTP/1.1 103 Early Hints\r\nx: " + b"y" * (MOST_HEAD_BYTES // 2) + b"\r\n\r\n"
    for _ in range(4):
        connected.says(hint)
        connected.says(ok())
        assert (200, b"ok") == await connected.whole()
        assert connected.wire.let_go()
        connected.answer = connected.wire.ask(b"next")


@pytest.mark.parametrize("size", [MOST_HEAD_BYTES - 60, MOST_HEAD_BYTES + 60])
async def test_a_long_head(size):
    """A head is taken up to the limit exactly, also where it comes in one piece with its body."""
    connected = Connected()
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: " + b"y" * size + b"\r\n\r\nhello")

    if size < MOST_HEAD_BYTES:
        assert (200, b"hello") == await connected.whole()
    else:
        with pytest.raises(Lost, match="too long"):
            await connected.whole()


async def test_a_reader_that_does_not_keep_up():
    """No more is read from the network than a bound while nobody reads the answer; then it goes on."""
    connected = Connected()
    size = 4 * MOST_UNREAD_BYTES
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
    sent = 0
    while not connected.line.is_paused:
        connected.says(bytes(READ_BYTES // 2))
        sent += READ_BYTES // 2
    assert MOST_UNREAD_BYTES < sent <= MOST_UNREAD_BYTES + READ_BYTES

    pieces = connected.answer.pieces()
    assert sent == len(await anext(pieces))
    assert not connected.line.is_paused


async def test_pieces_that_wait_are_handed_out_as_one():
    """What has come since the reader last looked is one piece: each costs its way through the house."""
    connected = Connected()
    connected.says(CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")

    assert [b"hello"] == [piece async for piece in connected.answer.pieces()]


async def test_an_idle_wire_is_listened_to():
    """A wire let go while nothing was read from it is read from again, so that its end is noticed."""
    connected = Connected()
    size = 2 * MOST_UNREAD_BYTES
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
    assert connected.line.is_paused

    assert connected.wire.let_go()
    assert not connected.line.is_paused


async def test_a_wire_is_asked_one_thing_at_a_time():
    """A second request before the first is let go is a fault of ours."""
    connected = Connected()

    with pytest.raises(AssertionError):
        connected.wire.ask(b"second")


def test_headers():
    """Headers are found in any case; one that came twice is both, and bytes beyond ASCII do no harm."""
    headers = Headers([(b"X-Region", b"Sweden "), (b"x-region", b"Norway"), (b"Caf\xe9", b"\xe9")])

    assert "Sweden, Norway" == headers["X-REGION"] == headers.get("x-region")
    assert headers.get("absent") is None
    assert ["x-region", "café"] == list(headers)
    assert len(headers) == 2


async def test_a_piece_that_comes_as_its_time_ends():
    """What comes in the very turn in which it is given up is not lost: it may have been paid for."""
    connected = Connected()
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    pieces = connected.answer.pieces(lambda: 0.0)
    waiting = asyncio.ensure_future(anext(pieces))
    for _ in range(3):  # it waits; the time is over; it is woken
        await asyncio.sleep(0)
    assert not waiting.done()
    connected.says(b"hello")

    assert await waiting == b"hello"
    await pieces.aclose()


async def test_a_piece_that_does_not_come():
    """A silent body is given up, also where more of it was promised."""
    connected = Connected()
    connected.says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    with pytest.raises(TimeoutError):
        await anext(connected.answer.pieces(lambda: 0.0))


async def test_a_body_that_never_pauses():
    """The time of an answer ends also where there is always another piece; what came as it ended is still taken."""
    connected = Connected()
    connected.says(CHUNKED)
    left = iter([1.0, 0.0, 0.0])
    pieces = connected.answer.pieces(lambda: next(left))
    for _ in range(2):
        connected.says(b"1\r\nx\r\n")
        assert await anext(pieces) == b"x"
    connected.says(b"1\r\nx\r\n")

    with pytest.raises(TimeoutError):
        await anext(pieces)


async def test_a_body_that_is_there_whole_when_its_time_is_over():
    """What has come whole is read to its end: nothing of it need be waited for."""
    connected = Connected()
    connected.says(CHUNKED + b"1\r\nx\r\n")
    pieces = connected.answer.pieces(lambda: 0.0)
    assert await anext(pieces) == b"x"
    connected.says(b"1\r\ny\r\n0\r\n\r\n")

    assert [b"y"] == [piece async for piece in pieces]


# -- time -------------------------------------------------------------------------------------------------------------


async def _after(turns: int, then: Callable[[], None]) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    then()


@pytest.mark.parametrize("of", ["head", "body"])
async def test_what_has_come_as_the_time_ends(of):
    """What comes in the same turn of the loop in which the time ends is taken: it may be a picture, and paid for."""
    seen = set()
    for turns in range(6):
        connected = Connected()
        if of == "body":
            connected.says(ok()[:-2])
        rest = asyncio.ensure_future(_after(turns, partial(connected.says, ok() if of == "head" else b"ok")))
        try:
            if of == "head":
                await connected.answer.head(lambda: 0.0)
            else:
                await anext(connected.answer.pieces(lambda: 0.0))
            seen.add("taken")
            assert connected.answer.is_whole
        except TimeoutError:
            seen.add("too late")
            assert not connected.answer.is_whole
        await rest

    assert {"taken", "too late"} == seen
