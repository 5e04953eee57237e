"""The one method through which the gateway reaches Azure OpenAI, and its adapter for httpx.

Anything that can send a request and tell *surely not sent* from *perhaps sent* can stand behind `Connection`.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    import httpx

IDLE_CONNECTION_SECONDS: Final = 30.0
"""How long an unused connection is kept. Shorter than Azure's own limit (4 minutes), so that it is rarely the other
side that ends one just as it is used again: such an end cannot be told from a lost picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request to a host of the operator's choosing."""

    method: str = "POST"
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class HttpResponse(Protocol):
    """An answer whose body has not been read."""

    @property
    def status(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, looked up without regard to case."""
        ...

    def pieces(self) -> AsyncGenerator[bytes]:
        """The body as it comes, decompressed. Raises Lost where it is cut short."""
        ...


class Connection(Protocol):
    """Sends requests."""

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Send a request and wait for the answer's head; leaving the context frees the connection.

        Raises NotSent or Lost. Redirects are not followed: they would choose a host.
        """
        ...


class NotSent(Exception):
    """The request surely did not reach anybody: no name, no route, no handshake, no free connection."""


class Lost(Exception):
    """The request may have arrived, and its answer did not, or not whole."""


class HttpxConnection:
    """The port over httpx, which is made for this and already depended on by every OpenAI SDK.

    Built on first use: a client and its TLS context cost 30 ms of CPU.
    """

    def __init__(self, *, connect_seconds: float, most_connections: int = 256) -> None:
        """`most_connections` bounds the calls in flight to all targets together."""
        self._connect_seconds = connect_seconds
        self._most_connections = most_connections
        self._client: httpx.AsyncClient | None = None

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            from http.cookiejar import DefaultCookiePolicy  # noqa: PLC0415 -- imported with httpx

            import httpx  # noqa: PLC0415 -- 130 ms that indexing need not wait for

            # httpx writes a line with the backend's host for every request.
            logging.getLogger("httpx").setLevel(logging.WARNING)
            self._client = httpx.AsyncClient(
                # Time is bounded by whoever sends; only connecting has a limit of its own.
                timeout=httpx.Timeout(None, connect=self._connect_seconds, pool=self._connect_seconds),
                limits=httpx.Limits(
                    max_connections=self._most_connections,
                    max_keepalive_connections=self._most_connections,
                    keepalive_expiry=IDLE_CONNECTION_SECONDS,
                ),
                follow_redirects=False,
                # The environment's proxies and .netrc would decide where keys are sent.
                trust_env=False,
            )
            # A cookie of one answer must not tie it to the next request.
            self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return self._client

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """Send a request (see Connection.send)."""
        client = self._opened()
        import httpx  # noqa: PLC0415 -- imported by now

        try:
            built = client.build_request(
                request.method, request.url, headers=dict(request.headers), content=request.body
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise NotSent(type(error).__name__) from None
        try:
            response = await _Sending(client, built).response()
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
            httpx.LocalProtocolError,
            httpx.ProxyError,
        ) as error:
            raise NotSent(type(error).__name__) from None
        except httpx.HTTPError as error:
            raise Lost(type(error).__name__) from None
        try:
            yield _HttpxResponse(response)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.aclose()


class _Sending:
    """Sends one request so that leaving at any moment frees its place in the pool.

    httpcore 1.0 loses a connection for ever whose request is cancelled at the wrong moment: once the pool has given it
    out and before it is being opened, and again between opened and first used. So a request is cancelled from outside
    only within a step on the connection, as its trace tells; else it goes on by itself to the next step, a few turns of
    the event loop later, and ends there.
    """

    def __init__(self, client: httpx.AsyncClient, request: httpx.Request) -> None:
        request.extensions = {**request.extensions, "trace": self._note}
        self._within_a_step = False
        self._left = False
        self._task = asyncio.ensure_future(client.send(request, stream=True))

    async def response(self) -> httpx.Response:
        """Wait for the head of the answer."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.add_done_callback(_forget)
            if self._within_a_step:
                self._task.cancel()
                await asyncio.wait({self._task})
            else:
                self._left = True
            raise

    async def _note(self, name: str, info: Mapping[str, object]) -> None:  # noqa: ARG002 -- httpcore's signature
        self._within_a_step = not (name.startswith("connection.") and name.endswith(".complete"))
        if self._left and self._within_a_step:
            self._left = False
            raise asyncio.CancelledError


_closing: Final[set[asyncio.Task[None]]] = set()


def _forget(sending: asyncio.Task[httpx.Response]) -> None:
    """Close the answer to a request whose sender has gone, if it came all the same."""
    if not sending.cancelled() and sending.exception() is None:
        closing = asyncio.ensure_future(sending.result().aclose())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)


@dataclass(frozen=True, slots=True)
class _HttpxResponse:
    _response: httpx.Response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def pieces(self) -> AsyncGenerator[bytes]:
        import httpx  # noqa: PLC0415 -- imported by now

        try:
            async for piece in self._response.aiter_bytes():
                yield piece
        except httpx.HTTPError as error:
            raise Lost(type(error).__name__) from None
