"""The gateway's own transport for tests, and one transport in the place of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from adapters.http.transport import Http1Transport
from adapters.http.transports import Transports, trusted
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from httpx2 import AsyncBaseTransport


def new_transport(max_connections: int = 64) -> Http1Transport:
    """A transport, to be closed by who asks for it."""
    return Http1Transport(trusted, httpx2.Limits(max_connections=max_connections, keepalive_expiry=HANGS_SECONDS))


def everywhere(transport: AsyncBaseTransport) -> Transports:
    """One transport for every purpose."""
    return Transports(azure_openai=transport, storage=transport, identity=transport, jwks=transport)
