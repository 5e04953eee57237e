"""The queue of a key: all calls are served together, and none is answered before the quota is written."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from core.domain.errors import LimitsUnavailable, RateLimited
from core.limits.admission_queue import (
    MAX_FAILURES,
    MAX_RACE_SECONDS,
    MAX_RACES,
    MAX_SETTLEMENT_SECONDS,
    MAX_SETTLEMENTS,
    AdmissionQueue,
)
from core.limits.quota_store import QuotaStore
from core.limits.reservations import Denied, Granted
from core.storage.tables import Put, Row
from tests.limits.asking import NOW, ask, make_limits, settlement
from tests.limits.shaky import Fault, ShakyTable, a_moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.limits.quota import Quota
    from core.limits.reservations import ReservationRequest, Settlement

KEY = "team-a"


@dataclass
class Process:
    """One process with a queue for the key, over a table that others share."""

    table: ShakyTable
    wait: Callable[[float], Awaitable[None]] = a_moment
    max_wait_seconds: float = 5.0
    rests: int = 0
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = AdmissionQueue(
            QuotaStore(self.table, KEY),
            now=lambda: NOW,
            wait=self._wait,
            chance=lambda: 0.5,
            max_wait_seconds=self.max_wait_seconds,
            on_idle=self._rest,
        )

    async def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.wait(seconds)

    def _rest(self) -> None:
        self.rests += 1

    async def at_rest(self) -> None:
        """Until nobody waits in the queue any more."""
        while self.queue.task is not None and not self.queue.task.done():
            await asyncio.wait({self.queue.task})


def settled(
    asked: ReservationRequest, granted: Granted | Denied, *, images: int | None = None, nanos: int = 0
) -> Settlement:
    assert isinstance(granted, Granted)
    return settlement(asked, granted.reservation, images=images, nanos=nanos)


async def account(table: ShakyTable) -> Quota:
    """The account as it is kept."""
    return (await QuotaStore(table.inner, KEY).read()).quota


async def in_flight(table: ShakyTable) -> int:
    return (await account(table)).status(NOW, make_limits(images=1)).in_flight


async def drawn(table: ShakyTable, *, limit: int = 1000) -> int:
    """How many pictures count."""
    status = (await account(table)).status(NOW, make_limits(images=limit)).images
    assert status is not None
    return limit - status.remaining


async def test_a_lone_call_costs_two_round_trips() -> None:
    """One read and one write let a call through, and the same settle it, for a new account and a known one."""
    process = Process(ShakyTable())
    for number in (1, 2):
        asked = ask(make_limits(images=10))
        granted = await process.queue.admit(asked)
        assert (2 * number - 1, 2 * number - 1) == process.table.round_trips
        process.queue.settle(settled(asked, granted))
        await process.at_rest()
        assert (2 * number, 2 * number) == process.table.round_trips


async def test_a_denial_costs_one_round_trip() -> None:
    """Who is not let through changes nothing, so nothing is written."""
    process = Process(ShakyTable())
    denied = await process.queue.admit(ask(make_limits(images=1), images=2))
    assert isinstance(denied, Denied)
    assert isinstance(denied.error, RateLimited)
    assert (1, 0) == process.table.round_trips


async def test_calls_at_the_same_time_share_the_round_trips() -> None:
    """Fifty calls of one process are served in one round, the oldest first, and exactly as many as may get through."""
    process = Process(ShakyTable())
    answers = await asyncio.gather(*(process.queue.admit(ask(make_limits(images=20))) for _ in range(50)))
    assert [True] * 20 + [False] * 30 == [isinstance(answer, Granted) for answer in answers]
    assert (1, 1) == process.table.round_trips


async def test_who_comes_while_the_account_is_read_is_served_with_it() -> None:
    """What has been read is good for everybody until it is written."""
    process = Process(ShakyTable())
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reading.set()
        await go_on.wait()

    process.table.before_read = hold
    first = asyncio.create_task(process.queue.admit(ask(make_limits(images=20))))
    await reading.wait()
    second = asyncio.create_task(process.queue.admit(ask(make_limits(images=20))))
    await asyncio.sleep(0)
    go_on.set()
    assert all(isinstance(answer, Granted) for answer in await asyncio.gather(first, second))
    assert (1, 1) == process.table.round_trips


async def test_what_is_given_back_is_there_for_the_call_that_comes_with_it() -> None:
    """In one round settlements come before calls."""
    process = Process(ShakyTable())
    limits = make_limits(images=4)
    asked = ask(limits, images=4)
    granted = await process.queue.admit(asked)
    process.queue.settle(settled(asked, granted, images=0))
    assert isinstance(await process.queue.admit(ask(limits, images=4)), Granted)
    assert (2, 2) == process.table.round_trips


async def test_another_process_was_faster() -> None:
    """A write that comes too late is decided anew from what is there now."""
    one = Process(ShakyTable())
    other = Process(ShakyTable(one.table.inner))

    async def come_between() -> None:
        if one.table.writes == 1:
            await other.queue.admit(ask(make_limits(images=2), images=2))

    one.table.before_write = come_between
    answer = await one.queue.admit(ask(make_limits(images=2)))
    assert isinstance(answer, Denied)
    assert ((2, 1), 2) == (one.table.round_trips, await drawn(one.table))


async def test_a_call_that_always_loses_is_turned_away() -> None:
    """Waits between tries double up to a bound; after so many tries the call is told that limits cannot be checked."""
    table = ShakyTable(faults=dict.fromkeys(range(1000), Fault.OVERTAKEN))
    await QuotaStore(table.inner, KEY).write(await QuotaStore(table.inner, KEY).read())
    process = Process(table)
    with pytest.raises(LimitsUnavailable):
        await process.queue.admit(ask(make_limits(images=2)))
    await process.at_rest()
    assert table.writes == MAX_RACES
    assert [0.005, 0.01, 0.02, 0.04, 0.05] == pytest.approx(process.waits[:5])
    assert MAX_RACE_SECONDS / 2 == max(process.waits)
    assert await in_flight(table) == 0


async def test_a_store_that_is_down_turns_calls_away() -> None:
    """After three tries a call is told that limits cannot be checked; nothing goes on after that."""
    process = Process(ShakyTable())
    process.table.down = True
    with pytest.raises(LimitsUnavailable) as denied:
        await process.queue.admit(ask(make_limits(images=2)))
    assert (503, "limits_unavailable", "5") == (
        denied.value.status,
        denied.value.code,
        denied.value.headers["retry-after"],
    )
    assert (MAX_FAILURES, 0) == process.table.round_trips
    await process.at_rest()
    assert ([0.25, 0.5], 1) == (process.waits, process.rests)


async def test_a_store_that_is_down_once_is_asked_again() -> None:
    """A failure in between is not the caller's to bear."""
    process = Process(ShakyTable(faults={0: Fault.REFUSED, 2: Fault.REFUSED}))
    assert isinstance(await process.queue.admit(ask(make_limits(images=2))), Granted)
    assert await drawn(process.table) == 1


