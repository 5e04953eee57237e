"""The transports that an app has, of the kind that GATEWAY_HTTP_TRANSPORT names."""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import TYPE_CHECKING, Final

import httpx2
from msgspec import Struct

from adapters.http.transport import Http1Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_CALLS: Final = 256
"""To all targets together at once, for each instance; and as many to Azure Storage, where each takes milliseconds."""
MAX_CALLS_FOR_KEYS: Final = 8
"""For tokens of the app's identity, and for the keys of JWTs. Callers share one request for each of them."""
KEEPALIVE_SECONDS: Final = 30.0
"""How long an unused connection is kept. Shorter than Azure's own limit (4 minutes), so that it is rarely the server
that ends one just as it is used again: such an end cannot be told from a lost picture."""


@cache
def trusted() -> ssl.SSLContext:
    """Whom to trust: certifi's list, or OpenSSL's own variables where they are set. Some 20 ms of CPU, once."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        context = ssl.create_default_context()
    else:
        import certifi  # noqa: PLC0415 -- only where TLS is spoken

        context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stock(limits: httpx2.Limits) -> httpx2.AsyncBaseTransport:
    return httpx2.AsyncHTTPTransport(verify=trusted(), limits=limits, trust_env=False)


TRANSPORTS: Final[Mapping[str, Callable[[httpx2.Limits], httpx2.AsyncBaseTransport]]] = {
    "built-in": lambda limits: Http1Transport(trusted, limits),
    "httpx2": _stock,
}


class Transports(Struct, frozen=True, kw_only=True):
    """A transport for each purpose: calls that wait for images take no connection from what else is asked."""

    azure_openai: httpx2.AsyncBaseTransport
    storage: httpx2.AsyncBaseTransport
    identity: httpx2.AsyncBaseTransport
    jwks: httpx2.AsyncBaseTransport

    async def aclose(self) -> None:
        """Close every connection of all."""
        for transport in (self.azure_openai, self.storage, self.identity, self.jwks):
            await transport.aclose()


def make_transports(kind: str) -> Transports:
    """Make all transports, each with a pool of its own; `kind` is one of TRANSPORTS."""

    def make(max_connections: int) -> httpx2.AsyncBaseTransport:
        return TRANSPORTS[kind](
            httpx2.Limits(
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=KEEPALIVE_SECONDS,
            )
        )

    return Transports(
        azure_openai=make(MAX_CALLS),
        storage=make(MAX_CALLS),
        identity=make(MAX_CALLS_FOR_KEYS),
        jwks=make(MAX_CALLS_FOR_KEYS),
    )
