"""From the settings of JWTs to what checks them. Imported where JWTs are taken: PyJWT costs 90 ms of CPU."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from core.auth.jwks import FetchFailed, Jwks
from core.auth.jwt import FixedKey, JwtVerifier, SigningKey, load_pem
from core.azure_openai.connection import HttpRequest, Lost, NotSent
from core.domain.settings_error import SettingsError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from core.auth.jwt import SigningKeySource
    from core.azure_openai.connection import Connection
    from core.settings.settings import JwtSettings

JWKS_SECONDS: Final = 5.0
MOST_JWKS_BYTES: Final = 1 << 20


def verifier(
    settings: JwtSettings, connection: Connection, clock: Callable[[], float], now: Callable[[], dt.datetime]
) -> JwtVerifier:
    """Make what checks JWTs. Raises SettingsError for a public key that is none."""
    return JwtVerifier(
        _key_source(settings, connection, clock), issuer=settings.issuer, audience=settings.audience, now=now
    )


def _key_source(settings: JwtSettings, connection: Connection, clock: Callable[[], float]) -> SigningKeySource:
    if settings.secret is not None:
        return FixedKey(SigningKey("HS256", settings.secret.reveal().encode()))
    if settings.public_key is not None:
        key = load_pem(settings.public_key)
        if key is None:
            raise SettingsError(
                "GATEWAY_JWT_PUBLIC_KEY",
                "is not a public key that can be used",
                "give the PEM of an RSA (2048 bits or more), P-256 or Ed25519 public key, never a private one",
            )
        return FixedKey(key)
    url = settings.jwks_url or ""
    return Jwks(lambda: _fetch_jwks(url, connection), clock)


async def _fetch_jwks(url: str, connection: Connection) -> bytes:
    body = bytearray()
    request = HttpRequest(method="GET", url=url, headers={"accept": "application/json"})
    try:
        async with (
            asyncio.timeout(JWKS_SECONDS),
            connection.send(request) as response,
            aclosing(response.pieces()) as pieces,
        ):
            if response.status != 200:
                raise FetchFailed(f"it answers {response.status}")
            async for piece in pieces:
                body += piece
                if len(body) > MOST_JWKS_BYTES:
                    raise FetchFailed("it is too large")
    except (NotSent, Lost, TimeoutError) as error:
        raise FetchFailed(type(error).__name__) from None
    return bytes(body)
