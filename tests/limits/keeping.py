"""Entries for a ledger, a process that keeps one, tables that fail on request, and reading back what was kept."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

from core.deployments.costs import Basis, Bill, Charge
from core.domain.tokens import Tokens
from core.ledger.entry import Entry
from core.ledger.reports import Days, GroupBy, UsageReports
from core.ledger.writer import LedgerWriter
from core.storage.row_keys import BilledParty
from core.storage.tables import MAX_ROWS_PER_PAGE, StoreUnavailable
from tests.fakes import Clock
from tests.limits.statements import Statements
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.ledger.reports import Report
    from core.storage.tables import Change, Page, Row, Table, Tables

NOON = dt.datetime(2026, 10, 5, 12, tzinfo=dt.UTC)
DAY = NOON.date()
OCTOBER = Days(first=dt.date(2026, 10, 1), last=dt.date(2026, 10, 31))
TEAM_A = BilledParty(id="team-a")


def charge(nanos: int | None = 7_000_001, **fields: Any) -> Charge:
    """What one deployment is charged; by default one picture by its usage."""
    given = {"deployment": "gpt-image-2", "basis": Basis.USAGE, "images": 1, "tokens": Tokens(text_in=5, image_out=9)}
    return Charge(nanos=nanos, **{**given, **fields})


def entry(billed_party: BilledParty | str = TEAM_A, *charges: Charge, time: dt.datetime = NOON, **fields: Any) -> Entry:
    """A call, by default one that drew a picture."""
    given: dict[str, Any] = {
        "deployment": "gpt-image-2",
        "deployment_used": "gpt-image-2",
        "outcome": "picture",
        "attempts": 1,
        "event_id": "event-1",
        "bill": Bill(charges=charges or (charge(),)),
        **fields,
    }
    return Entry(
        billed_party=billed_party if isinstance(billed_party, BilledParty) else BilledParty(id=billed_party),
        time=time,
        **given,
    )


class Process:
    """A process with a ledger, whose pauses take no time, or never end."""

    def __init__(self, tables: Tables, *, pauses_for_ever: bool = False, **settings: Any) -> None:
        self.tables = tables
        self.clock = Clock()
        self.paused = asyncio.Event()
        """There was a pause."""
        self.during_a_pause: Callable[[], Awaitable[None]] | None = None
        self._pauses_for_ever = pauses_for_ever
        self.ledger = LedgerWriter(tables, clock=self.clock, wait=self._pause, **{"gather_seconds": 0, **settings})

    async def _pause(self, seconds: float) -> None:
        await self.clock.wait(seconds)
        self.paused.set()
        if self._pauses_for_ever:
            await asyncio.Event().wait()
        if self.during_a_pause is not None:
            await self.during_a_pause()

    async def keep(self, *entries: Entry) -> None:
        """Note calls, and see them written, or given up."""
        for each in entries:
            self.ledger.note(each)
        await self.written()

    async def written(self) -> None:
        """Wait until nothing is being written."""
        assert self.ledger._writer is not None
        async with asyncio.timeout(HANGS_SECONDS):
            await self.ledger._writer

    def kill(self) -> None:
        """Let it do nothing more."""
        assert self.ledger._writer is not None
        self.ledger._writer.cancel()


async def calls_of(tables: Tables, billed_party: BilledParty = TEAM_A, days: Days = OCTOBER) -> list[dict[str, Any]]:
    """All calls of a payer, as JSON."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await Statements(tables).calls(billed_party, days, limit=MAX_ROWS_PER_PAGE, cursor=cursor)
        found.extend(page.as_json()["calls"])
        if (cursor := page.next_cursor) is None:
            return found


async def report(tables: Tables, group_by: str = "key", days: Days = OCTOBER, **how: Any) -> Report:
    """A report."""
    return await UsageReports(tables).report(days, group_by=GroupBy(group_by), **how)


class UnsteadyTables:
    """Tables whose changes fail as the script says, one word for each; after that they are made.

    `down`: not made. `perhaps`: made, and the answer is lost. `broken`: a fault of the program.
    """

    def __init__(self, tables: Tables, *script: str) -> None:
        self._tables = tables
        self.script = list(script)
        self.sizes: list[int] = []
        """How many changes each transaction had that was tried on the ledger's own table."""
        self.elsewhere: list[Change] = []
        """All changes of other tables."""
        self.gate: asyncio.Event | None = None
        """Waited for before each change."""

    def table(self, name: str) -> _UnsteadyTable:
        return _UnsteadyTable(self, name, self._tables.table(name))


class _UnsteadyTable:
    def __init__(self, tables: UnsteadyTables, name: str, table: Table) -> None:
        self._tables = tables
        self._name = name
        self._table = table

    async def get(self, partition: str, key: str) -> Row | None:
        return await self._table.get(partition, key)

    async def page(
        self, partition: str, *, first: str = "", before: str | None = None, limit: int = MAX_ROWS_PER_PAGE
    ) -> Page:
        return await self._table.page(partition, first=first, before=before, limit=limit)

    async def change(self, *changes: Change) -> Sequence[Row]:
        if self._tables.gate is not None:
            await self._tables.gate.wait()
        if self._name != "GatewayLedger":
            self._tables.elsewhere.extend(changes)
            return await self._table.change(*changes)
        self._tables.sizes.append(len(changes))
        match self._tables.script.pop(0) if self._tables.script else "":
            case "down":
                raise StoreUnavailable("connection refused", perhaps_done=False)
            case "perhaps":
                await self._table.change(*changes)
                raise StoreUnavailable("no answer in time", perhaps_done=True)
            case "broken":
                raise ValueError("a row that no table takes")
            case _:
                return await self._table.change(*changes)
