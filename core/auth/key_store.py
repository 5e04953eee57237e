"""The stored keys: found, listed, made, changed, rotated and deleted, in a table.

The record is the authority. A row `hash~…` only leads to it: what the record does not name as its own does not count,
so that a change to one row is a change to the key.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from core.auth.key_record import IssuedKey, KeyRecord, KeyTerms, issue, new_key, rotated
from core.auth.key_rows import (
    AFTER_RECORDS,
    FIRST_RECORD,
    PARTITION,
    TABLE,
    hash_key,
    hash_row,
    record_from_row,
    record_key,
    row_from_record,
)
from core.auth.virtual_keys import hash_secret
from core.storage.tables import Delete, Exists, Insert, Replace, Row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Sequence

    from core.storage.tables import Change, Tables

MAX_TRIES: Final = 5
"""How often an id is made anew where one is taken already."""


class RecordPage(Struct, frozen=True, kw_only=True):
    """Records in the order in which they were made."""

    records: Sequence[KeyRecord]
    next_id: str | None
    """The first of the next page; None: this was the last."""


class KeyStore:
    """The records of stored keys. Every method raises StoreUnavailable where the store cannot be reached."""

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
        """Find the record of a secret: two reads, or one where there is none."""
        row = await self._table.get(PARTITION, hash_key(key_sha256))
        if row is None:
            return None
        record = await self.get(str(row.values["id"]))
        return record if record is not None and key_sha256 in record.hashes else None

    async def page(self, *, first_id: str = "", limit: int) -> RecordPage:
        """List records from an id on."""
        first = record_key(first_id) if first_id else FIRST_RECORD
        page = await self._table.page(PARTITION, first=first, before=AFTER_RECORDS, limit=limit)
        following = None if page.next_key is None else page.next_key.removeprefix(FIRST_RECORD)
        return RecordPage(records=[record_from_row(row) for row in page.rows], next_id=following)

    async def create(self, terms: KeyTerms) -> IssuedKey:
        """Make a key."""
        for _ in range(MAX_TRIES):
            key = new_key(self._random)
            record = issue(self._new_id(), terms, key, self._now())
            if record.id in self._taken:
                continue
            try:
                row, _ = await self._table.change(
                    Insert(row=row_from_record(record)), Insert(row=hash_row(record.key_sha256, record.id))
                )
            except Exists:
                continue
            return IssuedKey(record=replace(record, etag=row.etag), key=key)
        raise AssertionError("chance gives the same id again and again")

    async def change(self, record: KeyRecord, terms: KeyTerms) -> KeyRecord:
        """Put other terms into a record. Raises Changed where it is not as it was read."""
        return await self._replaced(replace(record, terms=terms, updated_at=self._now()))

    async def rotate(self, record: KeyRecord, grace: dt.timedelta) -> IssuedKey:
        """Give a record a new secret; the old one counts for the grace time. Raises Changed as `change` does."""
        key = new_key(self._random)
        new = rotated(record, key, self._now(), grace)
        gone = [_of_hash(key_sha256) for key_sha256 in record.hashes if key_sha256 not in new.hashes]
        added = Insert(row=hash_row(hash_secret(key.reveal()), record.id))
        return IssuedKey(record=await self._replaced(new, added, *gone), key=key)

    async def delete(self, record: KeyRecord) -> None:
        """Delete a record and its secrets. Raises Changed where it is not as it was read."""
        await self._table.change(Delete(row=row_from_record(record)), *map(_of_hash, record.hashes))

    async def _replaced(self, record: KeyRecord, *changes: Change) -> KeyRecord:
        row, *_ = await self._table.change(Replace(row=row_from_record(record)), *changes)
        return replace(record, etag=row.etag)

    def _new_id(self) -> str:
        milliseconds = int(self._now().timestamp() * 1000)
        return f"vk-{milliseconds:012x}{self._random_hex(4)}"


def _of_hash(key_sha256: str) -> Delete:
    return Delete(row=Row(partition=PARTITION, key=hash_key(key_sha256)))
