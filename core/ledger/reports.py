"""Reports of what was used and what it cost, from the totals in the ledger, by key, deployment or day.

A report reads one range of keys for each billed party and month, some at a time, and never the calls themselves.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.domain.errors import InvalidRequest
from core.ledger.totals import Totals
from core.storage import row_keys
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

    from core.storage.row_keys import BilledParty
    from core.storage.tables import Row, Table, Tables, Value

EARLIEST: Final = dt.date(2000, 1, 1)
LATEST: Final = dt.date(2199, 12, 31)
MAX_DAYS: Final = 366
MAX_READS: Final = 20_000
"""How many billed parties' months one report reads: with 16 at once, and some 5 ms each, about 6 seconds."""
AT_ONCE: Final = 16


class GroupBy(StrEnum):
    """What a report has a line for."""

    KEY = "key"
    DEPLOYMENT = "deployment"
    DAY = "day"


class Days(Struct, frozen=True, kw_only=True):
    """Whole days in UTC, including the last one.

    Raises InvalidRequest where they are too many, or none, or long before or after this gateway can have run.
    """

    first: dt.date
    last: dt.date

    def __post_init__(self) -> None:
        for name, day in (("from", self.first), ("to", self.last)):
            if not EARLIEST <= day <= LATEST:
                raise InvalidRequest(f"{name} must be from {EARLIEST} to {LATEST}, got {day}", param=name)
        if self.last < self.first:
            raise InvalidRequest(f"to must not be before from, {self.first}, got {self.last}", param="to")
        if (self.last - self.first).days >= MAX_DAYS:
            raise InvalidRequest(f"to must be at most {MAX_DAYS - 1} days after from, {self.first}", param="to")

    @property
    def months(self) -> list[str]:
        """The months in which they lie."""
        return list(row_keys.months(self.first, self.last))


class Group(Struct, frozen=True, kw_only=True):
    """One line of a report."""

    name: str
    """Lines are sorted by it."""
    label: Mapping[str, Any]
    """What it is of: `key_id` and `admin`, `deployment`, or `day`."""
    totals: Totals

    def as_json(self) -> dict[str, Any]:
        """The line as the admin API gives it."""
        return {**self.label, **self.totals.as_json()}


class Report(Struct, frozen=True, kw_only=True):
    """A page of lines, and the totals of all pages."""

    days: Days
    group_by: GroupBy
    groups: tuple[Group, ...]
    totals: Totals
    next_cursor: str | None
    """Where the next page begins; None: this was the last."""

    def as_json(self) -> dict[str, Any]:
        """The report as the admin API gives it."""
        return {
            "from": self.days.first.isoformat(),
            "to": self.days.last.isoformat(),
            "group_by": str(self.group_by),
            "usage": [group.as_json() for group in self.groups],
            "totals": self.totals.as_json(),
            "next_cursor": self.next_cursor,
        }


class _Month(Struct, frozen=True, kw_only=True):
    """One billed party's month: where its rows are, and the line of a report by key that it belongs to."""

    partition: str
    line: str
    label: Mapping[str, Any]


class UsageReports:
    """Makes reports."""

    def __init__(self, tables: Tables) -> None:
        self._ledger = tables.table(row_keys.LEDGER)
        self._counters = tables.table(row_keys.COUNTERS)

    async def report(
        self,
        days: Days,
        *,
        group_by: GroupBy,
        billed_party: BilledParty | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Report:
        """Report what was used on some days, by one billed party or by all: at most `limit` lines from `cursor` on.

        Raises StoreUnavailable, and InvalidRequest for more than can be read at once.
        """
        wanted = await self._callers(days) if billed_party is None else _one(billed_party, days)
        if len(wanted) > MAX_READS:
            raise InvalidRequest(
                f"from and to have {len(wanted):,} callers' months between them; ask for fewer days", param="to"
            )
        grouping = _Grouping(group_by)
        await self._read_all(wanted, days, grouping)
        names = sorted(name for name in grouping.groups if cursor is None or name > cursor)
        return Report(
            days=days,
            group_by=group_by,
            groups=tuple(grouping.groups[name] for name in names[:limit]),
            totals=grouping.totals,
            next_cursor=names[limit - 1] if len(names) > limit else None,
        )

    async def _callers(self, days: Days) -> list[_Month]:
        """Who has called, in which months."""
        return [
            _Month(
                partition=row_keys.partition_of(row.key, month),
                line=row.key,
                label={"key_id": row.values["id"], "admin": row.values["admin"]},
            )
            for month in days.months
            async for row in _rows(self._counters, row_keys.callers_partition(month))
        ]

    async def _read_all(self, wanted: Sequence[_Month], days: Days, grouping: _Grouping) -> None:
        """Read the sums of all billed parties' months, some side by side."""
        left = iter(wanted)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(wanted))):
                    group.create_task(self._read(left, days, grouping))
        except* StoreUnavailable as unavailable:
            raise _first(unavailable) from None

    async def _read(self, left: Iterator[_Month], days: Days, grouping: _Grouping) -> None:
        """Take one billed party's month after the other, for as long as there are any."""
        first, before = row_keys.rollup_range(days.first, days.last)
        for month in left:
            async for row in _rows(self._ledger, month.partition, first=first, before=before):
                grouping.add(month, row.values)


class _Grouping:
    """Adds up rows of sums."""

    def __init__(self, group_by: GroupBy) -> None:
        self._group_by = group_by
        self.groups: dict[str, Group] = {}
        self.totals = Totals()

    def add(self, month: _Month, values: Mapping[str, Value]) -> None:
        totals = Totals.from_values(values)
        name, label = self._line(month, values)
        held = self.groups.get(name)
        self.groups[name] = Group(name=name, label=label, totals=totals if held is None else held.totals + totals)
        self.totals += totals

    def _line(self, month: _Month, values: Mapping[str, Value]) -> tuple[str, Mapping[str, Any]]:
        """The line of a report that a row belongs to: its name and its label."""
        match self._group_by:
            case GroupBy.KEY:
                return month.line, month.label
            case GroupBy.DEPLOYMENT:
                return row_keys.key_part(str(values["deployment"])), {"deployment": values["deployment"]}
            case GroupBy.DAY:
                return str(values["day"]), {"day": values["day"]}


def _one(billed_party: BilledParty, days: Days) -> list[_Month]:
    label = {"key_id": billed_party.id, "admin": billed_party.is_admin}
    return [
        _Month(partition=row_keys.partition_of(billed_party.name, month), line=billed_party.name, label=label)
        for month in days.months
    ]


async def _rows(table: Table, partition: str, *, first: str = "", before: str | None = None) -> AsyncGenerator[Row]:
    """Read all rows of a range of keys, page by page. Raises StoreUnavailable."""
    following: str | None = first
    while following is not None:
        page = await table.page(partition, first=following, before=before)
        for row in page.rows:
            yield row
        following = page.next_key


def _first(group: BaseExceptionGroup[StoreUnavailable]) -> StoreUnavailable:
    first = group.exceptions[0]
    return first if isinstance(first, StoreUnavailable) else _first(first)
