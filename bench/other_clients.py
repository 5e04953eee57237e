"""HTTP clients of the registries behind the gateway's own port, for the comparison only.

`python -m bench.other_clients NAME PORT` serves the gateway as `make serve` does, but over one of them.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from core.azure_openai.connection import IDLE_CONNECTION_SECONDS, Lost, NotSent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from core.azure_openai.connection import Connection, HttpRequest, Limit, Sending

MOST_CONNECTIONS: Final = 256
"""As the gateway's own has."""


class HttpxConnection:
    """The port over httpx, with whatever transport is behind its API."""

    def __init__(self, client: Any) -> None:
        """`client` is an httpx.AsyncClient."""
        self._client = client

    @asynccontextmanager
    async def send(
        self, request: HttpRequest, limit: Limit | None = None, sending: Sending | None = None
    ) -> AsyncIterator[HttpxResponse]:
        """Send a request (see Connection.send)."""
        import httpx  # noqa: PLC0415 -- its cost is what is measured

        made = self._client.build_request(
            request.method, request.url, headers=dict(request.headers), content=request.body
        )
        if sending is not None:
            sending()
        try:
            async with asyncio.timeout(None if limit is None else limit()):
                response = await self._client.send(made, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            raise NotSent(type(error).__name__) from None
        except httpx.TransportError as error:
            raise Lost(type(error).__name__) from None
        try:
            yield HttpxResponse(response)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


class HttpxResponse:
    """An answer of httpx's (see HttpResponse)."""

    is_whole = False
    """httpx does not say."""

    def __init__(self, response: Any) -> None:
        self._response = response

    @property
    def status(self) -> int:
        """The status."""
        status: int = self._response.status_code
        return status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        headers: Mapping[str, str] = self._response.headers
        return headers

    async def pieces(self, limit: Limit | None = None) -> AsyncGenerator[bytes]:
        """The body as it comes."""
        import httpx  # noqa: PLC0415 -- as above

        pieces = self._response.aiter_raw()
        while True:
            try:
                async with asyncio.timeout(None if limit is None else limit()):
                    piece = await anext(pieces, None)
            except httpx.TransportError as error:
                raise Lost(type(error).__name__) from None
            if piece is None:
                return
            yield piece


def _ours(connect_seconds: float) -> Connection:
    from adapters.http.http1 import Http1Connection  # noqa: PLC0415 -- as above

    return Http1Connection(connect_seconds=connect_seconds)


def _httpx(connect_seconds: float, **limits: int) -> Connection:
    import httpx  # noqa: PLC0415 -- as above

    return HttpxConnection(
        httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=connect_seconds, pool=connect_seconds),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=IDLE_CONNECTION_SECONDS, **limits),
            trust_env=False,
        )
    )


def _httpx_keeping_all(connect_seconds: float) -> Connection:
    return _httpx(connect_seconds, max_keepalive_connections=MOST_CONNECTIONS)


def _httpx_keeping_few(connect_seconds: float) -> Connection:
    return _httpx(connect_seconds, max_keepalive_connections=20)


def _httpx_over_aiohttp(connect_seconds: float) -> Connection:
    import httpx  # noqa: PLC0415 -- as above
    from httpx_aiohttp import HttpxAiohttpClient  # type: ignore[import-not-found]  # noqa: PLC0415 -- as above

    return HttpxConnection(
        HttpxAiohttpClient(
            timeout=httpx.Timeout(None, connect=connect_seconds, pool=connect_seconds),
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=IDLE_CONNECTION_SECONDS),
            trust_env=False,
        )
    )


CLIENTS: Final[Mapping[str, tuple[str, Callable[[float], Connection]]]] = {
    "ours": ("ours", _ours),
    "httpx": ("httpx, keeps 20 (its default)", _httpx_keeping_few),
    "httpx-all": (f"httpx, keeps {MOST_CONNECTIONS}", _httpx_keeping_all),
    "httpx-aiohttp": ("httpx over aiohttp", _httpx_over_aiohttp),
}
"""By name: the title, and what makes a connection from the seconds that it may take to connect."""


class Late:
    """A connection that is made with the first request, in the loop that will use it."""

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._make = make
        self._made: Connection | None = None

    def send(self, request: HttpRequest, limit: Limit | None = None, sending: Sending | None = None) -> Any:
        """Send a request (see Connection.send)."""
        self._made = self._made or self._make()
        return self._made.send(request, limit, sending)


def main() -> None:
    """Serve."""
    from adapters import bootstrap  # noqa: PLC0415 -- as above
    from localhost.__main__ import serve  # noqa: PLC0415 -- as above

    name, port = sys.argv[1:]
    _, make = CLIENTS[name]

    def connection(*, connect_seconds: float) -> Late:
        return Late(lambda: make(connect_seconds))

    bootstrap.Http1Connection = connection  # type: ignore[assignment, misc]  # function_app gives nothing else a choice
    serve("127.0.0.1", int(port))


if __name__ == "__main__":
    main()
