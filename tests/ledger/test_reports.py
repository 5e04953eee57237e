"""What finance asks: what did a team spend in a month, on which deployment, and how sure is that figure?"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.deployments.costs import Basis, Bill
from core.domain.errors import InvalidRequest
from core.domain.tokens import Tokens
from core.ledger import reports
from core.ledger.reports import Days
from core.storage.memory import MemoryTables
from core.storage.row_keys import BilledParty
from core.storage.tables import StoreUnavailable
from tests.limits.keeping import NOON, OCTOBER, TEAM_A, Process, calls_of, charge, entry, report
from tests.limits.statements import Statements

if TYPE_CHECKING:
    from core.ledger.entry import Entry
    from core.storage.tables import Tables

TEAM_B = BilledParty(id="team-b")
BOSS = BilledParty(id="team-a", is_admin=True)
"""An admin whose `sub` is the id of a key."""


def day(text: str) -> dt.datetime:
    """Noon of a day."""
    return dt.datetime.fromisoformat(f"{text}T12:00:00+00:00")


def days(first: str, last: str) -> Days:
    """From one day to another."""
    return Days(first=dt.date.fromisoformat(first), last=dt.date.fromisoformat(last))


def estimated(nanos: int, **fields: Any) -> Any:
    """A picture without a count of its tokens."""
    return charge(nanos, basis=Basis.ESTIMATE, tokens=None, **fields)


def possible(nanos: int, **fields: Any) -> Any:
    """An attempt that may have been billed."""
    return charge(nanos, basis=Basis.ESTIMATE, tokens=None, images=0, possible_images=1, possibly_billed=True, **fields)


async def lines(tables: Tables, group_by: str, which: Days = OCTOBER, **how: Any) -> list[tuple[object, int, float]]:
    """The lines of a report: what each is of, its calls, and its cost."""
    found = (await report(tables, group_by, which, **how)).as_json()["usage"]
    name = {"key": "key_id"}.get(group_by, group_by)
    return [(line[name], line["calls"], line["cost_usd"]) for line in found]


# ------------------------------------------------------------------------------------------------ the questions


async def test_what_did_each_team_spend(tables: Tables) -> None:
    """By key: what each spent in a month; an admin with the id of a key is another line."""
    await Process(tables).keep(
        entry(TEAM_A, charge(1_000_000_000), time=day("2026-10-01")),
        entry(TEAM_A, charge(250_000_000), time=day("2026-10-31")),
        entry(TEAM_B, charge(40_000_000)),
        entry(BOSS, charge(10_000_000)),
        entry(TEAM_A, charge(999), time=day("2026-09-30")),
        entry(TEAM_A, charge(999), time=day("2026-11-01")),
    )

    found = await report(tables)

    assert [("team-a", True, 0.01), ("team-a", False, 1.25), ("team-b", False, 0.04)] == [
        (line["key_id"], line["admin"], line["cost_usd"]) for line in found.as_json()["usage"]
    ]
    assert (4, 1.3) == (found.totals.calls, found.as_json()["totals"]["cost_usd"])


async def test_on_which_deployment(tables: Tables) -> None:
    """By deployment, for one key: money stands where it was spent, also where a call went on to a fallback."""
    await Process(tables).keep(
        entry(TEAM_A, charge(5, deployment="a"), deployment="a", deployment_used="a"),
        entry(
            TEAM_A,
            possible(70, deployment="a"),
            charge(300, deployment="b"),
            deployment="a",
            deployment_used="b",
        ),
        entry(TEAM_B, charge(1_000, deployment="a"), deployment="a", deployment_used="a"),
    )

    assert [("a", 1, 75e-9), ("b", 1, 300e-9)] == await lines(tables, "deployment", billed_party=TEAM_A)
    assert [("a", 2, 1_075e-9), ("b", 1, 300e-9)] == await lines(tables, "deployment")


async def test_on_which_day(tables: Tables) -> None:
    """By day, in order; days without a call have no line."""
    await Process(tables).keep(
        *(entry(time=day(text)) for text in ("2026-10-31", "2026-10-02", "2026-10-02", "2026-10-09"))
    )
    assert [("2026-10-02", 2), ("2026-10-09", 1), ("2026-10-31", 1)] == [
        line[:2] for line in await lines(tables, "day")
    ]


async def test_how_sure_is_the_figure(tables: Tables) -> None:
    """A figure says which part is estimated, which may not be billed at all, and how many calls have no known cost."""
    await Process(tables).keep(
        entry(TEAM_A, charge(1_000)),
        entry(TEAM_A, estimated(200)),
        entry(TEAM_A, possible(30), outcome="upstream_timeout", deployment_used=None),
        entry(TEAM_A, possible(4), charge(5_000)),
        entry(TEAM_A, charge(None, basis=Basis.UNKNOWN, tokens=None)),
        entry(TEAM_A, outcome="content_filter", deployment_used=None, bill=Bill()),
    )

    line = (await report(tables)).groups[0].as_json()

    assert {
        "key_id": "team-a",
        "admin": False,
        "calls": 6,
        "failed_calls": 2,
        "images": 4,
        "possible_images": 2,
        "tokens": {"text_in": 10, "image_in": 0, "image_out": 18, "text_out": 0},
        "cost_usd": 6_234e-9,
        "estimated_usd": 200e-9,
        "possibly_billed_usd": 34e-9,
        "possibly_billed_calls": 2,
        "unpriced_calls": 1,
    } == line


async def test_an_unknown_part(tables: Tables) -> None:
    """Where a part of a call has no known cost, its known part is in the sums, and the call is counted as unpriced."""
    unknown = charge(None, basis=Basis.UNKNOWN, deployment="a", tokens=None)
    await Process(tables).keep(entry(TEAM_A, unknown, charge(7, deployment="b"), deployment="a", deployment_used="b"))

    assert [("a", 0, 1), ("b", 7, 0)] == [
        (group.label["deployment"], group.totals.nanos, group.totals.unpriced_calls)
        for group in (await report(tables, "deployment")).groups
    ]
    assert [None] == [call["cost_usd"] for call in await calls_of(tables)]


async def test_checking_a_bill(tables: Tables) -> None:
    """The calls of a month add up to the report, deployment by deployment."""
    await Process(tables).keep(
        entry(TEAM_A, charge(10, deployment="a"), deployment_used="a"),
        entry(TEAM_A, possible(20, deployment="a"), charge(30, deployment="b"), deployment_used="b"),
        entry(TEAM_A, deployment_used=None, outcome="rejected", bill=Bill()),
    )

    spent: Counter[str] = Counter()
    for call in await calls_of(tables):
        for each in call["charges"] or [{"deployment": call["deployment_used"] or "", "nanos": call["nanos"]}]:
            spent[each["deployment"]] += each["nanos"]
    reported = {group.label["deployment"]: group.totals.nanos for group in (await report(tables, "deployment")).groups}
    assert {"a": 30, "b": 30} == +spent == +Counter(reported)


# ------------------------------------------------------------------------------------------------ ranges and pages


async def test_nothing(tables: Tables) -> None:
    """Where nobody called there are no lines, and the totals are 0."""
    empty = {**(await report(tables)).as_json()}
    assert ([], 0, 0.0, None) == (
        empty["usage"],
        empty["totals"]["calls"],
        empty["totals"]["cost_usd"],
        empty["next_cursor"],
    )
    assert ("2026-10-01", "2026-10-31", "key") == (empty["from"], empty["to"], empty["group_by"])
    assert [] == await calls_of(tables)


async def test_over_the_turn_of_a_year(tables: Tables) -> None:
    """A range may go over months and years; its first and last day belong to it."""
    times = ("2025-12-31", "2026-01-01", "2026-01-31", "2026-02-01", "2026-03-01", "2026-03-02")
    await Process(tables).keep(*(entry(time=day(text), event_id=text) for text in times))
    which = days("2026-01-01", "2026-03-01")
    assert ["2026-01-01", "2026-01-31", "2026-02-01", "2026-03-01"] == [
        line[0] for line in await lines(tables, "day", which)
    ]
    assert ["2026-01-01", "2026-01-31", "2026-02-01", "2026-03-01"] == [
        call["event_id"] for call in await calls_of(tables, days=which)
    ]


async def test_pages(tables: Tables) -> None:
    """Lines come in pages, each once, and each page has the totals of all."""
    await Process(tables).keep(*(entry(f"key-{number:02}") for number in range(7)))

    seen: list[str] = []
    cursor: str | None = None
    for size in (3, 3, 1):
        page = await report(tables, limit=3, cursor=cursor)
        seen.extend(group.label["key_id"] for group in page.groups)
        cursor = page.next_cursor
        assert (size, 7) == (len(page.groups), page.totals.calls)
    assert ([f"key-{number:02}" for number in range(7)], None) == (seen, cursor)


async def test_pages_of_calls(tables: Tables) -> None:
    """Calls come in pages, each once, over the months of the range."""
    times = [dt.datetime(2026, 10, 30, tzinfo=dt.UTC) + dt.timedelta(hours=9 * number) for number in range(12)]
    await Process(tables).keep(*(entry(time=time, event_id=str(number)) for number, time in enumerate(times)))
    statements, which = Statements(tables), days("2026-10-30", "2026-12-31")

    seen: list[Any] = []
    cursor: str | None = None
    for _ in range(9):
        page = await statements.calls(TEAM_A, which, limit=5, cursor=cursor)
        assert len(page.calls) <= 5
        seen.extend(values["event_id"] for values in page.calls)
        if (cursor := page.next_cursor) is None:
            break
    assert [str(number) for number in range(12)] == seen


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "2026-10", "2026-09~c~1790812800000", "2026-10~s~2026-10-05", "2026-10~c~1'", f"2026-10~c~{'9' * 13}"],
)
async def test_a_cursor_of_something_else(tables: Tables, cursor: str) -> None:
    """A cursor that is none, or of other days, is refused."""
    with pytest.raises(InvalidRequest) as error:
        await Statements(tables).calls(TEAM_A, OCTOBER, cursor=cursor)
    assert "cursor" == error.value.param


def test_too_many_days() -> None:
    """A range has at most 366 days, a leap year; and its end is not before its beginning."""
    assert 12 == len(days("2028-01-01", "2028-12-31").months)
    assert ["2026-10"] == days("2026-10-05", "2026-10-05").months
    for first, last in (("2027-01-01", "2028-01-02"), ("2026-10-05", "2026-10-04")):
        with pytest.raises(InvalidRequest) as error:
            days(first, last)
        assert "to" == error.value.param


@pytest.mark.parametrize(
    ("first", "last", "param"),
    [
        ("0001-01-01", "2026-10-01", "from"),
        ("1999-12-31", "2000-01-01", "from"),
        ("2199-12-31", "2200-01-01", "to"),
        ("9999-12-31", "9999-12-31", "from"),
    ],
)
def test_days_of_another_age(first: str, last: str, param: str) -> None:
    """Days on which no gateway can have run are refused; those at the edges are read like others."""
    with pytest.raises(InvalidRequest) as error:
        days(first, last)
    assert param == error.value.param
    assert ["2199-12"] == days("2199-12-31", "2199-12-31").months


async def test_too_much_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that would read too much is refused before it reads it; the same for one key is not."""
    tables = MemoryTables()
    await Process(tables).keep(*(entry(f"key-{number}") for number in range(4)))
    monkeypatch.setattr(reports, "MAX_READS", 3)
    with pytest.raises(InvalidRequest, match="from and to have 4 callers' months between them; ask for fewer days"):
        await report(tables)
    assert 1 == (await report(tables, billed_party=BilledParty(id="key-1"))).totals.calls


