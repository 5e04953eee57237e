"""The stored keys: found, listed, created, changed, rotated and deleted, in a table.

The record is the authority. A row `hash~…` only leads to it: a hash that its record does not name is no valid key, so
that changing the one row of the record is enough.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from core.auth.key_record import (
    AFTER_RECORDS,
    FIRST_RECORD,
    PARTITION,
    TABLE,
    IssuedKey,
    KeyRecord,
    KeyTerms,
    hash_key,
    hash_row,
    issue_key,
    record_from_row,
    record_key,
    rotate_key,
    row_from_record,
)
from core.storage.tables import Delete, Exists, Insert, Replace, Row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Sequence

    from core.storage.tables import Change, Tables

MAX_TRIES: Final = 5
"""How many ids are tried where one is taken already."""


class RecordPage(Struct, frozen=True, kw_only=True):
    """Records in the order in which they were created."""

    records: Sequence[KeyRecord]
    next_id: str | None
    """The first of the next page; None: this was the last."""


class KeyStore:
    """The records of stored keys. Every method raises StoreUnavailable if the store cannot be reached."""

    def __init__(
        self,
        tables: Tables,
        *,
        now: Callable[[], dt.datetime],
        taken: Collection[str] = (),
        random: Callable[[int], str] = secrets.token_urlsafe,
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """`now` is the wall clock, in UTC; `taken` are ids that belong to other keys."""
        self._table = tables.table(TABLE)
        self._now = now
        self._taken = frozenset(taken)
        self._random = random
        self._random_hex = random_hex

    async def get(self, record_id: str) -> KeyRecord | None:
        """Read a record."""
        row = await self._table.get(PARTITION, record_key(record_id))
        return None if row is None else record_from_row(row)

    async def get_by_hash(self, key_sha256: str) -> KeyRecord | None:
        """Find the record of a secret: two reads, or one if there is none."""
        row = await self._table.get(PARTITION, hash_key(key_sha256))
        if row is None:
            return None
        record = await self.get(str(row.values["id"]))
        return record if record is not None and key_sha256 in record.hashes else None

    async def page(self, *, first_id: str = "", limit: int) -> RecordPage:
        """List records, beginning with an id."""
        first = record_key(first_id) if first_id else FIRST_RECORD
        page = await self._table.page(PARTITION, first=first, before=AFTER_RECORDS, limit=limit)
        next_id = None if page.next_key is None else page.next_key.removeprefix(FIRST_RECORD)
        return RecordPage(records=[record_from_row(row) for row in page.rows], next_id=next_id)

    async def create(self, terms: KeyTerms) -> IssuedKey:
        """Create a key."""
        for _ in range(MAX_TRIES):
            issued = issue_key(self._new_id(), terms, self._now(), self._random)
            record = issued.record
            if record.id in self._taken:
                continue
            try:
                row, _ = await self._table.change(
                    Insert(row=row_from_record(record)), Insert(row=hash_row(record.key_sha256, record.id))
                )
            except Exists:
                continue
            return replace(issued, record=replace(record, etag=row.etag))
        raise AssertionError("the random numbers repeat themselves")

    async def change(self, record: KeyRecord, terms: KeyTerms) -> KeyRecord:
        """Replace a record's terms. Raises Changed if the stored record is not the one that was read."""
        return await self._replace(replace(record, terms=terms, updated_at=self._now()))

    async def rotate(self, record: KeyRecord, grace: dt.timedelta) -> IssuedKey:
        """Give a record a new secret; the old one stays valid for the grace time. Raises Changed as `change` does."""
        issued = rotate_key(record, self._now(), grace, self._random)
        new = issued.record
        ended = [_delete_hash(key_sha256) for key_sha256 in record.hashes if key_sha256 not in new.hashes]
        added = Insert(row=hash_row(new.key_sha256, record.id))
        return replace(issued, record=await self._replace(new, added, *ended))

    async def delete(self, record: KeyRecord) -> None:
        """Delete a record and its secrets. Raises Changed as `change` does."""
        await self._table.change(Delete(row=row_from_record(record)), *map(_delete_hash, record.hashes))

    async def _replace(self, record: KeyRecord, *changes: Change) -> KeyRecord:
        row, *_ = await self._table.change(Replace(row=row_from_record(record)), *changes)
        return replace(record, etag=row.etag)

    def _new_id(self) -> str:
        milliseconds = int(self._now().timestamp() * 1000)
        return f"vk-{milliseconds:012x}{self._random_hex(4)}"


def _delete_hash(key_sha256: str) -> Delete:
    return Delete(row=Row(partition=PARTITION, key=hash_key(key_sha256)))
