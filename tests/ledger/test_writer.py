"""The ledger: one row for each call, written behind its back, whatever the store does."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

import pytest

from core.deployments.costs import Bill
from core.ledger.last_used import last_used
from core.ledger.totals import usd
from core.storage.memory import MemoryTables
from core.storage.row_keys import COUNTERS, LEDGER, BilledParty, callers_partition, month_of
from tests.limits.keeping import (
    DAY,
    NOON,
    OCTOBER,
    TEAM_A,
    Process,
    UnsteadyTables,
    calls_of,
    charge,
    entry,
    report,
)

if TYPE_CHECKING:
    from core.ledger.entry import Entry
    from core.storage.tables import Tables

LOGGER = "core.ledger.writer"


def event_ids(calls: list[dict[str, Any]]) -> list[str]:
    """Which calls these are."""
    return [call["event_id"] for call in calls]


# ------------------------------------------------------------------------------------------------ what is kept


async def test_a_call(tables: Tables) -> None:
    """A call is one row, with all that is known of it, and adds to the sums of its day."""
    await Process(tables).keep(entry())

    (call,) = await calls_of(tables)
    assert ("2026-10-05T12:00:00.000+00:00", "team-a", False, "picture") == (
        call["time"],
        call["key_id"],
        call["admin"],
        call["outcome"],
    )
    assert (0.007000001, "usage", False) == (call["cost_usd"], call["basis"], call["possibly_billed"])
    assert (1, usd(7_000_001)) == _calls_and_usd(await report(tables))


def _calls_and_usd(found: Any) -> tuple[int, float]:
    totals = found.as_json()["totals"]
    return totals["calls"], totals["cost_usd"]


async def test_order(tables: Tables) -> None:
    """Calls are read back in the order of the times at which they came in, however they were noted."""
    times = [NOON + dt.timedelta(seconds=seconds) for seconds in (30, 0, 10, 20)]
    await Process(tables).keep(*(entry(time=time, event_id=f"at {time:%S}") for time in times))
    assert ["at 00", "at 10", "at 20", "at 30"] == event_ids(await calls_of(tables))


async def test_a_full_transaction() -> None:
    """Calls that wait are written together, at most 100 changes at a time with the sums that hold them."""
    tables = UnsteadyTables(MemoryTables())
    await Process(tables).keep(*(entry(event_id=str(number)) for number in range(250)))

    assert [100, 100, 53] == tables.sizes
    assert 250 == len(await calls_of(tables))
    assert (250, usd(250 * 7_000_001)) == _calls_and_usd(await report(tables))


async def test_calls_that_come_together_are_written_together() -> None:
    """A call is not written at once, but with those that come within the time for gathering."""
    tables = UnsteadyTables(MemoryTables())
    process = Process(tables, gather_seconds=0.01)
    for number in range(3):
        process.ledger.note(entry(event_id=str(number)))
        await asyncio.sleep(0)
    await process.written()

    assert [3 + 1] == tables.sizes
    assert 3 == len(await calls_of(tables))


async def test_many_deployments_in_a_transaction() -> None:
    """Sums count towards the 100 changes of a transaction, too."""
    tables = UnsteadyTables(MemoryTables())
    await Process(tables).keep(*(entry(deployment_used=f"d{number}") for number in range(70)))
    assert [99, 43] == tables.sizes
    assert 70 == (await report(tables)).totals.calls


async def test_a_payer_is_listed_once() -> None:
    """What is known to be listed costs no transaction of its own again."""
    tables = UnsteadyTables(MemoryTables())
    process = Process(tables)
    await process.keep(entry(), entry(event_id="2"))
    await process.keep(entry(event_id="3"))
    await process.keep(entry("team-b"))
    partition = callers_partition(month_of(DAY))
    assert ["team-a", "team-b"] == [
        change.row.values["id"] for change in tables.elsewhere if change.row.partition == partition
    ]


async def test_writing_ends_with_the_last_row() -> None:
    """Nothing is left running once nothing waits, and writing begins again with the next call."""
    process = Process(MemoryTables())
    for _ in range(2):
        await process.keep(entry())
        assert 0 == process.ledger.waiting
        assert {asyncio.current_task()} == asyncio.all_tasks()
    assert 2 == len(await calls_of(process.tables))


async def test_nobody_waits() -> None:
    """Noting a call does not wait for the store, and neither for its answer to what was noted before."""
    tables = UnsteadyTables(MemoryTables())
    tables.gate = asyncio.Event()
    process = Process(tables)
    for _ in range(5):
        process.ledger.note(entry())
        await asyncio.sleep(0)
    assert (5, []) == (process.ledger.waiting, await calls_of(tables))

    tables.gate.set()
    await process.ledger.flush(60)
    assert 5 == len(await calls_of(tables))


# ------------------------------------------------------------------------------------------------ the store fails


async def test_down_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """While the store is down rows wait, longer each time; once it is back all are written, once. It is logged once."""
    tables = UnsteadyTables(MemoryTables(), *["down"] * 9)
    process = Process(tables)
    with caplog.at_level(logging.WARNING, LOGGER):
        process.ledger.note(entry(event_id="before"))
        await asyncio.sleep(0)
        process.ledger.note(entry(event_id="during"))
        await process.written()

    assert ["before", "during"] == sorted(event_ids(await calls_of(tables)))
    assert [0.5, 1, 2, 4, 8, 16, 32, 60, 60] == process.clock.waits
    assert ["The ledger cannot be written now; calls wait until it can (connection refused)"] == caplog.messages
    assert (2, 0) == ((await report(tables)).totals.calls, process.ledger.lost)


@pytest.mark.parametrize("script", [["perhaps"], ["perhaps", "perhaps"], ["perhaps", "down", "perhaps"]], ids=str)
async def test_an_answer_that_is_lost(tables: Tables, script: list[str]) -> None:
    """A transaction whose fate is unknown is made again, with what came since: all is there once."""
    unsteady = UnsteadyTables(tables, *script)
    process = Process(unsteady)
    process.ledger.note(entry(event_id="1"))
    await asyncio.sleep(0)
    process.ledger.note(entry(event_id="2"))
    await process.written()
    await process.keep(entry(event_id="3"))

    assert ["1", "2", "3"] == sorted(event_ids(await calls_of(tables)))
    assert (3, usd(3 * 7_000_001)) == _calls_and_usd(await report(tables))


async def test_one_key_does_not_hold_up_others() -> None:
    """Where the rows of one key cannot be written, those of others are tried next."""
    tables = UnsteadyTables(MemoryTables(), "down", "", "down")
    process = Process(tables)
    seen: list[list[int]] = []

    async def look() -> None:
        seen.append([len(await calls_of(tables, BilledParty(id=each))) for each in ("first", "second")])

    process.during_a_pause = look
    await process.keep(entry("first"), entry("second"))
    assert [[0, 0], [0, 1]] == seen


async def test_what_no_table_takes(caplog: pytest.LogCaptureFixture) -> None:
    """Rows that cannot be written are given up, counted and logged; what follows is written, with sums of its own."""
    tables = UnsteadyTables(MemoryTables(), "", "broken")
    process = Process(tables)
    await process.keep(entry(event_id="1"))
    with caplog.at_level(logging.ERROR):
        await process.keep(entry(event_id="2"))
    await process.keep(entry(event_id="3"))

    assert ["1", "3"] == sorted(event_ids(await calls_of(tables)))
    assert (2, 1) == ((await report(tables)).totals.calls, process.ledger.lost)
    assert any('"fault":"ValueError"' in message for message in caplog.messages)
    assert any(message.startswith("1 calls are missing from the ledger") for message in caplog.messages)


@pytest.mark.parametrize(
    "broken",
    [entry(outcome=None), entry(TEAM_A, *[charge(possible_images=None)] * 2)],
    ids=["no row can be made", "no sums can be made"],
)
async def test_a_call_that_cannot_be_made_ready(caplog: pytest.LogCaptureFixture, broken: Entry) -> None:
    """A fault of ours in one call is not met again and again: it is lost, and said, and all others are written."""
    tables = MemoryTables()
    process = Process(tables)
    with caplog.at_level(logging.ERROR):
        await process.keep(*(entry(event_id=str(number)) for number in range(3)), broken, entry(event_id="3"))

    assert ["0", "1", "2", "3"] == sorted(event_ids(await calls_of(tables)))
    assert (0, 1) == (process.ledger.waiting, process.ledger.lost)
    assert any('"fault":"TypeError"' in message for message in caplog.messages)


async def test_no_more_room(caplog: pytest.LogCaptureFixture) -> None:
    """What finds no room is lost: counted, and logged with its number at most once a minute. What had room is kept."""
    tables = UnsteadyTables(MemoryTables(), "down")
    tables.gate = asyncio.Event()
    process = Process(tables, max_waiting=10)
    with caplog.at_level(logging.ERROR, LOGGER):
        for number in range(15):
            process.ledger.note(entry(event_id=str(number)))
        process.clock.pass_by(60)
        process.ledger.note(entry())
        process.ledger.note(entry())
        tables.gate.set()
        await process.ledger.flush(60)

    assert ([str(number) for number in range(10)], 7) == (
        sorted(event_ids(await calls_of(tables)), key=int),
        process.ledger.lost,
    )
    assert ["1", "5", "1"] == [message.split()[0] for message in caplog.messages]
    assert 10 == (await report(tables)).totals.calls


async def test_the_end_of_a_process() -> None:
    """At the end of the process a long pause is cut short, and what waits is written."""
    tables = UnsteadyTables(MemoryTables(), "down")
    process = Process(tables, pauses_for_ever=True)
    process.ledger.note(entry())
    await process.paused.wait()

    await process.ledger.flush(60)

    assert (1, 0) == (len(await calls_of(tables)), process.ledger.lost)


async def test_the_end_of_a_process_while_the_store_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written in the time that the end has is lost, and the log has the number."""
    tables = UnsteadyTables(MemoryTables())
    tables.gate = asyncio.Event()
    process = Process(tables)
    for _ in range(3):
        process.ledger.note(entry())
    with caplog.at_level(logging.ERROR, LOGGER):
        await process.ledger.flush(0.01)

    assert (0, 3) == (process.ledger.waiting, process.ledger.lost)
    assert ["3 calls are missing from the ledger: they could not be written"] == caplog.messages
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_flushing_nothing() -> None:
    """A process that kept nothing ends at once."""
    await Process(MemoryTables()).ledger.flush(60)


