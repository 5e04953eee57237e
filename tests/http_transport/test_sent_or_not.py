"""When a request was surely not sent, when it may have been, and that nothing is sent twice."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from tests.http_transport.asking import LOST, SENDING, Told, ask, closed_port, only_built_in, request
from tests.http_transport.peer import CLOSE, RESET, ok, speaking
from tests.waiting import HANGS_SECONDS


async def test_sending_is_told_before_the_first_byte(transport):
    """The event comes once for each request, before a byte of it goes out, on a new connection and on a kept one."""
    async with speaking(ok()) as peer:
        for number in range(2):
            told = []

            async def trace(name, _info, told=told):
                if name == SENDING:
                    told.append(len(peer.requests))

            await ask(transport, peer.url, trace=trace)
            assert [number] == told


async def test_connecting_is_told(transport):
    """A new connection is told of before it is made; a kept one brings no such event."""
    async with speaking(ok()) as peer:
        first, second = Told(), Told()
        await ask(transport, peer.url, trace=first)
        await ask(transport, peer.url, trace=second)

    connecting = "connection.connect_tcp.started"
    assert first.events.index(connecting) < first.events.index(SENDING)
    assert connecting not in second.events


async def test_a_trace_that_objects(narrow):
    """What the trace raises as the request would go out comes out as it is; nothing was sent, and nothing is stuck."""

    async def object_to(name, _info):
        if name == SENDING:
            raise ZeroDivisionError

    async with speaking(ok()) as peer:
        with pytest.raises(ZeroDivisionError):
            await ask(narrow, peer.url, trace=object_to)
        assert [] == peer.requests

        assert (200, b"ok") == await ask(narrow, peer.url)


@only_built_in("httpx2 closes it")
async def test_a_trace_that_objects_on_a_kept_connection(transport):
    """A connection on which nothing was sent is kept."""

    async def object_to(_name, _info):
        raise ZeroDivisionError

    async with speaking(ok()) as peer:
        await ask(transport, peer.url)
        with pytest.raises(ZeroDivisionError):
            await ask(transport, peer.url, trace=object_to)
        await ask(transport, peer.url)

        assert [1, 1] == peer.asked_on


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{closed}", "http://localhost.invalid", "https://127.0.0.1:{closed}", "http://[::1]:{closed}"],
)
async def test_nobody_there(transport, url):
    """A closed port and an unknown host mean that the request was surely not sent."""
    told = Told()
    with pytest.raises(httpx2.ConnectError):
        await ask(transport, url.format(closed=closed_port()), trace=told)

    assert not told.is_sent


async def test_no_handshake(transport):
    """Where TLS does not come about, the request was surely not sent."""

    async def serve(_reader, writer):
        writer.write(b"this is no TLS")
        writer.close()

    told = Told()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        with pytest.raises(httpx2.ConnectError):
            await ask(transport, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", trace=told)

    assert not told.is_sent


@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher"])
async def test_another_scheme(transport, scheme):
    """What is not HTTP is not sent."""
    with pytest.raises(httpx2.UnsupportedProtocol):
        await ask(transport, f"{scheme}://localhost")


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "torn down"])
@pytest.mark.parametrize("before", [0, 1], ids=["new", "kept"])
async def test_no_answer(transport, before, end):
    """A connection that ends before the answer leaves open whether the request arrived: it is not sent again."""
    told = Told()
    async with speaking(*[ok()] * before, end) as peer:
        for _ in range(before):
            await ask(transport, peer.url)
        with pytest.raises(LOST):
            await ask(transport, peer.url, trace=told)

        assert before + 1 == len(peer.requests)
        assert 1 == peer.count
    assert told.is_sent


async def test_what_is_lost_says_no_host(transport):
    """The words of a failure hold neither host nor key."""
    async with speaking(CLOSE) as peer:
        with pytest.raises(LOST) as lost:
            await ask(transport, peer.url)
        assert peer.url.removeprefix("http://") not in str(lost.value)


async def test_what_is_not_sent_says_no_host(transport):
    """Neither do those of a connection that was not made."""
    with pytest.raises(httpx2.ConnectError) as not_sent:
        await ask(transport, "http://localhost.invalid")

    assert "localhost" not in str(not_sent.value)
    assert not_sent.value.__suppress_context__


async def test_a_redirect(transport):
    """A redirect is an answer like any other: it would choose a host."""
    async with speaking(b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n") as peer:
        assert (302, b"") == await ask(transport, peer.url)
        assert 1 == len(peer.requests)


async def test_cookies(transport):
    """What one answer sets as a cookie does not go out with the next request: it would tie calls together."""
    async with speaking(ok(b"ok", b"set-cookie: a=b")) as peer:
        for _ in range(2):
            await ask(transport, peer.url)

        assert not [text for text in peer.requests if b"ookie" in text]


async def test_the_environment(make, monkeypatch):
    """Proxies and .netrc of the environment do not decide where keys are sent."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async with speaking(ok()) as peer:
        assert (200, b"ok") == await ask(make(), peer.url)


