"""What an answer is, when it is whole, how it is read, and what may be asked on its connection next."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.http_transport.asking import LOST, SOON, ask, only_built_in, request
from tests.http_transport.peer import CLOSE, RESET, ok, speaking
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    import ssl

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
}


@pytest.mark.parametrize(("text", "status", "body"), WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("step", [1, 7, 9_999])
async def test_an_answer_that_says_where_it_ends(transport, text, status, body, step):
    """An answer that says where it ends is whole there, in whatever pieces it comes; its connection is used again."""
    pieces = tuple(text[start : start + step] for start in range(0, len(text), step))
    async with speaking(pieces, ok()) as peer:
        assert (status, body) == await ask(transport, peer.url)
        assert (200, b"ok") == await ask(transport, peer.url)

        assert [1, 1] == peer.asked_on


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_that_ends_with_its_connection(transport, version):
    """An answer that does not say where it ends goes on to the end of its connection."""
    async with speaking((b"HTTP/%b 200 OK\r\n\r\nhello, world" % version, CLOSE)) as peer:
        assert (200, b"hello, world") == await ask(transport, peer.url)


async def test_an_answer_without_an_end_that_breaks(transport):
    """Where its connection is torn down, an answer without an end of its own is lost."""
    asked = asyncio.Event()
    async with speaking((b"HTTP/1.0 200 OK\r\n\r\nhello", asked, RESET)) as peer:
        response = await transport.handle_async_request(request(peer.url))
        pieces = response.aiter_raw()
        assert b"hello" == await anext(pieces)
        asked.set()
        with pytest.raises(LOST):
            await anext(pieces)
        await response.aclose()


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
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "a length that is none": b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
    "two transfer codings": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a protocol to go over to": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxyz",
    "another transfer coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a status that is none": b"HTTP/1.1 OK\r\n\r\n",
}
UNREADABLE_TO_ONE = {
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a size beyond all numbers": CHUNKED + b"f" * 17 + b"\r\n",
    "a length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("text", CUT_SHORT.values(), ids=CUT_SHORT)
async def test_an_answer_that_is_cut_short(transport, text):
    """An answer whose connection ends too early is lost, not short."""
    async with speaking((text, CLOSE)) as peer:
        with pytest.raises(LOST):
            await ask(transport, peer.url)


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_answer_that_cannot_be_read(narrow, text):
    """What is not an answer as HTTP/1.1 has it is lost at once, and its connection is closed."""
    async with speaking((text, asyncio.Event()), ok()) as peer:
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask(narrow, peer.url)
        await peer.until(lambda peer: not peer.open)

        assert (200, b"ok") == await ask(narrow, peer.url)


@only_built_in("h11 waits for the end of a head, obeys the second of two lengths, and reads any size")
@pytest.mark.parametrize("text", UNREADABLE_TO_ONE.values(), ids=UNREADABLE_TO_ONE)
async def test_an_answer_of_two_meanings(narrow, text):
    """What one side may read in one way and the next one in another is no answer either."""
    async with speaking((text, asyncio.Event())) as peer:
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask(narrow, peer.url, read=SOON)
        await peer.until(lambda peer: not peer.open)


async def test_what_has_come_of_a_lost_answer(transport):
    """What came before an answer was lost is handed out first."""
    asked = asyncio.Event()
    async with speaking((b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell", asked, CLOSE)) as peer:
        response = await transport.handle_async_request(request(peer.url))
        pieces = response.aiter_raw()
        assert b"hell" == await anext(pieces)
        asked.set()
        with pytest.raises(LOST):
            await anext(pieces)
        await response.aclose()


async def test_headers(transport):
    """Headers are found in any case, without blanks around them; one that came twice is both."""
    async with speaking(ok(b"ok", b"X-Region:  Sweden  ", b"x-region: Norway")) as peer:
        response = await transport.handle_async_request(request(peer.url))
        await response.aread()

    assert "Sweden, Norway" == response.headers["X-REGION"]
    assert ["Sweden", "Norway"] == response.headers.get_list("x-region")


@pytest.mark.parametrize(
    ("name", "pack"), [("gzip", gzip.compress), ("identity", bytes)], ids=["gzip", "nothing to undo"]
)
async def test_an_answer_that_is_compressed(transport, name, pack):
    """A compressed answer comes as it was sent and says so: whoever reads it undoes that."""
    packed = pack(b"hello")
    async with speaking(ok(packed, b"Content-Encoding: " + name.encode())) as peer:
        response = await transport.handle_async_request(request(peer.url))
        assert packed == b"".join([piece async for piece in response.aiter_raw()])
        assert name == response.headers["content-encoding"]
        assert b"hello" == (await ask(transport, peer.url))[1]


async def test_head(transport):
    """What HEAD is answered has the headers of a body, and none."""
    async with speaking(ok()[:-2], ok(b"again")) as peer:
        response = await transport.handle_async_request(request(peer.url, method="HEAD", content=None))
        assert ("2", b"") == (response.headers["content-length"], await response.aread())

        assert (200, b"again") == await ask(transport, peer.url)


ONCE = {
    "said so": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    "an older protocol": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("text", ONCE.values(), ids=ONCE)
async def test_an_answer_that_ends_its_connection(transport, text):
    """A connection whose answer says so is not used again."""
    async with speaking(text) as peer:
        for _ in range(2):
            assert (200, b"ok") == await ask(transport, peer.url)

        assert [1, 2] == peer.asked_on


@only_built_in("h11 closes every connection to an older server")
async def test_http_1_0_that_stays(transport):
    """An older server may keep its connection, if it says so."""
    text = b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"
    async with speaking(text) as peer:
        for _ in range(2):
            assert (200, b"ok") == await ask(transport, peer.url)

        assert [1, 1] == peer.asked_on


# -- bounds -----------------------------------------------------------------------------------------------------------

TOO_LONG = {
    "one header": b"HTTP/1.1 200 OK\r\nx: " + bytes(range(97, 123)) * 9_999,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000,
    "a chunk's extension": CHUNKED + b"1;" + b"x" * 200_000,
}


@pytest.mark.parametrize("text", TOO_LONG.values(), ids=TOO_LONG)
async def test_a_head_without_end(narrow, text):
    """A head that is too long is no answer: what is held in memory has a bound."""
    async with speaking((text, asyncio.Event())) as peer:
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask(narrow, peer.url)
        await peer.until(lambda peer: not peer.open)


@only_built_in("h11 bounds one head, and not how many interim answers come before it")
async def test_interim_answers_without_end(narrow):
    """Interim answers that go on for ever are no answer either."""
    async with speaking((b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9_999, asyncio.Event())) as peer:
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask(narrow, peer.url, read=SOON)


async def test_a_slow_reader(transport):
    """A body that nobody reads is not taken from the network: the server has to wait, and then all of it comes."""
    size = 64 << 20
    async with speaking(ok(bytes(size))) as peer:
        response = await transport.handle_async_request(request(peer.url))
        unsent = 0
        while not unsent or unsent != (unsent := peer.open[1].transport.get_write_buffer_size()):
            unsent = peer.open[1].transport.get_write_buffer_size()
            await asyncio.sleep(0.05)
        assert unsent > size // 2

        async with asyncio.timeout(HANGS_SECONDS):
            assert size == sum([len(piece) async for piece in response.aiter_raw()])


async def test_a_body_that_nobody_reads(narrow):
    """Who leaves a large answer unread does not leave a connection on which its rest would be the next answer."""
    async with speaking(ok(bytes(1 << 20)), ok()) as peer:
        response = await narrow.handle_async_request(request(peer.url))
        await response.aclose()

        assert (200, b"ok") == await ask(narrow, peer.url)


@only_built_in("httpx2 looks for an answer when it has sent all", run=False)
async def test_an_answer_before_the_request_was_read(narrow):
    """Where the server answers without reading what was asked, the rest of that is not in the next one's way."""
    early = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\nno"

    async def endless():
        while True:
            yield bytes(1 << 20)
            await asyncio.sleep(0)

    async with refusing(early) as url:
        for content in (bytes(30_000_000), endless()):
            assert (429, b"no") == await ask(narrow, url, content=content)


class refusing:  # noqa: N801 -- reads as a function
    """A server that answers a request's head and does not read the rest."""

    def __init__(self, answer: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        writer.write(self._answer)

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)