@pytest.mark.parametrize("fate", ["down", "perhaps"])
async def test_a_process_that_is_killed(tables: Tables, fate: str) -> None:
    """A process that is killed loses what it had not written, and nothing else; the sums say what the rows say."""
    killed = Process(UnsteadyTables(tables, "", fate), pauses_for_ever=True)
    await killed.keep(entry(event_id="1"))
    killed.ledger.note(entry(event_id="2"))
    await killed.paused.wait()
    killed.kill()

    await Process(tables).keep(entry(event_id="3"))

    kept = ["1", "3"] if fate == "down" else ["1", "2", "3"]
    assert kept == sorted(event_ids(await calls_of(tables)))
    assert len(kept) == (await report(tables)).totals.calls


# ------------------------------------------------------------------------------------------------ several processes


async def test_two_processes(tables: Tables) -> None:
    """The sums of several processes add up exactly, also where they write at the same time."""
    processes = [Process(tables) for _ in range(2)]
    await asyncio.gather(
        *(
            process.keep(*(entry(TEAM_A, charge(nanos)) for nanos in range(start, start + 60)))
            for process, start in zip(processes, (1, 1_000), strict=True)
        )
    )
    await processes[0].keep(entry(TEAM_A, charge(1)))

    expected = sum(range(1, 61)) + sum(range(1_000, 1_060)) + 1
    found = await report(tables)
    assert (121, expected) == (found.totals.calls, found.totals.nanos)
    assert 121 == len(await calls_of(tables))


