"""Virtual keys: who may call what.

No key is stored: records have its SHA-256, and keys are looked up by that hash, so that the time of a comparison tells
nothing about a key.
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
    """One key, without its secret."""

    id: str
    name: str
    key_sha256: str
    """SHA-256 of the whole key, in lower-case hex."""
    deployments: frozenset[str] = frozenset()
    """What it may call: names, or `*` for all; empty allows none."""
    active: bool = True
    expires_at: dt.datetime | None = None
    """From then on it is refused."""
    limits: Limits = UNLIMITED


class VirtualKeySource(Protocol):
    """Where records are looked up. Methods raise KeyStoreUnavailable if it cannot be reached."""

    async def get_by_key(self, key: str) -> VirtualKey | None:
        """Look up the record of a whole key."""
        ...

    async def get_by_id(self, key_id: str) -> VirtualKey | None:
        """Look up a record by its id."""
        ...

    async def check(self) -> None:
        """Raise Misconfigured if an id names two keys. Costs nothing once that is known."""
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
        """The setting was checked when it was read."""


def hash_secret(key: str) -> str:
    """SHA-256 of a whole key, in lower-case hex."""
    return hashlib.sha256(key.encode()).hexdigest()