# -- what goes over the wire ------------------------------------------------------------------------------------------


async def test_a_request(transport):
    """Method, target, headers and body arrive as they were given."""
    async with speaking(ok()) as peer:
        asked = httpx2.Request(
            "PUT", f"{peer.url}/a%2Fb?c=d%20e#f", headers={"api-key": "secret"}, content=b"a red fox"
        )
        await ask(transport, asked)
        (text,) = peer.requests

    head, _, body = text.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    assert b"PUT /a%2Fb?c=d%20e HTTP/1.1" == first
    host = peer.url.removeprefix("http://").encode()
    assert {b"host: " + host, b"api-key: secret", b"content-length: 9"} == {line.lower() for line in headers}
    assert b"a red fox" == body


async def test_a_request_without_a_body(transport):
    """GET has neither a body nor a word about it; POST says that there is none."""
    async with speaking(ok()) as peer:
        await ask(transport, peer.url, method="GET", content=None)
        await ask(transport, peer.url, method="POST", content=None)
        first, second = (text.lower() for text in peer.requests)

    assert b"content-length" not in first
    assert b"content-length: 0" in second


@pytest.mark.parametrize("length", [None, 9], ids=["of unknown length", "of known length"])
async def test_a_body_that_comes_piece_by_piece(transport, length):
    """A body that is read while it is sent arrives whole, in chunks where its length is not known."""

    async def pieces():
        for piece in (b"a red", b"", b" fox"):
            yield piece
            await asyncio.sleep(0)

    async with speaking(ok()) as peer:
        headers = {} if length is None else {"content-length": str(length)}
        answer = await ask(transport, httpx2.Request("POST", peer.url, content=pieces(), headers=headers))
        assert (200, b"ok") == answer
        (text,) = peer.requests

    _, _, body = text.partition(b"\r\n\r\n")
    assert (b"5\r\na red\r\n4\r\n fox\r\n0\r\n\r\n" if length is None else b"a red fox") == body


@only_built_in("h11's own exception comes out, which is none of httpx2's")
@pytest.mark.parametrize("length", [8, 10])
async def test_a_body_that_is_not_as_long_as_it_says(narrow, length):
    """A body that is longer or shorter than announced fails, and its connection is not used again."""

    async def pieces():
        yield b"a red"
        yield b" fox"

    async with speaking(ok()) as peer:
        asked = httpx2.Request("POST", peer.url, content=pieces(), headers={"content-length": str(length)})
        with pytest.raises(httpx2.LocalProtocolError):
            await ask(narrow, asked)

        assert (200, b"ok") == await ask(narrow, peer.url)
        assert 2 == peer.count


async def test_a_body_that_fails(narrow):
    """What the body raises comes out as it is; its connection is not used again."""

    async def pieces():
        yield b"a red"
        raise ZeroDivisionError

    async with speaking(ok()) as peer:
        with pytest.raises(ZeroDivisionError):
            await ask(narrow, httpx2.Request("POST", peer.url, content=pieces()))

        assert (200, b"ok") == await ask(narrow, peer.url)
        assert 2 == peer.count


UNWRITABLE = {
    "a value with a line break": {"api-key": "a\r\nx-admin: 1"},
    "a value with a line feed": {"api-key": "a\nb"},
    "a value with a carriage return": {"api-key": "a\rb"},
    "a value with a zero": {"api-key": "a\0b"},
    "a name with a line break": {"api-key\r\nx-admin": "1"},
    "a name with a colon": {"api-key:": "1"},
    "a name with a blank": {"api key": "1"},
    "no name": {"": "1"},
}


