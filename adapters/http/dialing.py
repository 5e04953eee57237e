"""Connecting to a host by the first of its addresses that answers ("Happy Eyeballs", RFC 8305).

asyncio has such a race (`happy_eyeballs_delay`), but left at a certain moment it leaves a connected socket behind, and
uvloop has none.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from functools import partial
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

from core.domain.loopback import is_address

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from adapters.http.wire import HttpConnection
    from adapters.http.writing import Origin

    Attempt = Callable[[], Coroutine[Any, Any, HttpConnection]]

NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long an address is waited for before the next one is tried beside it (RFC 8305 §5)."""


async def dial(origin: Origin, tls: ssl.SSLContext | None, new_wire: Callable[[], HttpConnection]) -> HttpConnection:
    """Connect to an origin, handshake included. Raises OSError (TLS's errors are some), or UnicodeError for no name."""
    addresses = await _addresses(origin)
    attempts = [partial(_connected, origin, address, tls, new_wire) for address in addresses]
    return await attempts[0]() if len(attempts) == 1 else await first_connected(attempts)


async def first_connected(attempts: Iterable[Attempt], seconds: float = NEXT_ADDRESS_SECONDS) -> HttpConnection:
    """Begin one attempt after the other, each when the one before has failed or taken so long; give the first wire.

    The other attempts are ended, and so are all of them where the caller leaves. Raises the first failure if all fail.
    """
    waiting = deque(attempts)
    begun: list[asyncio.Task[HttpConnection]] = []
    open_now: set[asyncio.Task[HttpConnection]] = set()
    winner: asyncio.Task[HttpConnection] | None = None
    try:
        while winner is None and (waiting or open_now):
            if waiting:
                begun.append(asyncio.ensure_future(waiting.popleft()()))
                open_now.add(begun[-1])
            ended, open_now = await asyncio.wait(
                open_now, timeout=seconds if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((task for task in ended if task.exception() is None), None)
    finally:
        for task in begun:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_drop)
    return (winner or begun[0]).result()


def _drop(task: asyncio.Task[HttpConnection]) -> None:
    """Close what an attempt came to that nobody waits for any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


async def _connected(
    origin: Origin, address: str, tls: ssl.SSLContext | None, new_wire: Callable[[], HttpConnection]
) -> HttpConnection:
    wire = new_wire()
    name = origin.host if tls else None
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: wire, address, origin.port, ssl=tls, server_hostname=name
        )
    except BaseException:
        wire.abort()  # its handshake may have ended in this very moment
        raise
    return wire


async def _addresses(origin: Origin) -> list[str]:
    if is_address(origin.host):
        return [origin.host]
    found = await asyncio.get_running_loop().getaddrinfo(
        origin.host, origin.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return in_turn((family, str(address[0])) for family, _, _, _, address in found)


def in_turn(found: Iterable[tuple[int, str]]) -> list[str]:
    """Put a host's addresses, given with their families, in the order of trying (RFC 8305 §4).

    That is the system's order, but with the families in turn: if one of them leads nowhere, all its addresses do.
    """
    families: dict[int, list[str]] = {}
    for family, address in found:
        families.setdefault(family, []).append(address)
    mixed = chain.from_iterable(zip_longest(*families.values()))
    return list(dict.fromkeys(address for address in mixed if address is not None))
