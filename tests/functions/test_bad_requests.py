"""Requests that HTTP/1.1 has a server refuse, requests that never end, and trailers, which are no headers."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.server import ServerState

from adapters.functions.http_protocol import HEAD_SECONDS, HttpProtocol
from emulator.loopback import serving
from tests.house import KEY, house
from tests.waiting import HANGS_SECONDS

CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


async def app(scope, receive, send) -> None:
    """Say hello."""
    await Request(scope, receive, send).body()
    await Response("hello")(scope, receive, send)


async def exchange(url: str, sent: bytes) -> bytes:
    """Send bytes on a connection of their own, and read all until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(sent)
    async with asyncio.timeout(HANGS_SECONDS):
        received = await reader.read()
    writer.close()
    return received


GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\n"
REFUSED = {
    "no Host": (400, GET + b"\r\n"),
    "two Hosts": (400, GET + b"host: a\r\nHost: a\r\n\r\n"),
    "two Hosts in HTTP/1.0": (400, b"GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n"),
    "a Host that is none": (400, GET + b"host: a/b\r\n\r\n"),
    "an expectation": (417, GET + b"host: a\r\nexpect: x\r\n\r\n"),
    "a coding": (501, POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "a coding of its own header": (501, POST + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"),
    "chunked twice": (400, POST + b"transfer-encoding: chunked, chunked\r\n\r\n"),
    "a length and chunks": (400, POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
    "HTTP/0.9": (400, b"GET /\r\n"),
    "HTTP/0.9 with a blank line": (400, b"GET /\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nhost: a\r\n\r\n"),
    "a chunk that is none": (400, POST + b"transfer-encoding: chunked\r\n\r\nx\r\n"),
}


@pytest.mark.parametrize(("status", "sent"), REFUSED.values(), ids=REFUSED)
async def test_what_rfc_9112_has_refused(status, sent):
    """A request whose meaning is not sure is refused before the app has it, and the connection is closed."""
    seen = []

    async def watched(scope, receive, send) -> None:
        seen.append((await receive())["type"])

    async with serving(watched, http=HttpProtocol) as url:
        received = await exchange(url, sent)

    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close\r\n" in received
    assert "http.request" not in seen


ALLOWED = {
    "a port": GET + b"host: localhost:7071\r\n",
    "an address": GET + b"host: [::1]:80\r\n",
    "an empty Host": GET + b"host: \r\n",
    "HTTP/1.0 without Host": b"GET / HTTP/1.0\r\n",
    "an expectation that is known": GET + b"host: a\r\nExpect: 100-Continue\r\n",
    "chunks": POST + b"transfer-encoding: Chunked\r\n",
}


@pytest.mark.parametrize("head", ALLOWED.values(), ids=ALLOWED)
async def test_what_it_allows(head):
    """What the same rules allow is answered."""
    end = b"0\r\n\r\n" if b"hunked" in head else b""
    async with serving(app, http=HttpProtocol) as url:
        received = await exchange(url, head + b"connection: close\r\n\r\n" + end)

    assert b"HTTP/1.1 200 OK\r\n" in received


async def test_trailers_are_no_headers():
    """What stands in a trailer section never becomes a header; a request behind it has its own."""

    async def told(scope, receive, send) -> None:
        request = Request(scope, receive, send)
        await request.body()
        await Response(",".join(name for name in request.headers if name in {"authorization", "x"}))(
            scope, receive, send
        )

    trailers = b"5\r\nhello\r\n0\r\nauthorization: Bearer x\r\nx: y\r\n\r\n"
    async with serving(told, http=HttpProtocol) as url:
        received = await exchange(url, CHUNKED + trailers + GET + b"host: a\r\nx: y\r\nconnection: close\r\n\r\n")

    first, second = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert (b"\r\n\r\n", b"\r\n\r\nx") == (first[-4:], second[-5:])


@pytest.mark.parametrize(
    "path",
    [
        "/openai/openai/deployments/gpt-image-1/images/generations",
        "/api/governance/virtual-keys",
    ],
)
async def test_a_credential_in_a_trailer_is_none(path):
    """The gateway answers 401 to a call whose only credential stands behind its body."""
    body = b'{"model":"gpt-image-1","prompt":"a cat"}'
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n".encode()
    chunks = b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(body), body)
    async with house() as gateway:
        received = await exchange(gateway.url, head + chunks + f"authorization: Bearer {KEY}\r\n\r\n".encode())

        assert received.startswith(b"HTTP/1.1 401 ")
        assert len(gateway.calls) == 0


class Later:
    """A loop whose timers the test ends."""

    def __init__(self) -> None:
        self.timers: list[list] = []

    def call_later(self, seconds, callback):
        timer = [seconds, callback]
        self.timers.append(timer)
        return self._Handle(lambda: timer in self.timers and self.timers.remove(timer))

    class _Handle:
        def __init__(self, cancel) -> None:
            self.cancel = cancel

    def __getattr__(self, name):
        return getattr(asyncio.get_running_loop(), name)


KEEP_ALIVE_SECONDS = 60


class Wire(asyncio.Transport):
    """A connection's transport, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self.answered = asyncio.Event()

    def write(self, data) -> None:
        self.sent += data
        self.answered.set()

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def connect(served=app) -> tuple[HttpProtocol, Later, Wire]:
    """A connection that was just made."""
    config = uvicorn.Config(served, log_config=None, timeout_keep_alive=KEEP_ALIVE_SECONDS)
    config.load()
    loop, wire = Later(), Wire()
    protocol = HttpProtocol(config, ServerState(), {}, loop)
    protocol.connection_made(wire)
    return protocol, loop, wire


async def test_a_connection_that_says_nothing():
    """It is closed after the time for which a connection is kept."""
    protocol, loop, wire = connect()
    ((seconds, end),) = loop.timers
    end()

    assert (KEEP_ALIVE_SECONDS, True, b"") == (seconds, wire.closed, wire.sent)
    protocol.connection_lost(None)


@pytest.mark.parametrize("pieces", [[b"GET / HT"], [b"GET / HTTP/1.1\r\n", b"host: a\r\n"], [b"\r\n", b"\r\n"]])
async def test_a_head_that_never_ends(pieces):
    """From its first byte on a head has its time, however it comes; then the answer is 408."""
    protocol, loop, wire = connect()
    for piece in pieces:
        protocol.data_received(piece)
    ((seconds, end),) = loop.timers
    end()
    await asyncio.sleep(0)

    assert (HEAD_SECONDS, True) == (seconds, wire.closed)
    assert wire.sent.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    protocol.connection_lost(None)


async def test_a_head_in_time():
    """A head that ends is timed no more; once it is answered, the connection is kept for a while."""
    protocol, loop, wire = connect()
    protocol.data_received(b"GET / HTTP/1.1\r\n")
    assert [HEAD_SECONDS] == [seconds for seconds, _ in loop.timers]
    protocol.data_received(b"host: a\r\n\r\n")
    assert [] == loop.timers
    await wire.answered.wait()

    assert [KEEP_ALIVE_SECONDS] == [seconds for seconds, _ in loop.timers]
    protocol.connection_lost(None)
    assert [] == loop.timers


async def test_bytes_behind_a_request_that_is_being_answered():
    """A line break behind a request, as some clients send it, does not end the call when a head's time is over."""
    answered = asyncio.Event()

    async def slow(scope, receive, send) -> None:
        await answered.wait()
        await app(scope, receive, send)

    protocol, loop, wire = connect(slow)
    protocol.data_received(GET + b"host: a\r\n\r\n")
    protocol.data_received(b"\r\n")
    ((seconds, end),) = loop.timers
    end()
    assert (HEAD_SECONDS, False) == (seconds, wire.closed)
    answered.set()
    await wire.answered.wait()

    assert wire.sent.startswith(b"HTTP/1.1 200 OK\r\n")
    protocol.connection_lost(None)


async def test_an_error_is_not_taken_for_an_earlier_answer():
    """Bad bytes behind a request that is being answered close the connection without a word."""
    protocol, _, wire = connect()
    protocol.data_received(GET + b"host: a\r\n\r\nnonsense\r\n\r\n")

    assert (True, b"") == (wire.closed, wire.sent)
    protocol.connection_lost(None)
