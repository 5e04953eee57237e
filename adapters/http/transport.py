"""An httpx2 transport over asyncio and llhttp: no redirects, no cookies, no proxies, nothing sent twice.

Why not httpx2's own (figures: docs/performance.md): its pool and parser are written in Python, and at 64 calls in
flight they cost more than all the rest of the gateway. It can be chosen all the same (GATEWAY_HTTP_TRANSPORT).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import httpx2

from adapters.http.connection_pool import ConnectionPool
from adapters.http.request_head import body_bytes, origin_of, serialize_head

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from adapters.http.exchange import Exchange
    from adapters.http.protocol import Http1Protocol

SENDING: Final = "http11.send_request_headers.started"
"""The event of the `trace` extension after which a request may arrive; before it, surely nothing was sent."""


class Http1Transport(httpx2.AsyncBaseTransport):
    """Sends requests over HTTP/1.1, within one event loop.

    It knows the extensions `timeout` and `trace`, of the latter the events `connection.connect_tcp.started` and
    `http11.send_request_headers.started`.
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext], limits: httpx2.Limits) -> None:
        """`tls` gives the context with the first connection over TLS: making one costs 20 ms of CPU."""
        if limits.max_connections is None or limits.keepalive_expiry is None:
            raise ValueError("a pool has bounds")
        self._pool = ConnectionPool(tls, limits.max_connections, limits.keepalive_expiry)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and wait for the answer's head. Whoever gets the response closes it.

        Raises UnsupportedProtocol, LocalProtocolError, PoolTimeout, ConnectError and ConnectTimeout where nothing was
        sent; ReadError, ReadTimeout, WriteTimeout and RemoteProtocolError where it may have been; and what the trace
        or the body raises.
        """
        timeouts = request.extensions.get("timeout") or {}
        trace = request.extensions.get("trace")
        origin = origin_of(request.url)
        head = serialize_head(request)
        connection = await self._pool.acquire(origin, timeouts, trace)
        release = partial(self._pool.release, origin, connection)
        try:
            if trace is not None:
                await trace(SENDING, {"request": request})
            exchange = connection.start(request.method, timeouts.get("read"))
            await _send(request, head, connection, exchange)
            await exchange.head()
        except BaseException:
            release()
            raise
        exchange.on_close = release
        return httpx2.Response(exchange.status, headers=exchange.headers, stream=exchange)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


async def _send(request: httpx2.Request, head: bytes, connection: Http1Protocol, exchange: Exchange) -> None:
    """Send a request; what is left of it when the answer begins is not sent."""
    seconds = (request.extensions.get("timeout") or {}).get("write")
    if isinstance(request.stream, httpx2.ByteStream):
        connection.write(head, request.content)
        await exchange.drain(seconds)
        return
    if not isinstance(request.stream, httpx2.AsyncByteStream):
        raise TypeError("the request's body cannot be read asynchronously")
    connection.write(head)
    length, sent = body_bytes(request), 0
    async for chunk in request.stream:
        sent += len(chunk)
        if length is not None and sent > length:
            break
        if chunk:
            connection.write(*(chunk,) if length is not None else (b"%x\r\n" % len(chunk), chunk, b"\r\n"))
            await exchange.drain(seconds)
        if exchange.has_begun:
            exchange.persists = False
            return
    if length is None:
        connection.write(b"0\r\n\r\n")
    elif sent != length:
        raise httpx2.LocalProtocolError("the body is not as long as its Content-Length says")
