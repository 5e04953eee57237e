"""What comes to nothing is bounded on the way in; what comes to something is not."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from bounded_head import MOST_BARREN_BYTES, BoundedHead
from emulator.loopback import serving

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
    async with serving(app, http=BoundedHead) as url, httpx.AsyncClient() as client:
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
    async with serving(app, http=BoundedHead) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(begin)
        sent = 0
        answered = asyncio.create_task(reader.read())
        while not answered.done() and sent < 100 * MOST_BARREN_BYTES:
            writer.write(more)
            sent += len(more)
            await asyncio.sleep(0)
        writer.transport.abort()
        result = (await asyncio.gather(answered, return_exceptions=True))[0]

    assert sent < 20 * MOST_BARREN_BYTES
    assert isinstance(result, ConnectionResetError) or b"HTTP/1.1 400 " in result
