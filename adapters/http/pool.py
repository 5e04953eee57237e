"""The connections to upstream: at most so many calls at once, and what they leave open is used again.

Whatever goes wrong here is NotSent: no byte of a request has been written yet.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from adapters.http.dialing import dial
from adapters.http.wire import READ_BYTES, HttpConnection
from core.azure_openai.connection import NoTime, NotSent, NoTurn

if TYPE_CHECKING:
    from adapters.http.writing import Origin
    from core.azure_openai.connection import Limit

ENOUGH_SECONDS: Final = 1.0
"""In so much time any host that is well can be connected to: where it cannot, that is not for want of time."""
LATE: Final = "its time was over before it was sent"


class Pool:
    """Gives out connections, one call on each, and takes them back."""

    def __init__(self, *, connect_seconds: float, idle_seconds: float, most: int) -> None:
        """`most` bounds the calls at once, and the connections that are kept together with them.

        A call waits at most `connect_seconds` for its turn, and then as long to be connected, and both together no
        longer than its own limit says. A connection that nobody has used for `idle_seconds` is not used again.
        """
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._most = most
        self._turns = asyncio.Semaphore(most)
        self._open: set[HttpConnection] = set()
        self._dialling = 0
        """How many are on their way to be open."""
        self._none_is_open = asyncio.Event()
        self._none_is_open.set()
        self._idle: dict[Origin, dict[HttpConnection, float]] = {}
        """For each origin its unused wires, the last used last, and since when they are unused."""
        self._tidying: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def lease(self, origin: Origin, limit: Limit | None = None) -> HttpConnection:
        """Give an open wire that nobody else has, to be given back in any case. Raises NotSent, NoTurn, NoTime."""
        await self._take_turn(limit)
        try:
            _check_time(limit)
            return self._kept(origin) or await self._connected(origin, limit)
        except BaseException:
            self._turns.release()
            raise

    def give_back(self, origin: Origin, wire: HttpConnection) -> None:
        """Take back what `lease` gave, whatever has become of it."""
        self._turns.release()
        if not wire.let_go():
            return
        loop = asyncio.get_running_loop()
        self._idle.setdefault(origin, {})[wire] = loop.time()
        if self._tidying is None:
            self._tidying = loop.call_later(self._idle_seconds, self._tidy)

    async def aclose(self) -> None:
        """Close every connection; calls on them are lost, and later ones not sent."""
        self._is_closed = True
        if self._tidying is not None:
            self._tidying.cancel()
        for wire in self._open:
            wire.abort()
        await self._none_is_open.wait()  # the next turns of the loop

    def _seconds(self, limit: Limit | None) -> float:
        """How long a step on the way to a connection may take."""
        return self._connect_seconds if limit is None else min(self._connect_seconds, limit())

    async def _take_turn(self, limit: Limit | None) -> None:
        if not self._turns.locked():
            await self._turns.acquire()  # at once
            return
        try:
            async with asyncio.timeout(self._seconds(limit)):
                await self._turns.acquire()
        except TimeoutError:
            raise NoTurn("all connections are in use") from None

    def _kept(self, origin: Origin) -> HttpConnection | None:
        """Take the wire that was used last: it is the least likely to be closed by upstream in this very moment."""
        wires = self._idle.get(origin)
        while wires:
            wire, since = wires.popitem()
            if not wires:
                del self._idle[origin]
            if wire.is_open and asyncio.get_running_loop().time() - since < self._idle_seconds:
                return wire
            wire.abort()
        return None

    async def _connected(self, origin: Origin, limit: Limit | None) -> HttpConnection:
        if len(self._open) + self._dialling >= self._most:
            self._close_the_oldest()
        self._dialling += 1
        seconds = self._seconds(limit)
        try:
            async with asyncio.timeout(seconds):
                tls = self._tls if origin.secure else None
                wire = await dial(origin, tls, partial(HttpConnection, self._buffer, partial(self._forget, origin)))
        except (OSError, UnicodeError) as error:  # time-outs and what TLS has to say are OSErrors
            if isinstance(error, TimeoutError) and seconds < min(ENOUGH_SECONDS, self._connect_seconds):
                raise NoTime(LATE) from None
            raise NotSent(type(error).__name__) from None
        finally:
            self._dialling -= 1
        if self._is_closed or not wire.is_open:
            wire.abort()
            raise NotSent("the connection was closed before it was used")
        if _is_over(limit):
            wire.abort()
            raise NoTime(LATE)
        self._open.add(wire)
        self._none_is_open.clear()
        return wire

    @cached_property
    def _buffer(self) -> memoryview:
        return memoryview(bytearray(READ_BYTES))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Whom to trust: certifi's list, or OpenSSL's own variables where they are set. Some 20 ms of CPU, once."""
        if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
            context = ssl.create_default_context()
        else:
            import certifi  # noqa: PLC0415 -- only where TLS is spoken

            context = ssl.create_default_context(cafile=certifi.where())
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _forget(self, origin: Origin, wire: HttpConnection) -> None:
        """Note that a connection has ended, used or not."""
        self._open.discard(wire)
        if not self._open:
            self._none_is_open.set()
        self._no_longer_idle(origin, wire)

    def _no_longer_idle(self, origin: Origin, wire: HttpConnection) -> None:
        wires = self._idle.get(origin, {})
        wires.pop(wire, None)
        if not wires:
            self._idle.pop(origin, None)

    def _close_the_oldest(self) -> None:
        """Make room: close the wire that has been idle longest, if any is."""
        if self._idle:
            origin, wires = min(self._idle.items(), key=lambda idle: next(iter(idle[1].values())))
            wire = next(iter(wires))
            wire.abort()
            self._no_longer_idle(origin, wire)

    def _tidy(self) -> None:
        """Close what has been idle for too long. Nobody waits for it, and nothing runs where nothing is idle."""
        self._tidying = None
        loop = asyncio.get_running_loop()
        idle_since = loop.time() - self._idle_seconds
        for wires in self._idle.values():
            for wire, since in wires.items():
                if since <= idle_since:
                    wire.abort()
        if self._idle:
            self._tidying = loop.call_later(self._idle_seconds, self._tidy)


def _is_over(limit: Limit | None) -> bool:
    return limit is not None and limit() <= 0


def _check_time(limit: Limit | None) -> None:
    if _is_over(limit):
        raise NoTime(LATE)
