"""The transports that GATEWAY_HTTP_TRANSPORT chooses from, made alike."""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import TYPE_CHECKING, Final

import httpx2

from adapters.http.transport import Http1Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def make_transport(kind: str, *, max_connections: int) -> httpx2.AsyncBaseTransport:
    """Make a transport with a pool of its own; `kind` is one of TRANSPORTS."""
    limits = httpx2.Limits(
        max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=KEEPALIVE_SECONDS
    )
    return TRANSPORTS[kind](limits)
