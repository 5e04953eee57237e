"""From the settings of JWTs to what checks them. Imported where JWTs are taken: PyJWT costs 90 ms of CPU."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx2

from core.auth.jwks import FetchFailed, Jwks
from core.auth.jwt import FixedKey, JwtVerifier, SigningKey, load_pem
from core.domain.settings_error import SettingsError
from core.http import BodyTooLong, new_request, open_response, read_body

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from core.auth.jwt import SigningKeySource
    from core.settings.settings import JwtSettings

JWKS_SECONDS: Final = 5.0
MAX_JWKS_BYTES: Final = 1 << 20


def verifier(
    settings: JwtSettings,
    transport: httpx2.AsyncBaseTransport,
    clock: Callable[[], float],
    now: Callable[[], dt.datetime],
) -> JwtVerifier:
    """Make what checks JWTs. Raises SettingsError for a public key that is none."""
    return JwtVerifier(
        _key_source(settings, transport, clock), issuer=settings.issuer, audience=settings.audience, now=now
    )


def _key_source(
    settings: JwtSettings, transport: httpx2.AsyncBaseTransport, clock: Callable[[], float]
) -> SigningKeySource:
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
    return Jwks(lambda: _fetch_jwks(url, transport), clock)


async def _fetch_jwks(url: str, transport: httpx2.AsyncBaseTransport) -> bytes:
    request = new_request("GET", url, {"accept": "application/json"})
    try:
        async with asyncio.timeout(JWKS_SECONDS), open_response(transport, request) as response:
            if response.status_code != 200:
                raise FetchFailed(f"it answers {response.status_code}")
            return await read_body(response, MAX_JWKS_BYTES)
    except BodyTooLong:
        raise FetchFailed("it is too large") from None
    except (httpx2.RequestError, TimeoutError) as error:
        raise FetchFailed(type(error).__name__) from None
