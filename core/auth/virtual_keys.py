"""Virtual keys: the records of who may call what, and where they are looked up.

A key is never kept: records hold its SHA-256, and looking up is by that hash, so comparing takes no secret's time.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from core.domain.limits import UNLIMITED, Limits

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator


class VirtualKey(Struct, frozen=True, kw_only=True):
    """A record of one key."""

    id: str
    name: str
    key_sha256: str
    """SHA-256 of the whole key, in lower-case hex."""
    deployments: frozenset[str] = frozenset()
    """What it may call: names, or `*` for all; empty allows none."""
    active: bool = True
    expires_at: dt.datetime | None = None
    """From this moment on it no longer counts."""
    limits: Limits = UNLIMITED
    """What it may spend."""


class VirtualKeySource(Protocol):
    """Where records are looked up. Raises KeyStoreUnavailable where it cannot be reached."""

    async def get_by_key(self, key: str) -> VirtualKey | None:
        """Look up the record of a whole key."""
        ...

    async def get_by_id(self, key_id: str) -> VirtualKey | None:
        """Look up a record by its id."""
        ...

    async def check(self) -> None:
        """Raise Misconfigured where it is not certain whose key an id names; costs nothing once it is."""
        ...


class KeyStoreUnavailable(Exception):
    """The records cannot be read now."""


class ConfiguredKeys:
    """The keys of `GATEWAY_VIRTUAL_KEYS`."""

    def __init__(self, keys: Iterable[VirtualKey]) -> None:
        self._by_hash = {key.key_sha256: key for key in keys}
        self._by_id = {key.id: key for key in self._by_hash.values()}

    def __iter__(self) -> Iterator[VirtualKey]:
        """All of them, in the order of the setting."""
        return iter(self._by_id.values())

    def get(self, key_id: str) -> VirtualKey | None:
        """Find a record by its id, at once."""
        return self._by_id.get(key_id)

    async def get_by_key(self, key: str) -> VirtualKey | None:
        """Look up the record of a whole key."""
        return self._by_hash.get(hash_secret(key))

    async def get_by_id(self, key_id: str) -> VirtualKey | None:
        """Look up a record by its id."""
        return self.get(key_id)

    async def check(self) -> None:
        """Nothing is uncertain: ids that are there twice are no settings at all."""


def hash_secret(key: str) -> str:
    """SHA-256 of a whole key, in lower-case hex."""
    return hashlib.sha256(key.encode()).hexdigest()
