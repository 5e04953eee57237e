"""What comes straight to the port of either host, without a proxy before it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_TAKEN = 64 << 20
"""More than the sockets between hold."""


@pytest.fixture(params=["worker", "localhost"])
def port(request: pytest.FixtureRequest) -> int:
    """Where uvicorn itself listens, in each host in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    if request.param == "worker":
        url = httpx2.get(f"{url}/_host/uri", trust_env=False).json()
    return urlsplit(url).port or 0


async def sent_until_closed(port: int, begin: bytes, more: Callable[[int], bytes]) -> int:
    """Send until the other side ends the connection; how many bytes that took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    closed = asyncio.create_task(reader.read())
    writer.write(begin)
    sent = 0
    while not closed.done() and sent < MOST_TAKEN:
        piece = more(sent)
        writer.write(piece)
        sent += len(piece)
        with suppress(OSError):
            await writer.drain()
        await asyncio.wait({closed}, timeout=0)
    writer.transport.abort()
    await asyncio.gather(closed, return_exceptions=True)
    return sent


async def test_a_head_without_end(port: int) -> None:
    """A head that does not end is not kept: its connection is closed."""
    head = b"GET /api/hello HTTP/1.1\r\nhost: a\r\n"

    assert await sent_until_closed(port, head, lambda sent: b"x-%d: y\r\n" % sent * 100) < MOST_TAKEN
