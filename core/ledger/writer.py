"""The ledger: one row for each call, written behind its back.

Nobody waits for it. Rows wait in memory, at most MOST_WAITING of them, and one task writes them, a transaction at a
time, for as long as there are any. While the store is down they go on waiting; what finds no room is lost, counted and
logged. A process that is killed loses what it had not written yet, and nothing else.
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
"""How long a call waits for others, to be written with them in one transaction and one row of sums. A process that is
killed loses so much more."""
MAX_WAITING: Final = 10_000
"""How many rows wait at most: 6 to 20 MB, and the calls of half an hour at five a second."""
FIRST_PAUSE: Final = 0.5
MAX_PAUSE: Final = 60.0
"""Seconds between two tries while the store cannot be reached; they double from the first to the longest."""
TELL_SECONDS: Final = 60.0
"""How often losses are logged at most."""
MAX_CALLERS: Final = 10_000

_log = logging.getLogger(__name__)


class LedgerWriter:
    """Keeps calls. Owned by the gateway, for as long as its process lives."""

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
        """By partition; the first of them is the next to be written."""
        self._size = 0
        self._rollups = Rollups()
        self._callers: dict[str, Row] = {}
        """Who has called, by the partition of their rows, and is not yet known to be listed."""
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
        """Keep a call. Never waits; to be called in an event loop."""
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
        self._losses.tell()

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
        pause = FIRST_PAUSE
        while self._waiting or self._last_used.is_due:
            try:
                await self._write_next()
            except StoreUnavailable as error:
                if pause == FIRST_PAUSE:
                    _log.warning("The ledger cannot be written now; calls wait until it can (%s)", error)
                await self._wait(pause)
                pause = min(MAX_PAUSE, 2 * pause)
            except Exception as fault:  # noqa: BLE001 -- what cannot be written must not hold up all that follows
                write_fault(fault, "ledger")
            else:
                pause = FIRST_PAUSE
        self._losses.tell()

    async def _write_next(self) -> None:
        """Write one transaction. After StoreUnavailable it still waits; after any other fault it is lost."""
        partition = next(iter(self._waiting), None)
        if partition is None:
            await self._last_used.write_one()
            return
        lines = self._waiting[partition] = self._waiting.pop(partition)  # the last again: no partition holds up others
        try:
            batch = self._rollups.batch(partition, lines)
        except Exception:
            self._lose_unsound(partition)
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
        self._rollups.written(batch, needed=self._waiting)

    async def _list_caller(self, partition: str) -> None:
        """List who has called, before the first of their rows, so that no report passes them over."""
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
        self._rollups.forget(partition)  # the last transaction may have been made all the same
        self._take(partition, count)

    def _lose_unsound(self, partition: str) -> None:
        """Lose the calls of which no row can be made, a fault of ours; if it is none of theirs, all that wait."""
        lines = self._waiting.pop(partition)
        sound = deque(line for line in lines if line.is_sound)
        if len(sound) == len(lines):
            sound.clear()
        if sound:
            self._waiting[partition] = sound
        self._losses.add(len(lines) - len(sound))
        self._size -= len(lines) - len(sound)

    def _take(self, partition: str, count: int) -> None:
        lines = self._waiting[partition]
        for _ in range(count):
            lines.popleft()
        self._size -= count
        if not lines:
            del self._waiting[partition]


class _Losses:
    """Counts what is lost, and says so in the log, once in a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._untold = 0
        self._told_at: float | None = None
        self.count = 0

    def add(self, calls: int) -> None:
        self.count += calls
        self._untold += calls
        if self._told_at is None or self._clock() - self._told_at >= TELL_SECONDS:
            self.tell()

    def tell(self) -> None:
        if self._untold:
            _log.error("%d calls are missing from the ledger: they could not be written", self._untold)
            self._untold = 0
            self._told_at = self._clock()
