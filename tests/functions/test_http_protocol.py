"""uvicorn's HTTP/1.1, bounded on the way in, and in as few pieces as need be on the way out."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from adapters.functions.http_protocol import (
    MAX_JOINED_BYTES,
    MAX_UNFINISHED_BYTES,
    HeadHolder,
    HttpProtocol,
)
from emulator.loopback import serving
from tests.loopback import NO_CERTIFICATES

CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


async def app(scope, receive, send) -> None:
    """Say how long the body is, and the header x."""
    request = Request(scope, receive, send)
    await Response(f"{len(await request.body())} {len(request.headers.get('x', ''))}")(scope, receive, send)


async def chunks():
    for _ in range(2_000):
        yield b"z" * 100


GOOD = {
    "a long header": ({"headers": {"x": "y" * 60_000}}, "0 60000"),
    "a long body": ({"content": b"z" * 1_000_000}, "1000000 0"),
    "many chunks": ({"content": chunks}, "200000 0"),
}


@pytest.mark.parametrize(("options", "said"), GOOD.values(), ids=GOOD)
async def test_what_comes_to_something(options, said):
    """Long requests, and many on one connection, are taken as long as something comes of them."""
    async with serving(app, http=HttpProtocol) as url, httpx2.AsyncClient(verify=NO_CERTIFICATES) as client:
        for _ in range(3):
            made = {name: value() if callable(value) else value for name, value in options.items()}
            answer = await client.post(url, **made)
            assert (200, said) == (answer.status_code, answer.text)


ENDLESS = {
    "a header": (b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"y" * 1_000),
    "headers": (b"GET / HTTP/1.1\r\nhost: a\r\n", b"x: y\r\n" * 200),
    "a path": (b"GET /", b"y" * 1_000),
    "line breaks": (b"", b"\r\n" * 500),
    "a chunk's extension": (CHUNKED + b"5;", b"a" * 1_000),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"x: y\r\n" * 200),
    "headers of a second request": (b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n", b"x: y\r\n" * 200),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
async def test_what_comes_to_nothing(begin, more):
    """A head, or what is neither head nor body, that goes on and on ends the connection, with a 400 if nothing else."""
    async with serving(app, http=HttpProtocol) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(begin)
        sent = 0
        answered = asyncio.create_task(reader.read())
        while not answered.done() and sent < 100 * MAX_UNFINISHED_BYTES:
            writer.write(more)
            sent += len(more)
            await asyncio.sleep(0)
        writer.transport.abort()
        result = (await asyncio.gather(answered, return_exceptions=True))[0]

    assert sent < 20 * MAX_UNFINISHED_BYTES
    assert isinstance(result, ConnectionResetError) or b"HTTP/1.1 400 " in result


# -- what goes out ----------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


class Sent:
    """A transport that keeps what is written to it, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.mark.parametrize(
    ("bodies", "pieces"),
    [
        ([b"hello"], [HEAD + b"hello"]),
        ([b"hello", b"again"], [HEAD + b"hello", b"again"]),
        ([b"x" * MAX_JOINED_BYTES], [HEAD + b"x" * MAX_JOINED_BYTES]),
        ([b"x" * (MAX_JOINED_BYTES + 1)], [HEAD, b"x" * (MAX_JOINED_BYTES + 1)]),
        ([b""], [HEAD]),
        ([HEAD], [HEAD + HEAD]),
        ([memoryview(b"hello"), memoryview(b"again")], [HEAD + b"hello", b"again"]),
    ],
    ids=["small", "two pieces", "just small", "large", "none", "a body like a head", "views"],
)
async def test_a_head_and_its_body(bodies, pieces):
    """A small body goes out with its head, in one piece; nothing is sent twice or in another order."""
    transport = Sent()
    holder = HeadHolder(transport)

    for piece in (HEAD, *bodies):
        holder.write(piece)
    await asyncio.sleep(0)

    assert pieces == [piece for piece in transport.pieces if piece]


async def test_a_head_alone():
    """A stream that is silent behind its head has its head sent in the next turn of the loop."""
    transport = Sent()
    HeadHolder(transport).write(HEAD)
    assert [] == transport.pieces
    await asyncio.sleep(0)
    assert [HEAD] == transport.pieces


async def test_a_head_and_the_end():
    """What was written is sent before the connection is closed."""
    transport = Sent()
    holder = HeadHolder(transport)
    holder.write(HEAD)
    holder.close()
    await asyncio.sleep(0)
    assert ([HEAD], True) == (transport.pieces, holder.is_closing())


async def test_a_caller_who_goes_between_head_and_body():
    """Nothing is written to a connection that has been lost."""
    transport = Sent()
    HeadHolder(transport).write(HEAD)
    transport.close()
    await asyncio.sleep(0)
    assert [] == transport.pieces
