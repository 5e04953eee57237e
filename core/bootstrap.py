"""The composition root: from the settings to the gateway. Tests build the same with parts of their own."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from core.access.authenticator import Authenticator
from core.access.virtual_keys import StaticKeys
from core.attempts.cooling import Cooling
from core.environment import SettingsError
from core.gateway import Gateway
from core.generation import Generator
from core.upstream.attempt import Upstream
from core.upstream.connection import HttpRequest, HttpxConnection, Lost, NotSent
from core.upstream.identity import ManagedIdentity, NoIdentity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.access.jwts import JwtVerifier, KeySource
    from core.settings import JwtSettings, Settings
    from core.upstream.connection import Connection
    from core.upstream.identity import TokenSource

JWKS_SECONDS: Final = 5.0
PLATFORM_SECONDS: Final = 230.0
"""The time to the first byte that Azure Functions gives on every plan (Azure Functions docs, "HTTP trigger")."""
MOST_JWKS_BYTES: Final = 1 << 20


def utc_now() -> dt.datetime:
    """The wall clock."""
    return dt.datetime.now(dt.UTC)


def build(
    settings: Settings,
    *,
    connection: Connection | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], dt.datetime] = utc_now,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> Gateway:
    """Build the gateway. Raises SettingsError for a public key that is none."""
    connection = connection or HttpxConnection(connect_seconds=settings.connect_seconds)
    generator = Generator(
        Upstream(connection, _tokens(settings, connection, now), clock=clock, now=now, patience=settings.patience),
        Cooling(clock),
        policy=settings.policy,
        limits=settings.limits,
        clock=clock,
        wait=wait,
        chance=chance,
    )
    jwts = None if settings.jwt is None else _jwts(settings.jwt, connection, clock, now)
    return Gateway(
        authenticator=Authenticator(StaticKeys(settings.keys), jwts, now),
        catalogue=settings.catalogue,
        generator=generator,
        heartbeat_seconds=settings.heartbeat_seconds,
        limits=settings.limits,
        clock=clock,
    )


def report(settings: Settings) -> list[str]:
    """What an operator would want to know at the start: not wrong, but perhaps not meant."""
    lines = []
    if not settings.keys and settings.jwt is None:
        lines.append("Nobody can call this gateway: set GATEWAY_VIRTUAL_KEYS, or one of the GATEWAY_JWT_… keys")
    keyless = [target.name for target in settings.catalogue.targets() if target.key is None]
    if keyless and settings.identity is None:
        lines.append(
            f"No credentials for {', '.join(keyless)}: set AZURE_OPENAI_API_KEY (or api_key in GATEWAY_CATALOGUE),"
            " or give the app a managed identity"
        )
    if max(settings.limits.call, settings.heartbeat_seconds) > PLATFORM_SECONDS:
        lines.append(
            f"Azure cuts a call that has not begun to answer after {PLATFORM_SECONDS:.0f} s, and SDKs then ask again:"
            " set GATEWAY_DEADLINE_SECONDS and GATEWAY_HEARTBEAT_SECONDS below it"
        )
    return lines


def _tokens(settings: Settings, connection: Connection, now: Callable[[], dt.datetime]) -> TokenSource:
    if settings.identity is None:
        return NoIdentity()
    return ManagedIdentity(
        connection,
        endpoint=settings.identity.endpoint,
        header=settings.identity.header,
        client_id=settings.identity.client_id,
        time=lambda: now().timestamp(),
    )


def _jwts(
    settings: JwtSettings,
    connection: Connection,
    clock: Callable[[], float],
    now: Callable[[], dt.datetime],
) -> JwtVerifier:
    # Imported here: PyJWT and cryptography cost 90 ms, and many apps take virtual keys only.
    from core.access.jwts import JwtVerifier  # noqa: PLC0415

    return JwtVerifier(
        _key_source(settings, connection, clock), issuer=settings.issuer, audience=settings.audience, now=now
    )


def _key_source(settings: JwtSettings, connection: Connection, clock: Callable[[], float]) -> KeySource:
    from core.access.jwks import Jwks  # noqa: PLC0415 -- as above
    from core.access.jwts import Key, OneKey, key_of_pem  # noqa: PLC0415

    if settings.secret is not None:
        return OneKey(Key("HS256", settings.secret.reveal().encode()))
    if settings.public_key is not None:
        key = key_of_pem(settings.public_key)
        if key is None:
            raise SettingsError(
                "GATEWAY_JWT_PUBLIC_KEY",
                "is not a public key that can be used",
                "give the PEM of an RSA (2048 bits or more), P-256 or Ed25519 public key, never a private one",
            )
        return OneKey(key)
    url = settings.jwks_url or ""
    return Jwks(lambda: _fetch_jwks(url, connection), clock)


async def _fetch_jwks(url: str, connection: Connection) -> bytes:
    from core.access.jwks import FetchFailed  # noqa: PLC0415 -- as above

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