async def test_the_turn_of_a_day(tables: Tables) -> None:
    """A call belongs to the day in UTC on which it came in, and midnight belongs to the new one."""
    last = dt.datetime(2026, 10, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC)
    await Process(tables).keep(
        entry(time=last, event_id="october"), entry(time=last + dt.timedelta(milliseconds=1), event_id="november")
    )

    assert ["october"] == event_ids(await calls_of(tables))
    assert {"day": "2026-10-31"} == (await report(tables, "day")).groups[0].label
    assert 1 == (await report(tables)).totals.calls


async def test_another_zone(tables: Tables) -> None:
    """The day is that of UTC, whatever zone the clock is in."""
    tokyo = dt.datetime(2026, 11, 1, 8, 59, tzinfo=dt.timezone(dt.timedelta(hours=9)))
    await Process(tables).keep(entry(time=tokyo))
    assert 1 == len(await calls_of(tables))


ODD = {
    "a key with every sign": "".join(map(chr, range(0x21, 0x7F))),
    "an e-mail address": "alice@example.com",
    "unicode": "Zoë/張三#🦊",
    "1,000 characters": "é" * 1_000,
    "128 signs": "#" * 128,
    "what looks like a place": "callers~2026-10",
    "half a character": "a\ud800b",
    "one space": " ",
}


