"""How a record is kept: as the row `id~ID`, with a row `hash~SHA256` for each of its secrets, in one partition.

One partition, so that a record and its hashes change together or not at all. It is read on a cache miss only, and Azure
takes 2,000 requests a second on one partition (Azure Table Storage docs, "scalability and performance targets").
Times are text: Azure's own type begins in 1601, and an expiry may be any moment.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import orjson

from core.auth.key_record import KeyRecord, KeyTerms
from core.domain.limits import Budget, BudgetWindow, Limits, Rate
from core.storage.tables import Row, safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.storage.tables import Value

TABLE: Final = "GatewayKeys"
PARTITION: Final = "keys"
FIRST_RECORD: Final = "id~"
AFTER_RECORDS: Final = "id~~"
"""The keys of all records lie between these two: `~` sorts behind every character that `safe` lets through."""


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
    values: dict[str, Value | None] = {
        "id": record.id,
        "name": terms.name,
        "prefix": record.prefix,
        "key_sha256": record.key_sha256,
        "previous_sha256": record.previous_sha256,
        "previous_until": _text(record.previous_until),
        "deployments": orjson.dumps(terms.deployments).decode(),
        "active": terms.active,
        "expires_at": _text(terms.expires_at),
        "metadata": orjson.dumps(dict(terms.metadata)).decode(),
        "created_at": _text(record.created_at),
        "updated_at": _text(record.updated_at),
        **_rate_values("requests", terms.limits.requests),
        **_rate_values("images", terms.limits.images),
        "budget_nanos": None if terms.limits.budget is None else terms.limits.budget.nanos,
        "budget_window": None if terms.limits.budget is None else terms.limits.budget.window.value,
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
        expires_at=_moment(values.get("expires_at")),
        limits=Limits(requests=_rate("requests", values), images=_rate("images", values), budget=_budget(values)),
        metadata=orjson.loads(values["metadata"]),
    )
    return KeyRecord(
        id=values["id"],
        terms=terms,
        prefix=values["prefix"],
        key_sha256=values["key_sha256"],
        previous_sha256=values.get("previous_sha256"),
        previous_until=_moment(values.get("previous_until")),
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


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
