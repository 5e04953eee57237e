"""Asking over a transport: a request, its answer whole, and what is told of it on the way."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
import pytest

from tests.waiting import HANGS_SECONDS

SENDING = "http11.send_request_headers.started"
SOON = 0.2
"""Seconds after which is given up what does not come. What must happen before takes a thousandth of that."""
WRITTEN = httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL
LOST = httpx2.ReadError, httpx2.RemoteProtocolError
"""No answer, or not all of it."""


def only_built_in(why: str, *, run: bool = True) -> pytest.MarkDecorator:
    """Ask of the gateway's own transport what httpx2's does not keep to, and hold fast that it does not.

    It is not tried (`run`) where it would hang, or where it keeps to it by chance.
    """
    stock = pytest.param("httpx2", marks=pytest.mark.xfail(reason=why, run=run))
    return pytest.mark.parametrize("kind", ["built-in", stock])


leaving_sockets = pytest.mark.parametrize(
    "kind",
    ["built-in", pytest.param("httpx2", marks=pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))],
)
"""For what httpx2's transport does, too, but for a socket that it may leave to the garbage collector."""


class Told:
    """What a transport tells of one request."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        self.events.append(name)

    @property
    def is_sent(self) -> bool:
        """Whether the request may have arrived."""
        return SENDING in self.events


def request(
    url: str, content: Any = b"a red fox", *, method: str = "POST", trace: Any = None, **timeouts: float
) -> httpx2.Request:
    """A request; timeouts are httpx's, and none where none is given."""
    extensions: dict[str, Any] = {"timeout": timeouts}
    if trace is not None:
        # httpx2's own calls a coroutine function, and nothing else that can be awaited.
        async def told(name: str, info: dict[str, Any]) -> None:
            await trace(name, info)

        extensions["trace"] = told
    return httpx2.Request(method, url, content=content, extensions=extensions)


async def ask(transport: httpx2.AsyncBaseTransport, url: str | httpx2.Request, **more: Any) -> tuple[int, bytes]:
    """Send a request and read its answer whole."""
    asked = url if isinstance(url, httpx2.Request) else request(url, **more)
    async with asyncio.timeout(HANGS_SECONDS):
        response = await transport.handle_async_request(asked)
        return response.status_code, await response.aread()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
