"""The gateway's connection and httpx's, behind the same port: they are compared only as far as both keep it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from bench.other_clients import CLIENTS
from core.azure_openai.connection import HttpRequest, Lost, NotSent
from emulator.loopback import serving
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.azure_openai.connection import Connection


async def app(scope, receive, send) -> None:
    """Answer in three pieces; break off, or wait for ever, after the first where the path says so."""
    await send({"type": "http.response.start", "status": 201, "headers": [(b"X-Said", scope["method"].encode())]})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    if scope["path"] == "/broken":
        raise ConnectionError
    if scope["path"] == "/silent":
        while (await receive())["type"] != "http.disconnect":
            pass
    await send({"type": "http.response.body", "body": b"two", "more_body": True})
    await send({"type": "http.response.body", "body": b"three", "more_body": False})


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Where it answers."""
    async with serving(app) as url:
        yield url


@pytest.fixture(params=["ours", "httpx", "httpx-all"])
async def connection(request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """One of the clients that are installed where the tests are."""
    connection: Any = CLIENTS[request.param][1](5.0)
    yield connection
    await connection.aclose()


async def answered(connection: Connection, url: str, seconds: float = 5.0) -> tuple[int, str, bytes]:
    """Status, a header and the whole body; each piece may take so long."""
    async with (
        connection.send(HttpRequest(url=url, headers={}, body=b"{}")) as response,
        aclosing(response.pieces(lambda: seconds)) as pieces,
    ):
        return response.status, response.headers["x-said"], b"".join([piece async for piece in pieces])


async def test_an_answer(connection: Connection, url: str) -> None:
    """Status, headers and body come through."""
    for _ in range(3):
        assert (201, "POST", b"onetwothree") == await answered(connection, f"{url}/")


async def test_nobody_there(connection: Connection) -> None:
    """Where nobody listens nothing was sent."""
    with pytest.raises(NotSent):
        await answered(connection, "http://127.0.0.1:1/")


async def test_an_answer_that_is_cut_short(connection: Connection, url: str) -> None:
    """It is lost, and not a short one."""
    with pytest.raises(Lost):
        await answered(connection, f"{url}/broken")


async def test_an_answer_that_falls_silent(connection: Connection, url: str) -> None:
    """It is waited for as long as was said."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(HANGS_SECONDS):
            await answered(connection, f"{url}/silent", seconds=0.05)
