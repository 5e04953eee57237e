"""Stored keys for tests: a wall clock that stands still, chance that can be told, tables that count and fail."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

from core.auth.key_record import KeyTerms
from core.auth.key_store import KeyStore
from core.storage.memory import MemoryTables
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.storage.tables import Change, Page, Row, Table, Tables

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
TERMS = KeyTerms(name="Team A", deployments=("*",))


class Wall:
    """A wall clock that moves when it is told to."""

    def __init__(self, now: dt.datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


class Watched:
    """Tables that count what they are asked, can be out of reach, and can be held back by a gate."""

    def __init__(self, tables: Tables | None = None) -> None:
        self._tables = tables or MemoryTables()
        self.reads = 0
        self.asked = asyncio.Event()
        """There was a read."""
        self.fails: StoreUnavailable | None = None
        self.fails_afterwards: StoreUnavailable | None = None
        """Raised by a change that has been made."""
        self.gate: Any = None
        """An event that reads wait for once they have read."""

    def table(self, name: str) -> _WatchedTable:
        return _WatchedTable(self, self._tables.table(name))


class _WatchedTable:
    def __init__(self, watch: Watched, table: Table) -> None:
        self._watch = watch
        self._table = table

    async def get(self, partition: str, key: str) -> Row | None:
        self._watch.reads += 1
        self._watch.asked.set()
        if self._watch.fails is not None:
            raise self._watch.fails
        row = await self._table.get(partition, key)
        if self._watch.gate is not None:
            await self._watch.gate.wait()
        return row

    async def page(self, partition: str, **bounds: Any) -> Page:
        if self._watch.fails is not None:
            raise self._watch.fails
        return await self._table.page(partition, **bounds)

    async def change(self, *changes: Change) -> Sequence[Row]:
        if self._watch.fails is not None:
            raise self._watch.fails
        rows = await self._table.change(*changes)
        if self._watch.fails_afterwards is not None:
            raise self._watch.fails_afterwards
        return rows


OUT_OF_REACH = StoreUnavailable("no connection", perhaps_done=False)
NO_ANSWER = StoreUnavailable("no answer", perhaps_done=True)


def stored_keys(tables: Tables | None = None, wall: Wall | None = None, **parts: Any) -> KeyStore:
    """Stored keys in some tables."""
    return KeyStore(tables or MemoryTables(), now=wall or Wall(), **parts)
