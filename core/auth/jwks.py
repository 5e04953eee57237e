"""A JSON Web Key Set behind a URL (RFC 7517): fetched when it is needed, cached, and fetched again within bounds.

* The set is cached for ten minutes. Where it cannot be fetched again, it is used for an hour at most, so that a short
  outage of the issuer locks nobody out.
* A token with an unknown `kid` causes a fetch at most once a minute, so that made-up tokens cannot flood the issuer.
* While the set is being fetched, tokens with a known `kid` do not wait for it: neither a made-up `kid` nor a slow
  issuer delays them.
* After a failed fetch the next one waits five seconds. Without any set, nobody is let in (503).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

import jwt
import orjson
from jwt.api_jwk import PyJWK

from core.auth.jwt import SigningKey
from core.domain.errors import AuthUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CACHE_SECONDS: Final = 600.0
OUTAGE_CACHE_SECONDS: Final = 3600.0
UNKNOWN_KID_SECONDS: Final = 60.0
RETRY_AFTER_FAILURE_SECONDS: Final = 5.0
MIN_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""

_ALGORITHMS: Final = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_log = logging.getLogger(__name__)


class FetchFailed(Exception):
    """The set could not be fetched; the message says why, for the log."""


class Jwks:
    """The keys of `GATEWAY_JWT_JWKS_URL`."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Callable[[], float]) -> None:
        """`fetch` gets the set's bytes or raises FetchFailed; `clock` is monotonic, in seconds."""
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: dict[str | None, SigningKey] = {}
        self._fetched_at: float | None = None
        self._failed_at: float | None = None
        self._fetched_for_unknown_at: float | None = None

    async def find_key(self, kid: str | None) -> SigningKey | None:
        """Find a key by `kid`; a token without one is accepted only if the set has exactly one key."""
        key = self._keys.get(kid)
        if key is not None and not self._is_older_than(self._max_age):
            return key
        fetched = await self._refresh_if(lambda: self._is_older_than(CACHE_SECONDS))
        if self._is_older_than(OUTAGE_CACHE_SECONDS):
            raise AuthUnavailable
        key = self._keys.get(kid)
        if key is None and kid is not None and not fetched:
            await self._refresh_if(self._may_fetch_for_unknown)
            key = self._keys.get(kid)
            if key is None and self._failed_at is not None:
                raise AuthUnavailable
        return key

    @property
    def _max_age(self) -> float:
        """How old the set may be for a known key to be used without waiting; longer while a new set is fetched."""
        return OUTAGE_CACHE_SECONDS if self._lock.locked() else CACHE_SECONDS

    def _is_older_than(self, seconds: float) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at >= seconds

    def _may_fetch_for_unknown(self) -> bool:
        fetched_at = self._fetched_for_unknown_at
        if fetched_at is not None and self._clock() - fetched_at < UNKNOWN_KID_SECONDS:
            return False
        self._fetched_for_unknown_at = self._clock()
        return True

    async def _refresh_if(self, needed: Callable[[], bool]) -> bool:
        """Fetch the set if that is needed and has not just failed. Returns whether the set is new."""
        async with self._lock:
            failed_at = self._failed_at
            if failed_at is not None and self._clock() - failed_at < RETRY_AFTER_FAILURE_SECONDS:
                return False
            if not needed():
                return False
            try:
                self._keys = _parse_keys(await self._fetch())
            except FetchFailed as failure:
                self._failed_at = self._clock()
                _log.warning("The JWKS of GATEWAY_JWT_JWKS_URL cannot be fetched: %s", failure)
                return False
            self._fetched_at = self._clock()
            self._failed_at = None
            return True


def _parse_keys(body: bytes) -> dict[str | None, SigningKey]:
    """Read a set. Keys of other types or for other uses are skipped (RFC 7517 §5)."""
    try:
        entries = orjson.loads(body)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise FetchFailed("it is not a JSON Web Key Set") from None
    if not isinstance(entries, list):
        raise FetchFailed("its keys are not a list")
    keys = [(entry.get("kid"), key) for entry in entries if (key := _parse_key(entry)) is not None]
    found: dict[str | None, SigningKey] = {kid: key for kid, key in keys if kid is not None}
    if len(keys) == 1:
        found[None] = keys[0][1]
    return found


def _parse_key(entry: Any) -> SigningKey | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str | None) or "d" in entry:
        return None  # "d" is a private key, and a published private key protects nothing
    algorithm = _ALGORITHMS.get((str(entry.get("kty")), str(entry.get("crv", ""))))
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    try:
        material = PyJWK(entry, algorithm).key
    except jwt.PyJWTError:
        return None
    if algorithm == "RS256" and material.key_size < MIN_RSA_BITS:
        return None
    return SigningKey(cast("Any", algorithm), material)