@pytest.mark.parametrize("headers", UNWRITABLE.values(), ids=UNWRITABLE)
async def test_what_cannot_be_written(narrow, headers):
    """What cannot be written as a request is not sent, and nothing is stuck."""
    async with speaking(ok()) as peer:
        with pytest.raises(httpx2.LocalProtocolError):
            await ask(narrow, httpx2.Request("POST", peer.url, headers=headers, content=b"a red fox"))
        assert [] == peer.requests

        assert (200, b"ok") == await ask(narrow, peer.url)


@only_built_in("httpx2 takes what it cannot write for sent")
async def test_what_cannot_be_written_is_not_told_of(transport):
    """Where nothing could be written, nothing is told of: it was surely not sent."""
    told = Told()
    async with speaking(ok()) as peer:
        asked = request(peer.url, trace=told)
        asked.headers["api-key"] = "a\nb"
        with pytest.raises(httpx2.LocalProtocolError):
            await ask(transport, asked)

    assert [] == told.events


@only_built_in("h11 sends the bytes as they are")
async def test_a_value_beyond_ascii(transport):
    """What one server reads in one way and the next one in another is not sent."""
    async with speaking(ok()) as peer:
        with pytest.raises(httpx2.LocalProtocolError):
            await ask(transport, httpx2.Request("POST", peer.url, headers=[(b"api-key", b"caf\xe9")], content=b"a"))

        assert [] == peer.requests


async def test_two_hosts(transport):
    """A request names one host."""
    async with speaking(ok()) as peer:
        with pytest.raises(httpx2.LocalProtocolError):
            await ask(
                transport, httpx2.Request("GET", peer.url, headers=[("Host", "a.example"), ("Host", "b.example")])
            )

        assert [] == peer.requests


@only_built_in("h11 fails on some, and sends others")
@pytest.mark.parametrize(
    "headers", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}, {"transfer-encoding": "x"}], ids=repr
)
async def test_the_body_says_where_it_ends(transport, headers):
    """Headers that say otherwise do not go out: what follows would be read as another request."""
    async with speaking(ok()) as peer:
        asked = httpx2.Request("POST", peer.url, headers=headers, content=b"a red fox")
        await ask(transport, asked)
        text = peer.requests[0].lower()

    assert b"content-length: 9\r\n" in text
    assert 1 == text.count(b"content-length")
    assert b"transfer-encoding" not in text


@pytest.mark.parametrize("method", ["", "GET /", "GET\r\n"])
async def test_a_method_that_cannot_be_written(transport, method):
    """A method is one word."""
    async with speaking(ok()) as peer:
        with pytest.raises(httpx2.LocalProtocolError):
            await ask(transport, httpx2.Request(method, peer.url))

        assert [] == peer.requests


async def test_ipv6(transport):
    """A URL may name an IPv6 address."""
    async with speaking(ok(), host="::1") as peer:
        assert (200, b"ok") == await ask(transport, peer.url)
        assert f"host: {peer.url.removeprefix('http://')}".encode() in peer.requests[0].replace(b"Host", b"host")


async def test_a_name_with_several_addresses(transport):
    """A host is reached by its name although not all its addresses answer."""
    async with speaking(ok()) as peer:
        assert (200, b"ok") == await ask(transport, peer.url.replace("127.0.0.1", "localhost"))


async def test_closing(make):
    """Closing fails what is in flight, and ends everything else that is open; it can be done twice."""
    transport = make()
    begins = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegins"
    async with speaking(ok(), (begins, asyncio.Event())) as peer:
        await ask(transport, peer.url)
        in_flight = asyncio.create_task(ask(transport, peer.url))
        await peer.until(lambda peer: len(peer.requests) == 2)
        await transport.aclose()
        async with asyncio.timeout(HANGS_SECONDS):
            with pytest.raises((*LOST, httpx2.NetworkError)):
                await in_flight
        await peer.until(lambda peer: not peer.open)
    await transport.aclose()
