"""The record of a stored key: what its operator decided, and which secrets count for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import replace

from core.auth.credentials import KEY_PREFIX
from core.auth.virtual_keys import VirtualKey, hash_secret
from core.domain.limits import UNLIMITED, Limits
from core.domain.secret import Secret

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

RECORD_ID: Final = re.compile(r"vk-[0-9a-f]{20}")
"""The id of a stored record: 12 digits of its time in milliseconds, so that ids sort by age, and 8 by chance."""

STORED_KEY: Final = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")
"""A key that the gateway has made: 32 random bytes in base64url (RFC 4648 §5, without padding)."""

_SHOWN_CHARACTERS: Final = len(KEY_PREFIX) + 4


class KeyTerms(Struct, frozen=True, kw_only=True):
    """What an operator decides about a key."""

    name: str
    deployments: tuple[str, ...] = ()
    """What it may call: names, or `*` for all; empty allows none."""
    active: bool = True
    expires_at: dt.datetime | None = None
    limits: Limits = UNLIMITED
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The operator's own notes; the gateway does not look at them."""


class KeyRecord(Struct, frozen=True, kw_only=True):
    """A stored key, without the key."""

    id: str
    terms: KeyTerms
    prefix: str
    """The first characters of the key, by which people recognise it."""
    key_sha256: str
    previous_sha256: str | None = None
    """The secret before the last rotation, which counts until `previous_until`; both or neither are set."""
    previous_until: dt.datetime | None = None
    created_at: dt.datetime
    updated_at: dt.datetime
    """When the record was last changed; being used does not change it."""
    etag: str = ""
    """The row's ETag as it was read."""

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes under which the record is found."""
        return (self.key_sha256,) if self.previous_sha256 is None else (self.key_sha256, self.previous_sha256)

    def key(self, key_sha256: str | None = None) -> VirtualKey | None:
        """Give the key that a hash stands for, or the current one; None where the hash is not of this record (now)."""
        if key_sha256 in {None, self.key_sha256}:
            return self._key(self.key_sha256, self.terms.expires_at)
        if key_sha256 != self.previous_sha256 or self.previous_until is None:
            return None
        ends = [moment for moment in (self.terms.expires_at, self.previous_until) if moment is not None]
        return self._key(self.previous_sha256, min(ends))

    def _key(self, key_sha256: str, expires_at: dt.datetime | None) -> VirtualKey:
        return VirtualKey(
            id=self.id,
            name=self.terms.name,
            key_sha256=key_sha256,
            deployments=frozenset(self.terms.deployments),
            active=self.terms.active,
            expires_at=expires_at,
            limits=self.terms.limits,
        )


class IssuedKey(Struct, frozen=True, kw_only=True):
    """A record with its new key: the only moment in which the key is known."""

    record: KeyRecord
    key: Secret


def new_key(random: Callable[[int], str]) -> Secret:
    """Make a key; `random` gives so many random bytes in base64url, as `secrets.token_urlsafe` does."""
    return Secret(KEY_PREFIX + random(32))


def issue(record_id: str, terms: KeyTerms, key: Secret, now: dt.datetime) -> KeyRecord:
    """Make the record of a new key."""
    return KeyRecord(
        id=record_id,
        terms=terms,
        prefix=_prefix(key),
        key_sha256=hash_secret(key.reveal()),
        created_at=now,
        updated_at=now,
    )


def rotated(record: KeyRecord, key: Secret, now: dt.datetime, grace: dt.timedelta) -> KeyRecord:
    """Give a record a new secret. The one it had counts for the grace time; one before that no longer."""
    return replace(
        record,
        prefix=_prefix(key),
        key_sha256=hash_secret(key.reveal()),
        previous_sha256=record.key_sha256 if grace else None,
        previous_until=now + grace if grace else None,
        updated_at=now,
    )


def _prefix(key: Secret) -> str:
    return key.reveal()[:_SHOWN_CHARACTERS]
