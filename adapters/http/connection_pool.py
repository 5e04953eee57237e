"""The connections of one transport: at most so many at once, and what an exchange leaves open is used again.

Whatever fails here happens before a byte of the request is written.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Final

import httpx2

from adapters.http.protocol import READ_BYTES, Http1Protocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from adapters.http.request_head import Origin

    Trace = Callable[[str, dict[str, Any]], Awaitable[None]]
    """httpx2's `trace` extension: takes an event's name and what there is to say of it."""

CONNECTING: Final = "connection.connect_tcp.started"
"""The event before a new connection is made."""
REST_SECONDS: Final = 0.0005
"""How long a connection is listened to after an answer before it is used again. What a faulty server sends unasked
behind an answer would else be the answer to the next request, and perhaps to somebody else's."""
NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long an address is waited for before the next one is tried beside it (RFC 8305 §5)."""


class ConnectionPool:
    """Gives out connections, one exchange on each, and takes them back."""

    def __init__(self, tls: Callable[[], ssl.SSLContext], max_connections: int, keepalive_seconds: float) -> None:
        """`max_connections` bounds the exchanges at once, and the connections that are kept together with them.

        A connection that nobody has used for `keepalive_seconds` is closed.
        """
        self._tls = tls
        self._max = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._free = asyncio.Semaphore(max_connections)
        self._open: set[Http1Protocol] = set()
        self._dials: set[asyncio.Future[None]] = set()
        self._idle: dict[Http1Protocol, tuple[Origin, asyncio.TimerHandle]] = {}
        """Unused connections, the last used last, and what closes each when it is too old."""
        self._is_closed = False

    async def acquire(self, origin: Origin, timeouts: Mapping[str, float | None], trace: Trace | None) -> Http1Protocol:
        """Give an open connection that nobody else has, to be released in any case.

        Raises PoolTimeout, ConnectError, ConnectTimeout, and what the trace raises.
        """
        if not self._free.locked():
            await self._free.acquire()  # at once
        else:
            try:
                async with asyncio.timeout(timeouts.get("pool")):
                    await self._free.acquire()
            except TimeoutError:
                raise httpx2.PoolTimeout("all connections are in use") from None
        try:
            if kept := await self._kept(origin):
                return kept
            if trace is not None:
                await trace(CONNECTING, {"host": origin.host, "port": origin.port})
            return await self._connect(origin, timeouts.get("connect"))
        except BaseException:
            self._free.release()
            raise

    def release(self, origin: Origin, connection: Http1Protocol) -> None:
        """Take back what `acquire` gave, whatever has become of it."""
        self._free.release()
        if connection.finish():
            expires_at = connection.last_used + self._keepalive_seconds
            timer = asyncio.get_running_loop().call_at(expires_at, connection.abort)
            self._idle[connection] = origin, timer

    async def aclose(self) -> None:
        """Close every connection: exchanges on them fail, and later requests are not sent."""
        self._is_closed = True
        for connection in self._open:
            connection.abort()
        await asyncio.gather(*self._dials, return_exceptions=True)
        await asyncio.sleep(0)  # in the loop's next turn their sockets are closed

    async def _kept(self, origin: Origin) -> Http1Protocol | None:
        """Take the connection that was used last: the server is the least likely to close it in this very moment."""
        loop = asyncio.get_running_loop()
        while mine := [kept for kept, (whose, _) in reversed(self._idle.items()) if whose == origin]:
            rested = loop.time() - REST_SECONDS
            connection = next((each for each in mine if each.last_used <= rested), None)
            if connection is None:
                await asyncio.sleep(mine[-1].last_used - rested)
                continue
            self._forget(connection)
            if connection.is_open and not connection.is_readable():
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: Origin, seconds: float | None) -> Http1Protocol:
        if self._idle and len(self._open) + len(self._dials) >= self._max:
            oldest = next(iter(self._idle))
            self._forget(oldest)
            oldest.abort()
        connection = Http1Protocol(self._buffer, self._on_lost)
        # A task of its own: when it is cancelled, asyncio's race of addresses may drop a socket that is connected.
        dial = asyncio.ensure_future(self._dial(connection, origin, seconds))
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)
        try:
            await asyncio.shield(dial)
        except asyncio.CancelledError:
            connection.abort()  # once it is there
            raise
        if self._is_closed or not connection.is_open:
            connection.abort()
            raise httpx2.ConnectError("the connection was closed before it was used")
        self._open.add(connection)
        return connection

    async def _dial(self, connection: Http1Protocol, origin: Origin, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    origin.host,
                    origin.port,
                    ssl=self._tls() if origin.scheme == "https" else None,
                    happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                )
        except BaseException as error:
            connection.abort()  # its handshake may have ended in this very moment
            if isinstance(error, TimeoutError):
                raise httpx2.ConnectTimeout("the connection was not there in time") from None
            if isinstance(error, OSError | UnicodeError):  # what TLS has to say is an OSError, too
                raise httpx2.ConnectError(type(error).__name__) from None
            raise

    @cached_property
    def _buffer(self) -> memoryview:
        return memoryview(bytearray(READ_BYTES))

    def _on_lost(self, connection: Http1Protocol) -> None:
        """Note that a connection has ended, used or not."""
        self._open.discard(connection)
        self._forget(connection)

    def _forget(self, connection: Http1Protocol) -> None:
        if kept := self._idle.pop(connection, None):
            kept[1].cancel()