async def test_a_store_that_hangs_turns_calls_away() -> None:
    """A call waits a bounded time, whatever the store does; if it answers later, what was reserved is given back."""
    process = Process(ShakyTable(), max_wait_seconds=0.01)
    answers = asyncio.Event()
    process.table.before_write = answers.wait  # type: ignore[assignment]
    with pytest.raises(LimitsUnavailable):
        await process.queue.admit(ask(make_limits(images=2)))
    answers.set()
    await process.at_rest()
    assert (0, 0) == (await in_flight(process.table), await drawn(process.table))


async def test_what_was_perhaps_reserved_is_given_back() -> None:
    """A call that is turned away after a write whose answer was lost has reserved nothing in the end."""
    process = Process(ShakyTable(faults={1: Fault.ANSWER_LOST, 2: Fault.REFUSED, 3: Fault.REFUSED}))
    with pytest.raises(LimitsUnavailable):
        await process.queue.admit(ask(make_limits(images=2)))
    assert await in_flight(process.table) == 1
    await process.at_rest()
    assert (0, 0) == (await in_flight(process.table), await drawn(process.table))


@pytest.mark.parametrize("when", ["before", "reading", "writing", "answered"])
async def test_a_caller_that_leaves_keeps_nothing(when: str) -> None:
    """Whenever a caller is cancelled, what was or would have been reserved is free again at once."""
    process = Process(ShakyTable())
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await go_on.wait()

    if when == "reading":
        process.table.before_read = hold
    elif when in {"writing", "answered"}:
        process.table.before_write = hold
    call = asyncio.create_task(process.queue.admit(ask(make_limits(images=2), images=2)))
    if when == "before":
        await asyncio.sleep(0)
    else:
        await reached.wait()
    if when == "answered":
        go_on.set()
        assert process.queue.task is not None
        # The answer is there in the step in which the write returns; the caller would hear of it in the next.
        process.queue.task.add_done_callback(lambda _: call.cancel())
    else:
        call.cancel()
        go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    await process.at_rest()
    if when == "reading":
        assert process.table.writes == 0
    assert (0, 0) == (await in_flight(process.table), await drawn(process.table))