@pytest.mark.parametrize("sub", ODD.values(), ids=ODD)
async def test_odd_ids(tables: Tables, sub: str) -> None:
    """Whatever stands in an admin's `sub`, or a key's id, its calls are kept and found under it."""
    for billed_party in (BilledParty(id=sub), BilledParty(id=sub, is_admin=True)):
        await Process(tables).keep(entry(billed_party))
        assert 1 == len(await calls_of(tables, billed_party))
    shown = sub.encode(errors="replace").decode()
    assert [(shown, False), (shown, True)] == sorted(
        (group.label["key_id"], group.label["admin"]) for group in (await report(tables)).groups
    )


async def test_long_ids_are_told_apart(tables: Tables) -> None:
    """Ids that differ in their last character only are two payers."""
    payers = [BilledParty(id="x" * 5_000 + last) for last in "ab"]
    await Process(tables).keep(*(entry(billed_party) for billed_party in payers))
    assert [1, 1] == [len(await calls_of(tables, billed_party)) for billed_party in payers]
    assert 2 == len((await report(tables)).groups)


# ------------------------------------------------------------------------------------------------ when last used


async def test_last_used(tables: Tables) -> None:
    """A key's last use is kept in a row of its own, at most once a minute; admins have none."""
    process = Process(tables)
    counters = tables.table(COUNTERS)
    assert await last_used(counters, "team-a") is None

    seen = []
    for seconds in (0, 30, 59, 60, 200):
        await process.keep(entry(time=NOON + dt.timedelta(seconds=seconds)))
        at = await last_used(counters, "team-a")
        assert at is not None
        seen.append((at - NOON).total_seconds())
    await process.keep(entry(BilledParty(id="boss", is_admin=True)))

    assert [0, 0, 0, 60, 200] == seen
    assert await last_used(counters, "boss") is None


async def test_last_used_is_written_after_an_outage() -> None:
    """While the store is down the last use waits, too."""
    tables = UnsteadyTables(MemoryTables(), "down", "down")
    process = Process(tables)
    process.ledger.note(entry())
    await process.written()
    await process.ledger.flush(60)
    assert NOON == await last_used(tables.table(COUNTERS), "team-a")


# ------------------------------------------------------------------------------------------------ bounds


async def test_old_sums_are_let_go() -> None:
    """Of the many keys of a long-lived process only the latest are held in memory; later calls begin new sums."""
    tables = MemoryTables()
    process = Process(tables)
    process.ledger._rollups._most_partitions = 2
    for _ in range(2):
        for number in range(5):
            await process.keep(entry(f"key-{number}"))

    assert 2 == len(process.ledger._rollups._rows)
    assert [2] * 5 == [group.totals.calls for group in (await report(tables)).groups]


async def test_made_up_names() -> None:
    """However many deployments a caller names, few sums are held in memory, and those that are let go are not lost."""
    tables = MemoryTables()
    process = Process(tables)
    process.ledger._rollups._most_rows = 20
    for start in range(0, 100, 10):
        await process.keep(
            *(entry(deployment_used=None, deployment=f"d{start + number}", bill=Bill()) for number in range(10))
        )

    assert len(process.ledger._rollups._rows["team-a~2026-10"]) <= 20
    assert (100, 100) == ((await report(tables, "deployment")).totals.calls, len(await calls_of(tables)))


async def test_what_the_rows_hold(tables: Tables) -> None:
    """Nothing is in the ledger's rows but what is listed here: no prompt, no picture, no key."""
    await Process(tables).keep(entry(n=1, size="auto", quality="low", family="gpt-image-2", status=200))
    page = await tables.table(LEDGER).page(f"team-a~{DAY:%Y-%m}")
    call, totals = page.rows
    assert {
        *("time", "key_id", "deployment", "deployment_used", "family", "n", "size", "quality", "outcome", "status"),
        *("attempts", "latency_ms", "images", "text_in", "image_in", "image_out", "text_out", "nanos", "basis"),
        *("possibly_billed", "event_id", "stream"),
    } == set(call.values)
    assert {"day", "deployment", "calls", "images", "text_in", "image_out", "nanos"} == set(totals.values)
    assert OCTOBER.first <= DAY <= OCTOBER.last
