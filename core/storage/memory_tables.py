"""Tables in memory, for one process: they end with it.

No method waits, so each of them is one step of the event loop, and a transaction needs no lock. Of rows that have
values of the same names, as those of the ledger do, the names are stored once: a dict for each takes twice the memory.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from core.storage.table_rules import check_changes, check_key, check_limit, check_name
from core.storage.tables import (
    MAX_ROWS_PER_PAGE,
    Changed,
    Delete,
    Exists,
    Insert,
    Page,
    Put,
    Replace,
    Row,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from core.storage.tables import Change, Value

_StoredRow = tuple[str, tuple[str, ...], tuple["Value", ...]]
_NO_BOUNDS: Final[Mapping[str, int]] = MappingProxyType({})


class MemoryTables:
    """The port over the process's own memory."""

    def __init__(self, *, max_rows: Mapping[str, int] = _NO_BOUNDS) -> None:
        """`max_rows` bounds tables by their names: beyond it the row that was written longest ago goes."""
        self._most_rows = max_rows
        self._tables: dict[str, MemoryTable] = {}
        self._etags = (f'W/"{number}"' for number in itertools.count(1))

    def table(self, name: str) -> MemoryTable:
        """Give a table by its name (see Tables.table)."""
        check_name(name)
        if name not in self._tables:
            self._tables[name] = MemoryTable(self._etags, self._most_rows.get(name))
        return self._tables[name]


class MemoryTable:
    """One table in memory."""

    def __init__(self, etags: Iterator[str], max_rows: int | None) -> None:
        self._etags = etags
        self._most_rows = max_rows
        self._rows: OrderedDict[tuple[str, str], _StoredRow] = OrderedDict()
        """The ETag of each row, the names of its values, and these; in the order in which they were written. A plain
        dict is slow to give its first entry once many have gone."""
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._keys: dict[str, list[str]] = {}
        """The keys of each partition, sorted."""

    async def get(self, partition: str, key: str) -> Row | None:
        """Read a row (see Table.get)."""
        check_key(partition)
        check_key(key)
        return self._row(partition, key) if (partition, key) in self._rows else None

    async def page(
        self, partition: str, *, first: str = "", before: str | None = None, limit: int = MAX_ROWS_PER_PAGE
    ) -> Page:
        """Read rows of a partition (see Table.page)."""
        check_key(partition)
        check_limit(limit)
        keys = self._keys.get(partition, [])
        begin = bisect_left(keys, first)
        end = len(keys) if before is None else bisect_left(keys, before)
        following = begin + limit
        return Page(
            rows=tuple(self._row(partition, key) for key in keys[begin : min(following, end)]),
            next_key=keys[following] if following < end else None,
        )

    async def change(self, *changes: Change) -> Sequence[Row]:
        """Make changes, all or none (see Table.change)."""
        check_changes(changes)
        for change in changes:
            self._check(change)
        changed = tuple(self._make(change) for change in changes)
        self._forget_oldest()
        return changed

    def _row(self, partition: str, key: str) -> Row:
        etag, names, values = self._rows[partition, key]
        read = MappingProxyType(dict(zip(names, values, strict=True)))
        return Row(partition=partition, key=key, values=read, etag=etag)

    def _check(self, change: Change) -> None:
        etag, *_ = self._rows.get((change.row.partition, change.row.key), (None,))
        match change:
            case Insert() if etag is not None:
                raise Exists(f"{change.row.key} is there already")
            case Replace() if etag != change.row.etag:
                raise Changed(f"{change.row.key} is not as it was read")
            case Delete() if etag is None or change.row.etag not in {"", etag}:
                raise Changed(f"{change.row.key} is not as it was read")
            case _:
                pass

    def _make(self, change: Change) -> Row:
        self._remove(change.row.partition, change.row.key)
        match change:
            case Delete(row=row):
                return row
            case Insert(row=row) | Replace(row=row) | Put(row=row):
                names = tuple(row.values)
                names = self._names.setdefault(names, names)
                self._rows[row.partition, row.key] = next(self._etags), names, tuple(row.values.values())
                insort(self._keys.setdefault(row.partition, []), row.key)
                return self._row(row.partition, row.key)

    def _remove(self, partition: str, key: str) -> None:
        if self._rows.pop((partition, key), None) is None:
            return
        keys = self._keys[partition]
        del keys[bisect_left(keys, key)]
        if not keys:
            del self._keys[partition]

    def _forget_oldest(self) -> None:
        while self._most_rows is not None and len(self._rows) > self._most_rows:
            self._remove(*next(iter(self._rows)))
