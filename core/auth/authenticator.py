"""From a credential to a Caller, by contract §2, "case / status / error.code"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.auth.caller import Caller
from core.auth.credentials import KEY_PREFIX, expired_credentials, invalid_credentials
from core.auth.virtual_keys import KeyStoreUnavailable, VirtualKey
from core.domain.errors import AuthUnavailable, Forbidden

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from core.auth.jwt import Claims, JwtVerifier
    from core.auth.virtual_keys import VirtualKeySource
    from core.domain.secret import Secret

_JWT_DOTS: Final = 2


class Authenticator:
    """Finds out who calls."""

    def __init__(self, keys: VirtualKeySource, jwts: JwtVerifier | None, now: Callable[[], dt.datetime]) -> None:
        """`jwts` is None where no JWTs are accepted; `now` is the wall clock, in UTC."""
        self._keys = keys
        self._jwts = jwts
        self._now = now

    async def authenticate(self, credential: Secret) -> Caller:
        """Check a credential. Raises Unauthenticated (401), Forbidden (403), AuthUnavailable or Misconfigured (503)."""
        token = credential.reveal()
        try:
            await self._keys.check()
            if token.startswith(KEY_PREFIX):
                return self._caller_for_key(await self._keys.get_by_key(token))
            if self._jwts is not None and token.count(".") == _JWT_DOTS:
                return await self._caller_for_jwt(await self._jwts.verify(token))
        except KeyStoreUnavailable:
            raise AuthUnavailable from None
        raise invalid_credentials()

    async def find_caller(self, key_id: str, *, narrowed_to: frozenset[str] | None = None) -> Caller:
        """Find the caller of a key whose secret was checked before. Raises what `authenticate` raises."""
        try:
            await self._keys.check()
            return self._caller_for_key(await self._keys.get_by_id(key_id), narrowed_to=narrowed_to)
        except KeyStoreUnavailable:
            raise AuthUnavailable from None

    async def _caller_for_jwt(self, claims: Claims) -> Caller:
        if claims.role == "admin":
            return Caller(id=claims.sub, is_admin=True, narrowed_to=claims.narrowed_to)
        return self._caller_for_key(await self._keys.get_by_id(claims.sub), narrowed_to=claims.narrowed_to)

    def _caller_for_key(self, key: VirtualKey | None, *, narrowed_to: frozenset[str] | None = None) -> Caller:
        if key is None:
            raise invalid_credentials()
        if key.expires_at is not None and key.expires_at <= self._now():
            raise expired_credentials()
        if not key.active:
            raise Forbidden("This key has been deactivated; ask your operator", code="key_inactive")
        return Caller(id=key.id, deployments=key.deployments, narrowed_to=narrowed_to, limits=key.limits)
