"""A stored key's record, and its row in the table of keys.

A record is the row `id~ID`. Each of its secrets has a row `hash~SHA256` that leads to it. All are in one partition, so
that a record and its hashes change together or not at all. They are read on a cache miss only, and Azure serves 2,000
requests a second from one partition (Azure Table Storage docs, "scalability and performance targets").
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final

import orjson
from msgspec import Struct, field
from msgspec.structs import replace

from core.auth.credentials import KEY_PREFIX
from core.auth.virtual_keys import VirtualKey, hash_secret
from core.domain.limits import UNLIMITED, Budget, BudgetWindow, Limits, Rate
from core.domain.secret import Secret
from core.storage.tables import Row, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.storage.tables import Value

RECORD_ID: Final = re.compile(r"vk-[0-9a-f]{20}")
"""The id of a record: 12 digits of its creation time in milliseconds, so that ids sort by age, and 8 random ones."""
STORED_KEY: Final = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")
"""A key that the gateway has made: 32 random bytes in base64url (RFC 4648 §5, without padding)."""

TABLE: Final = "GatewayKeys"
PARTITION: Final = "keys"
FIRST_RECORD: Final = "id~"
AFTER_RECORDS: Final = "id~~"
"""The keys of all records lie between these two: `~` sorts after every character that `safe` allows."""

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
    """The operator's own notes; the gateway does not use them."""


class KeyRecord(Struct, frozen=True, kw_only=True):
    """A stored key, without its secret."""

    id: str
    terms: KeyTerms
    prefix: str
    """The first characters of the key, by which people recognise it."""
    key_sha256: str
    previous_sha256: str | None = None
    """The secret before the last rotation, valid until `previous_until`; both or neither are set."""
    previous_until: dt.datetime | None = None
    created_at: dt.datetime
    updated_at: dt.datetime
    """When the record was last changed; using the key does not change it."""
    etag: str = ""
    """The row's ETag as it was read."""

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes under which the record is found."""
        return (self.key_sha256,) if self.previous_sha256 is None else (self.key_sha256, self.previous_sha256)

    def key(self, key_sha256: str | None = None) -> VirtualKey | None:
        """Give the key of a hash, or the current key; None if the hash does not (or no longer) belong to the record."""
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
    """A record with its new secret, which is known only now."""

    record: KeyRecord
    key: Secret


def issue_key(record_id: str, terms: KeyTerms, now: dt.datetime, random: Callable[[int], str]) -> IssuedKey:
    """Make a key; `random` gives so many random bytes in base64url, as `secrets.token_urlsafe` does."""
    key = Secret(KEY_PREFIX + random(32))
    record = KeyRecord(
        id=record_id,
        terms=terms,
        prefix=_prefix(key),
        key_sha256=hash_secret(key.reveal()),
        created_at=now,
        updated_at=now,
    )
    return IssuedKey(record=record, key=key)


def rotate_key(record: KeyRecord, now: dt.datetime, grace: dt.timedelta, random: Callable[[int], str]) -> IssuedKey:
    """Give a record a new secret. The current one stays valid for the grace time; the one before it ends now."""
    key = Secret(KEY_PREFIX + random(32))
    changed = replace(
        record,
        prefix=_prefix(key),
        key_sha256=hash_secret(key.reveal()),
        previous_sha256=record.key_sha256 if grace else None,
        previous_until=now + grace if grace else None,
        updated_at=now,
    )
    return IssuedKey(record=changed, key=key)


def _prefix(key: Secret) -> str:
    return key.reveal()[:_SHOWN_CHARACTERS]


# -- rows --


def record_key(record_id: str) -> str:
    """The key of a record's row."""
    return FIRST_RECORD + safe(record_id)


def hash_key(key_sha256: str) -> str:
    """The key of the row that leads from a secret's hash to its record."""
    return f"hash~{key_sha256}"


def hash_row(key_sha256: str, record_id: str) -> Row:
    """The row that leads from a secret's hash to its record."""
    return Row(partition=PARTITION, key=hash_key(key_sha256), values={"id": record_id})


def row_from_record(record: KeyRecord) -> Row:
    """Write a record as a row, with the ETag it was read with."""
    terms = record.terms
    budget = terms.limits.budget
    values: dict[str, Value | None] = {
        "id": record.id,
        "name": terms.name,
        "prefix": record.prefix,
        "key_sha256": record.key_sha256,
        "previous_sha256": record.previous_sha256,
        "previous_until": _time_text(record.previous_until),
        "deployments": orjson.dumps(terms.deployments).decode(),
        "active": terms.active,
        "expires_at": _time_text(terms.expires_at),
        "metadata": orjson.dumps(dict(terms.metadata)).decode(),
        "created_at": _time_text(record.created_at),
        "updated_at": _time_text(record.updated_at),
        "budget_nanos": None if budget is None else budget.nanos,
        "budget_window": None if budget is None else str(budget.window),
        **_rate_values("requests", terms.limits.requests),
        **_rate_values("images", terms.limits.images),
    }
    present = {name: value for name, value in values.items() if value is not None}
    return Row(partition=PARTITION, key=record_key(record.id), values=present, etag=record.etag)


def record_from_row(row: Row) -> KeyRecord:
    """Read a record from its row."""
    values: Mapping[str, Any] = row.values
    terms = KeyTerms(
        name=values["name"],
        deployments=tuple(orjson.loads(values["deployments"])),
        active=values["active"],
        expires_at=_parse_time(values.get("expires_at")),
        limits=Limits(requests=_rate("requests", values), images=_rate("images", values), budget=_budget(values)),
        metadata=orjson.loads(values["metadata"]),
    )
    return KeyRecord(
        id=values["id"],
        terms=terms,
        prefix=values["prefix"],
        key_sha256=values["key_sha256"],
        previous_sha256=values.get("previous_sha256"),
        previous_until=_parse_time(values.get("previous_until")),
        created_at=dt.datetime.fromisoformat(values["created_at"]),
        updated_at=dt.datetime.fromisoformat(values["updated_at"]),
        etag=row.etag,
    )


def _rate_values(name: str, rate: Rate | None) -> dict[str, Value | None]:
    if rate is None:
        return {}
    return {f"{name}_limit": rate.limit, f"{name}_window_seconds": rate.window_seconds}


def _rate(name: str, values: Mapping[str, Any]) -> Rate | None:
    limit = values.get(f"{name}_limit")
    return None if limit is None else Rate(limit=limit, window_seconds=values[f"{name}_window_seconds"])


def _budget(values: Mapping[str, Any]) -> Budget | None:
    nanos = values.get("budget_nanos")
    return None if nanos is None else Budget(nanos=nanos, window=BudgetWindow(values["budget_window"]))


def _time_text(time: dt.datetime | None) -> str | None:
    """Times are text: Azure's own type begins in 1601, and an expiry may be any time."""
    return None if time is None else time.isoformat()


def _parse_time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