# ------------------------------------------------------------------------------------------------ how it reads


class _SlowTables(MemoryTables):
    """Tables that count how many reads are under way at once; a partition's read may fail."""

    def __init__(self, *, fails: str = "") -> None:
        super().__init__()
        self.at_once = self.most = 0
        self.fails = fails

    def table(self, name: str) -> Any:
        table = super().table(name)
        page = table.page

        async def slow(partition: str, **how: Any) -> Any:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            if partition.startswith(self.fails or "\x7f"):
                raise StoreUnavailable("down", perhaps_done=False)
            return await page(partition, **how)

        table.page = slow  # type: ignore[method-assign]
        return table


async def test_side_by_side() -> None:
    """Partitions are read side by side, 16 at once and no more."""
    tables = _SlowTables()
    await Process(tables).keep(*(entry(f"key-{number}") for number in range(40)))
    assert 40 == (await report(tables)).totals.calls
    assert reports.AT_ONCE == tables.most


async def test_the_store_is_down() -> None:
    """A report of which one part cannot be read is none: half a sum would be a wrong one."""
    tables = _SlowTables(fails="key-17")
    await Process(tables).keep(*(entry(f"key-{number}") for number in range(40)))
    with pytest.raises(StoreUnavailable):
        await report(tables)


# ------------------------------------------------------------------------------------------------ any calls

