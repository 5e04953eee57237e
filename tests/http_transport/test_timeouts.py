"""How long each part of a request may take, as httpx has it: for a turn, to connect, for each write, for each read."""

from __future__ import annotations

import asyncio
from functools import partial

import httpx2
import pytest

from adapters.http.exchange import Exchange
from tests.http_transport.asking import SOON, Told, ask, request
from tests.http_transport.peer import ok, speaking
from tests.http_transport.test_answers import CHUNKED, refusing

BEGINS = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegins"


async def test_a_handshake_that_does_not_come(narrow):
    """A connection that is not there in time, TLS included, means that the request was surely not sent."""
    told = Told()
    async with speaking(ok()) as peer:
        with pytest.raises(httpx2.ConnectTimeout):
            await ask(narrow, peer.url.replace("http://", "https://"), trace=told, connect=SOON)
        await peer.until(lambda peer: peer.count and not peer.open)
        assert [] == peer.requests
        assert not told.is_sent

        assert (200, b"ok") == await ask(narrow, peer.url)


@pytest.mark.parametrize(
    "said", [(), (BEGINS[:20],), (BEGINS,)], ids=["before the answer", "in the head", "in the body"]
)
async def test_silence(narrow, said):
    """A server that falls silent is given up, its connection is closed, and the pool still works."""
    async with speaking((*said, asyncio.Event()), ok()) as peer:
        with pytest.raises(httpx2.ReadTimeout):
            await ask(narrow, peer.url, read=0.01)
        await peer.until(lambda peer: not peer.open)

        assert (200, b"ok") == await ask(narrow, peer.url)


async def test_a_server_that_speaks_slowly(transport):
    """The time for reading is for each piece, not for all of them."""
    ticks = [asyncio.Event() for _ in range(4)]
    pieces = [piece for tick in ticks for piece in (tick, b"1\r\nx\r\n")]
    async with speaking((CHUNKED, *pieces, b"0\r\n\r\n")) as peer:
        loop = asyncio.get_running_loop()
        for number, tick in enumerate(ticks):
            loop.call_later(0.4 * SOON * (number + 1), tick.set)

        assert (200, b"xxxx") == await ask(transport, peer.url, read=SOON)


@pytest.mark.parametrize("content", ["whole", "piece by piece"])
async def test_a_server_that_does_not_read(narrow, content):
    """A server that takes no more of the request is given up."""

    async def endless():
        while True:
            yield bytes(1 << 20)

    body = bytes(30_000_000) if content == "whole" else endless()
    async with refusing(b"") as url:
        with pytest.raises(httpx2.WriteTimeout):
            await ask(narrow, url, content=body, write=0.05, read=60.0)


async def test_no_time_at_all(transport):
    """Without timeouts nothing is given up."""
    async with speaking(ok()) as peer:
        assert (200, b"ok") == await ask(transport, httpx2.Request("GET", peer.url))


async def _after(turns, then) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    then()


class Line(asyncio.Transport):
    """A transport that leads nowhere."""


@pytest.mark.parametrize("of", ["head", "body"])
async def test_what_has_come_as_the_time_ends(of):
    """What comes in the same turn of the loop in which the time ends is taken: it may be a picture, and paid for."""
    seen = set()
    for turns in range(6):
        exchange = Exchange(Line(), "POST", 0.0)
        if of == "body":
            exchange.feed(memoryview(ok()[:-2]))
        text = ok() if of == "head" else b"ok"
        rest = asyncio.ensure_future(_after(turns, partial(exchange.feed, memoryview(text))))
        try:
            await (exchange.head() if of == "head" else anext(exchange))
            seen.add("taken")
            assert exchange.is_whole
        except httpx2.ReadTimeout:
            seen.add("too late")
            assert not exchange.is_whole
        await rest

    assert {"taken", "too late"} == seen


async def test_a_wait_that_is_cancelled(transport):
    """A limit that somebody else sets ends a wait as well."""
    async with speaking(asyncio.Event()) as peer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await transport.handle_async_request(request(peer.url))
        await peer.until(lambda peer: not peer.open)