async def test_settlements_wait_for_the_store() -> None:
    """They are tried again and again, after longer and longer rests, until they are kept."""
    process = Process(ShakyTable())
    asked = ask(make_limits(images=10), images=3)
    granted = await process.queue.admit(asked)
    process.table.down = True
    tries = itertools.count()

    async def rest(_seconds: float) -> None:
        process.table.down = next(tries) < 10
        await asyncio.sleep(0)

    process.wait = rest
    process.queue.settle(settled(asked, granted, images=1))
    await process.at_rest()
    assert (0, 1) == (await in_flight(process.table), await drawn(process.table))
    assert [0.25, 0.5, 1, 2, 4, 8, 15, 15] == process.waits[:8]
    assert MAX_SETTLEMENT_SECONDS / 2 == max(process.waits)


async def test_a_call_wakes_settlements() -> None:
    """While settlements rest, a call that comes is served at once, and they with it."""
    process = Process(ShakyTable())
    asked = ask(make_limits(images=3), images=3)
    granted = await process.queue.admit(asked)
    resting = asyncio.Event()

    async def rest(_seconds: float) -> None:
        resting.set()
        await asyncio.Event().wait()

    process.wait = rest
    process.table.down = True
    process.queue.settle(settled(asked, granted, images=0))
    await resting.wait()
    process.table.down = False
    assert isinstance(await process.queue.admit(ask(make_limits(images=3), images=3)), Granted)
    await process.at_rest()
    assert await drawn(process.table) == 3


async def test_settlements_that_find_no_room_are_lost(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond a bound they are counted and logged, and their reservations end with their leases."""
    process = Process(ShakyTable())
    asked = ask(make_limits(images=10))
    granted = await process.queue.admit(asked)

    async def rest(_seconds: float) -> None:
        await asyncio.Event().wait()

    process.wait = rest
    process.table.down = True
    for _ in range(MAX_SETTLEMENTS + 1):
        process.queue.settle(settled(asked, granted))
    assert process.queue.lost == 1
    assert "Settlements lost: 1" in caplog.text
    assert process.queue.task is not None
    process.queue.task.cancel()
    await process.at_rest()
    await asyncio.sleep(0)
    assert MAX_SETTLEMENTS + 1 == process.queue.lost


async def test_nobody_waits_after_a_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """A fault ends the desk's work: calls are turned away, settlements are lost, and the log has the place."""
    process = Process(ShakyTable())
    asked = ask(make_limits(images=10))
    granted = await process.queue.admit(asked)
    process.table.bug = ZeroDivisionError("the words of a fault may hold what was asked")
    process.queue.settle(settled(asked, granted))
    with pytest.raises(LimitsUnavailable):
        await process.queue.admit(ask(make_limits(images=10)))
    assert process.queue.lost == 1
    assert "ZeroDivisionError" in caplog.text
    assert "the words" not in caplog.text
    process.table.bug = None
    assert isinstance(await process.queue.admit(ask(make_limits(images=10))), Granted)


async def test_standing_is_read_with_the_others() -> None:
    """To know how a key stands is one read, shared with whoever waits at the same time; it counts nothing."""
    process = Process(ShakyTable())
    limits = make_limits(images=10)
    one, other, granted = await asyncio.gather(
        process.queue.status(limits), process.queue.status(limits), process.queue.admit(ask(limits))
    )
    assert isinstance(granted, Granted)
    assert one is not None
    assert one.images is not None
    assert one == other
    assert one.images.remaining == 10
    assert (1, 1) == process.table.round_trips


async def test_standing_is_not_known_where_the_store_is_down() -> None:
    """It is asked once, and nobody is kept waiting."""
    process = Process(ShakyTable())
    process.table.down = True
    assert await process.queue.status(make_limits(images=10)) is None
    await process.at_rest()
    assert (1, 0) == process.table.round_trips


async def test_a_row_of_an_unknown_form_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Counters of a form that only a newer gateway knows let nobody through, and the log says where they are."""
    process = Process(ShakyTable())
    row = Row(partition=KEY, key="counters", values={"account": b'{"version": 3}'})
    await process.table.inner.change(Put(row=row))
    with pytest.raises(LimitsUnavailable):
        await process.queue.admit(ask(make_limits(images=10)))
    assert "partition team-a of GatewayCounters cannot be read (version 3)" in caplog.text
    kept = await process.table.inner.get(KEY, "counters")
    assert kept is not None
    assert row.values == kept.values


async def test_the_desk_rests_when_nobody_waits() -> None:
    """No task is left behind, and the owner is told."""
    process = Process(ShakyTable())
    await process.queue.admit(ask(make_limits(images=10)))
    await process.at_rest()
    await asyncio.sleep(0)
    assert process.rests == 1
    assert {asyncio.current_task()} == asyncio.all_tasks()