_ENTRIES = st.lists(
    st.builds(
        lambda billed_party, charges, at, answered, outcome: entry(
            billed_party,
            time=NOON + dt.timedelta(days=at),
            deployment_used=answered,
            outcome=outcome,
            bill=Bill(charges=tuple(charges)),
        ),
        st.sampled_from([TEAM_A, TEAM_B, BOSS]),
        st.lists(
            st.builds(
                charge,
                st.none() | st.integers(min_value=0, max_value=10**12),
                deployment=st.sampled_from("ab"),
                possibly_billed=st.booleans(),
                basis=st.sampled_from([Basis.USAGE, Basis.ESTIMATE]),
                tokens=st.none() | st.builds(Tokens, text_in=st.integers(0, 99), image_out=st.integers(0, 99)),
            ),
            max_size=3,
        ),
        st.integers(min_value=-3, max_value=3),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["picture", "left"]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(entries=_ENTRIES, processes=st.integers(min_value=1, max_value=3))
async def test_reports_add_up(entries: list[Entry], processes: int) -> None:
    """For any calls through any processes, every report adds up to the same totals, those of a plain sum."""
    tables = MemoryTables()
    running = [Process(tables) for _ in range(processes)]
    for number, each in enumerate(entries):
        running[number % processes].ledger.note(each)
    for process in running[: len(entries)]:
        await process.written()

    charges = [each for one in entries for each in one.bill.charges]
    for group_by in ("key", "deployment", "day"):
        found = await report(tables, group_by)
        assert len(entries) == found.totals.calls == sum(group.totals.calls for group in found.groups)
        assert sum(each.nanos or 0 for each in charges) == found.totals.nanos
        assert sum(each.nanos or 0 for each in charges if each.possibly_billed) == found.totals.possible_nanos
        assert sum(each.tokens.image_out for each in charges if each.tokens) == found.totals.image_out
        assert sum(one.bill.nanos is None for one in entries) == found.totals.unpriced_calls
        assert found.totals.nanos == sum(group.totals.nanos for group in found.groups)
