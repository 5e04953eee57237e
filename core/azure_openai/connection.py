"""The one method through which the gateway reaches Azure OpenAI.

Anything that can send a request and tell *surely not sent* from *perhaps sent* can stand behind `Connection`; what does
is in `http1.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    Limit = Callable[[], float]
    """Tells how many seconds may be waited from now on."""
    Sending = Callable[[], None]

IDLE_CONNECTION_SECONDS: Final = 30.0
"""How long an unused connection is kept. Shorter than Azure's own limit (4 minutes), so that it is rarely the other
side that ends one just as it is used again: such an end cannot be told from a lost picture."""


class HttpRequest(Struct, frozen=True, kw_only=True):
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

    @property
    def is_whole(self) -> bool:
        """Whether all of it has surely come, read or not: nothing need be waited for to use the connection again."""
        ...

    def pieces(self, limit: Limit | None = None) -> AsyncGenerator[bytes]:
        """The body as it comes, decompressed; each piece is waited for as long as `limit` then says.

        Raises Lost where the body is cut short, TimeoutError where a piece does not come in time.
        """
        ...


class Connection(Protocol):
    """Sends requests."""

    def send(
        self, request: HttpRequest, limit: Limit | None = None, sending: Sending | None = None
    ) -> AbstractAsyncContextManager[HttpResponse]:
        """Send a request and wait for the answer's head, as long as `limit` then says; leaving frees the connection.

        `sending` is called when there is a connection, before the first byte goes out: from then on the request may
        arrive. Raises NotSent (NoTurn, NoTime), Lost, and TimeoutError where the head does not come in time. Redirects
        are not followed: they would choose a host.
        """
        ...


class NotSent(Exception):
    """The request surely did not reach anybody: no name, no route, no handshake."""


class NoTurn(NotSent):
    """It was not sent as all connections are in use: that says nothing of the other side."""


class NoTime(NotSent):
    """It was not sent as its time was over by then: neither does that."""


class Lost(Exception):
    """The request may have arrived, and its answer did not, or not whole."""
