"""The port over HTTP/1.1, on asyncio's transports: no redirects, no cookies, no proxies, nothing sent twice.

Why not a client library (figures: docs/performance.md): httpx's pool looks at every connection for every request, which
at 64 calls in flight costs more than ten times what all the rest of the gateway does; aiohttp takes a fifth of a second
of CPU at every cold start. What a gateway needs of HTTP/1.1 is little, and its heart, llhttp, is here already for
uvicorn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.http.pool import Pool
from adapters.http.writing import written
from core.azure_openai.connection import IDLE_CONNECTION_SECONDS

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from adapters.http.wire import HttpConnection
    from adapters.http.writing import Origin
    from core.azure_openai.connection import HttpRequest, HttpResponse, Limit, Sending


class Http1Connection:
    """A Connection over HTTP/1.1, within one event loop."""

    def __init__(
        self,
        *,
        connect_seconds: float,
        idle_seconds: float = IDLE_CONNECTION_SECONDS,
        most_connections: int = 256,
    ) -> None:
        """`most_connections` bounds the calls in flight to all targets together."""
        self._pool = Pool(connect_seconds=connect_seconds, idle_seconds=idle_seconds, most=most_connections)

    def send(
        self, request: HttpRequest, limit: Limit | None = None, sending: Sending | None = None
    ) -> AbstractAsyncContextManager[HttpResponse]:
        """Send a request (see Connection.send)."""
        return _Exchange(self._pool, request, limit, sending)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Exchange:
    """One request and its answer, on a wire that is given back however they end."""

    __slots__ = ("_limit", "_pool", "_request", "_sending", "_taken")

    def __init__(self, pool: Pool, request: HttpRequest, limit: Limit | None, sending: Sending | None) -> None:
        self._pool = pool
        self._request = request
        self._limit = limit
        self._sending = sending
        self._taken: tuple[Origin, HttpConnection] | None = None

    async def __aenter__(self) -> HttpResponse:
        origin, text = written(self._request)
        wire = await self._pool.lease(origin, self._limit)
        self._taken = origin, wire
        try:
            # Nothing is waited for between the lease and this: what was open is written to.
            if self._sending is not None:
                self._sending()
            answer = wire.ask(text, for_body=self._request.method != "HEAD")
            await answer.head(self._limit)
        except BaseException:
            self._give_back()
            raise
        return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _give_back(self) -> None:
        if self._taken is not None:
            self._pool.give_back(*self._taken)
            self._taken = None
