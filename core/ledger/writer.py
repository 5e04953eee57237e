"""Writes the ledger: one row for each call, in the background.

No caller waits for it. Rows wait in memory, at most MAX_WAITING of them, and one task writes them, a transaction at a
time, until none is left. While the store cannot be reached they go on waiting; what exceeds the bound is lost, counted
and logged. A process that is killed loses what it had not written yet, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from core.ledger.last_used import LastUsed
from core.ledger.rollups import PendingCall, Rollups
from core.storage.row_keys import COUNTERS, LEDGER, callers_partition, clean, month_of
from core.storage.tables import Put, Row, StoreUnavailable
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.ledger.entry import Entry
    from core.storage.tables import Tables

GATHER_SECONDS: Final = 0.05
"""How long a call waits for others, to be written with them in one transaction and one row of totals."""
MAX_WAITING: Final = 10_000
"""Rows that wait at most: 6 to 20 MB, and the calls of half an hour at five a second."""
MIN_PAUSE_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 60.0
"""Bounds of the pause between two tries while the store cannot be reached; it doubles each time."""
LOSS_LOG_SECONDS: Final = 60.0
"""How often losses are logged at most."""
MAX_CALLERS: Final = 10_000

_log = logging.getLogger(__name__)


class LedgerWriter:
    """Writes calls to the ledger. One for each process."""

    def __init__(
        self,
        tables: Tables,
        *,
        clock: Callable[[], float],
        wait: Callable[[float], Awaitable[None]],
        gather_seconds: float = GATHER_SECONDS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """`clock` is monotonic, in seconds; `wait` lets seconds go by, after the store has failed."""
        self._table = tables.table(LEDGER)
        self._counters = tables.table(COUNTERS)
        self._last_used = LastUsed(self._counters)
        self._wait = wait
        self._losses = _Losses(clock)
        self._gather_seconds = gather_seconds
        self._most_waiting = max_waiting
        self._waiting: dict[str, deque[PendingCall]] = {}
        """By partition; the first partition is the next to be written."""
        self._size = 0
        self._rollups = Rollups()
        self._callers: dict[str, Row] = {}
        """Rows that list who has called and are not known to be written, by the partition of the calls."""
        self._listed: set[str] = set()
        self._writer: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many calls have yet to be written."""
        return self._size

    @property
    def lost(self) -> int:
        """How many calls are missing from the ledger, since this process began."""
        return self._losses.count

    def note(self, entry: Entry) -> None:
        """Take a call to be written. Never waits; to be called in an event loop."""
        self._last_used.note(entry.billed_party, entry.time)
        if self._size >= self._most_waiting:
            self._losses.add(1)
        else:
            partition = entry.partition
            self._waiting.setdefault(partition, deque()).append(PendingCall(entry))
            self._size += 1
            self._list(entry, partition)
        self._write_soon()

    async def flush(self, seconds: float) -> None:
        """Write what waits, because the process ends; what cannot be written in so many seconds is lost."""
        if self._writer is None:
            return
        await self._stop()  # it may be in a long pause
        self._write_soon()
        await asyncio.wait({self._writer}, timeout=seconds)
        await self._stop()
        for partition, lines in list(self._waiting.items()):
            self._lose(partition, len(lines))
        self._losses.log()

    def _list(self, entry: Entry, partition: str) -> None:
        if partition in self._listed or partition in self._callers:
            return
        self._callers[partition] = Row(
            partition=callers_partition(month_of(entry.day)),
            key=entry.billed_party.name,
            values={"id": clean(entry.billed_party.id), "admin": entry.billed_party.is_admin},
        )

    def _write_soon(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _stop(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait({self._writer})

    async def _write(self) -> None:
        """Write until nothing waits."""
        await asyncio.sleep(self._gather_seconds)
        pause = MIN_PAUSE_SECONDS
        while self._waiting or self._last_used.is_due:
            try:
                await self._write_next()
            except StoreUnavailable as error:
                if pause == MIN_PAUSE_SECONDS:
                    _log.warning("The ledger cannot be written now; calls wait until it can (%s)", error)
                await self._wait(pause)
                pause = min(MAX_PAUSE_SECONDS, 2 * pause)
            except Exception as fault:  # noqa: BLE001 -- what cannot be written must not block what follows
                write_fault(fault, "ledger")
            else:
                pause = MIN_PAUSE_SECONDS
        self._losses.log()

    async def _write_next(self) -> None:
        """Write one transaction. After StoreUnavailable its calls still wait; after any other fault they are lost."""
        partition = next(iter(self._waiting), None)
        if partition is None:
            await self._last_used.write_one()
            return
        lines = self._waiting[partition] = self._waiting.pop(
            partition
        )  # moved to the end, so that no partition blocks the others
        try:
            batch = self._rollups.batch(partition, lines)
        except Exception:
            self._lose_unwritable(partition)
            raise
        try:
            await self._list_caller(partition)
            await self._table.change(*batch.changes)
        except StoreUnavailable:
            raise
        except Exception:
            self._lose(partition, batch.lines)
            raise
        self._take(partition, batch.lines)
        self._rollups.confirm(batch, needed=self._waiting)

    async def _list_caller(self, partition: str) -> None:
        """List who has called, before the first of their rows, so that no report misses them."""
        row = self._callers.get(partition)
        if row is None:
            return
        await self._counters.change(Put(row=row))
        del self._callers[partition]
        if len(self._listed) >= MAX_CALLERS:
            self._listed.clear()  # then some are listed once more, which changes nothing
        self._listed.add(partition)

    def _lose(self, partition: str, count: int) -> None:
        self._losses.add(count)
        self._rollups.forget(partition)  # the last transaction may have been written
        self._take(partition, count)

    def _lose_unwritable(self, partition: str) -> None:
        """Drop the calls whose rows cannot be made because of a bug; all that wait, if none of them is the cause."""
        lines = self._waiting.pop(partition)
        writable = deque(line for line in lines if line.is_writable)
        if len(writable) == len(lines):
            writable.clear()
        if writable:
            self._waiting[partition] = writable
        self._losses.add(len(lines) - len(writable))
        self._size -= len(lines) - len(writable)

    def _take(self, partition: str, count: int) -> None:
        lines = self._waiting[partition]
        for _ in range(count):
            lines.popleft()
        self._size -= count
        if not lines:
            del self._waiting[partition]


class _Losses:
    """Counts lost calls, and logs them at most once a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unlogged = 0
        self._logged_at: float | None = None
        self.count = 0

    def add(self, calls: int) -> None:
        self.count += calls
        self._unlogged += calls
        if self._logged_at is None or self._clock() - self._logged_at >= LOSS_LOG_SECONDS:
            self.log()

    def log(self) -> None:
        if self._unlogged:
            _log.error("%d calls are missing from the ledger: they could not be written", self._unlogged)
            self._unlogged = 0
            self._logged_at = self._clock()
