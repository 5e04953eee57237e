"""A table that counts the round trips for accounts, and fails as told. Other rows in it are not looked at."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING

from core.storage.memory import MemoryTables
from core.storage.row_keys import COUNTERS
from core.storage.tables import Changed, Exists, Replace, Row, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.storage.tables import Change, Page, Table


ACCOUNT = "counters"
"""The key of the row that an account is kept in."""


class Fault(Enum):
    """How an operation fails."""

    REFUSED = auto()
    """It was not done, and that is known."""
    LOST = auto()
    """It was not done, and nobody knows."""
    ANSWER_LOST = auto()
    """It was done, and nobody knows."""
    LATE = auto()
    """It is done after the next read, unless something else was written meanwhile; nobody knows."""
    REPEATED = auto()
    """It was done, and then once more by something on the way: the answer is that the row has changed."""
    OVERTAKEN = auto()
    """Somebody else wrote the row since it was read."""


class ShakyTable:
    """A table in memory whose operations fail as `faults` says, by their number from 0 on; a read is only refused."""

    def __init__(self, table: Table | None = None, faults: dict[int, Fault] | None = None, *, pace: int = 1) -> None:
        """`pace` is how many steps of the event loop each way takes, in which others may be faster."""
        self.inner = table or MemoryTables().table("GatewayCounters")
        self.faults = faults or {}
        self.down = False
        self.bug: Exception | None = None
        self.before_read: Callable[[], Awaitable[None]] = _nothing
        self.before_write: Callable[[], Awaitable[None]] = _nothing
        self.reads = 0
        self.writes = 0
        self._pace = pace
        self._late: tuple[Change, ...] = ()

    @property
    def round_trips(self) -> tuple[int, int]:
        """Reads and writes."""
        return self.reads, self.writes

    def table(self, name: str) -> ShakyTable:
        """The only table there is."""
        return self

    async def get(self, partition: str, key: str) -> Row | None:
        if key != ACCOUNT:
            return await self.inner.get(partition, key)
        fault = self._next()
        self.reads += 1
        await self.before_read()
        await self._travel()
        if fault is not None and fault is not Fault.OVERTAKEN:
            raise StoreUnavailable("it is down", perhaps_done=False)
        row = await self.inner.get(partition, key)
        late, self._late = self._late, ()
        if late:
            with contextlib.suppress(Changed, Exists):
                await self.inner.change(*late)
        await self._travel()
        return row

    async def change(self, *changes: Change) -> Sequence[Row]:
        if changes[0].row.key != ACCOUNT:
            return await self.inner.change(*changes)
        fault = self._next()
        self.writes += 1
        await self.before_write()
        await self._travel()
        try:
            return await self._change(changes, fault)
        finally:
            await self._travel()

    async def _change(self, changes: tuple[Change, ...], fault: Fault | None) -> Sequence[Row]:
        match fault:
            case None:
                return await self.inner.change(*changes)
            case Fault.REFUSED | Fault.LOST:
                raise StoreUnavailable("it is down", perhaps_done=fault is Fault.LOST)
            case Fault.ANSWER_LOST:
                await self.inner.change(*changes)
                raise StoreUnavailable("it is down", perhaps_done=True)
            case Fault.LATE:
                self._late = changes
                raise StoreUnavailable("it is down", perhaps_done=True)
            case Fault.REPEATED:
                await self.inner.change(*changes)
                raise Changed("by itself")
            case Fault.OVERTAKEN:
                await self.touch(changes[0].row.partition, changes[0].row.key)
                return await self.inner.change(*changes)

    async def touch(self, partition: str, key: str) -> None:
        """Write a row again as it is, as another process would."""
        row = await self.inner.get(partition, key)
        if row is not None:
            await self.inner.change(Replace(row=row))

    async def page(self, partition: str, **_bounds: object) -> Page:
        raise NotImplementedError

    async def _travel(self) -> None:
        for _ in range(self._pace):
            await asyncio.sleep(0)

    def _next(self) -> Fault | None:
        if self.bug is not None:
            raise self.bug
        if self.down:
            return Fault.REFUSED
        return self.faults.get(self.reads + self.writes)


class ShakyCounters:
    """The tables of a gateway, of which that of the counters is shaky."""

    def __init__(self) -> None:
        self.counters = ShakyTable()
        self._others = MemoryTables()

    def table(self, name: str) -> Table:
        """The shaky one, or one that never fails."""
        return self.counters if name == COUNTERS else self._others.table(name)


async def _nothing() -> None:
    return


async def a_moment(_seconds: float) -> None:
    """Wait no longer than others need to go on."""
    await asyncio.sleep(0)
