"""A store that fails in any step: no limit is passed, no answer is lost, nothing is charged twice, nothing hangs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.errors import LimitsUnavailable
from core.limits.admission_queue import AdmissionQueue
from core.limits.quota_store import QuotaStore
from core.limits.reservations import Denied, Granted
from core.storage.memory import MemoryTables
from tests.limits.asking import LEASE, NOW, ask, make_limits, settlement
from tests.limits.shaky import Fault, ShakyTable, a_moment
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from core.limits.quota import Quota
    from core.limits.reservations import ReservationRequest
    from core.storage.tables import Table

LIMIT = 4
ALLOWANCE = make_limits(images=LIMIT, nanos=1_000_000, seconds=3_600)
NANOS_EACH = 7

Call = tuple[int, bool, int, bool]
"""Pictures asked for; whether they are drawn; how many steps it waits before it asks; whether it then leaves."""

faults = st.dictionaries(st.integers(0, 12), st.sampled_from(Fault), max_size=8)
calls = st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.integers(0, 6), st.booleans()), min_size=1, max_size=5)
"""Pictures asked for; whether they are drawn; how many steps the call waits before it asks; whether it then leaves."""


class World:
    """What truly happens, whatever the store says."""

    def __init__(self) -> None:
        self.inner: Table = MemoryTables().table("GatewayCounters")
        self.most = 0
        """Pictures that calls which were let through hold, and pictures drawn."""
        self.drawn = 0
        self.told = 0

    async def process(self, failing: dict[int, Fault], script: list[Call], pace: int = 1) -> None:
        """One process, whose way to the store takes so many steps and fails as told, and its calls."""
        table = ShakyTable(self.inner, failing, pace=pace)
        desk = AdmissionQueue(QuotaStore(table, "team-a"), now=lambda: NOW, wait=a_moment, chance=lambda: 0.5)
        await asyncio.gather(*(self._call(desk, *each) for each in script))
        while desk.task is not None and not desk.task.done():
            await asyncio.wait({desk.task})

    async def _call(self, desk: AdmissionQueue, images: int, draws: bool, steps: int, leaves: bool) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        asked = ask(ALLOWANCE, images=images, nanos=images * NANOS_EACH)
        waiting = asyncio.create_task(self._ask(desk, asked))
        if leaves:
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
            if waiting.cancelled():
                return
        answer = await waiting
        self.told += 1
        if isinstance(answer, Granted):
            self.most += images
            assert self.most <= LIMIT
            await asyncio.sleep(0)
            self.most -= 0 if draws else images
            self.drawn += images if draws else 0
            drawn = images if draws else 0
            desk.settle(settlement(asked, answer.reservation, images=drawn, nanos=drawn * NANOS_EACH))

    async def _ask(self, desk: AdmissionQueue, asked: ReservationRequest) -> Granted | Denied | LimitsUnavailable:
        try:
            return await desk.admit(asked)
        except LimitsUnavailable as unavailable:
            return unavailable

    async def account(self, now: int) -> Quota:
        account = (await QuotaStore(self.inner, "team-a").read()).quota
        account.advance(now, ALLOWANCE)
        return account

    async def check(self) -> None:
        """Compare the account with what happened, once every lease is over."""
        status = (await self.account(NOW + LEASE)).status(NOW + LEASE, ALLOWANCE)
        assert status.images is not None
        assert status.budget is not None
        assert (LIMIT - self.drawn, self.drawn * NANOS_EACH) == (
            status.images.remaining,
            status.budget.spent_nanos,
        )
        assert status.in_flight == 0


@given(st.lists(st.tuples(faults, calls), min_size=1, max_size=3))
def test_whatever_fails_and_whenever(
    processes: list[tuple[dict[int, Fault], list[tuple[int, bool, int, bool]]]],
) -> None:
    """Up to three processes, any of whose operations fails in any way, and whose callers may leave."""

    async def history() -> None:
        world = World()
        async with asyncio.timeout(HANGS_SECONDS):
            await asyncio.gather(*(world.process(*each) for each in processes))
        await world.check()

    asyncio.run(history())


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("number", range(8))
async def test_one_failure_costs_nobody_anything(fault: Fault, number: int) -> None:
    """Where one operation fails, both calls get through all the same, and both are counted and charged once."""
    world = World()
    await world.process({number: fault}, [(1, True, 0, False), (2, True, 4, False)])
    assert (2, 3) == (world.told, world.drawn)
    await world.check()
    assert (await world.account(NOW)).status(NOW, ALLOWANCE).in_flight == 0
