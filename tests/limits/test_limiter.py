"""The limiter: what is reserved for a call, and what becomes of it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from core.auth.caller import Caller
from core.deployments.costs import Basis, Bill, Charge
from core.deployments.prices import per_image
from core.domain.errors import BudgetExceeded, Forbidden, LimitsUnavailable, RateLimited
from core.domain.limits import NANOS, UNLIMITED, Limits
from core.limits.limiter import Admission, Limiter
from core.limits.quota_store import QuotaStore
from core.storage.row_keys import COUNTERS
from tests.fakes import misfit, plan, step
from tests.limits.asking import make_limits
from tests.limits.shaky import ShakyTable, a_moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.deployments.route_plan import PlanStep, SkippedStep
    from core.storage.tables import Tables

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
CENT = NANOS // 100


class Process:
    """A process with a limiter, and a clock that is moved by hand."""

    def __init__(
        self, table: ShakyTable | None = None, wait: Callable[[float], Awaitable[None]] = a_moment, **fields: Any
    ) -> None:
        self.table = table or ShakyTable()
        self.now = NOON
        self.limiter = Limiter(
            self.table, call_seconds=220, now=lambda: self.now, wait=wait, chance=lambda: 0.5, **fields
        )

    async def admit(
        self, limits: Limits, *steps: PlanStep | SkippedStep, images: int = 1, key: str = "team-a", **fields: Any
    ) -> Admission | None:
        caller = Caller(id=key, limits=limits)
        return await self.limiter.admit(caller, plan(*(steps or (priced("a"),))), images, **fields)

    async def at_rest(self) -> None:
        """Until nothing is left to be done."""
        await self.limiter.flush(5)
        await asyncio.sleep(0)


def priced(name: str, cents: int | None = 4, *, index: int = 0) -> PlanStep:
    """A deployment whose pictures cost so many cents each; None: it has no price."""
    made = step(name, index=index)
    price = None if cents is None else per_image(f"{cents / 100:.2f}")
    return replace(made, deployment=replace(made.deployment, own_price=price))


def bill(nanos: int | None = 4 * CENT, *, images: int = 1, possible_images: int = 0, deployment: str = "a") -> Bill:
    charge = Charge(
        deployment=deployment, nanos=nanos, basis=Basis.USAGE, images=images, possible_images=possible_images
    )
    return Bill(charges=(charge,))


@pytest.mark.parametrize(
    "caller",
    [Caller(id="root", is_admin=True), Caller(id="team-a", limits=UNLIMITED)],
    ids=["an-admin", "a-key-without-limits"],
)
async def test_nobody_without_limits_is_asked_about(caller: Caller) -> None:
    """An admin and a key without limits cost no round trip."""
    process = Process()
    assert await process.limiter.admit(caller, plan(priced("a", None)), 10) is None
    assert (0, 0) == process.table.round_trips


async def test_the_dearest_that_may_be_asked_is_reserved() -> None:
    """Whichever deployment of the plan draws, there is money for it; what cannot honour the request does not count."""
    process = Process()
    steps = (priced("a", 4), priced("b", 12, index=1), priced("c", 8, index=2), misfit("d", index=3))
    admission = await process.admit(make_limits(nanos=100 * CENT), *steps, images=3)
    assert admission is not None
    assert (3, 36 * CENT) == (admission.reservation.images, admission.reservation.nanos)


@pytest.mark.parametrize(
    ("steps", "param"),
    [
        ((priced("a", None),), None),
        ((priced("a", 4), priced("b", 4, index=1), priced("c", None, index=2)), "fallbacks[1]"),
    ],
)
async def test_a_budget_cannot_count_what_has_no_price(steps: tuple[PlanStep, ...], param: str | None) -> None:
    """A deployment without a price is not called with a budgeted key, as fallback neither, and nothing is reserved."""
    process = Process()
    with pytest.raises(Forbidden) as denied:
        await process.admit(make_limits(nanos=100 * CENT), *steps)
    assert ("price_unknown", param) == (denied.value.code, denied.value.param)
    assert (0, 0) == process.table.round_trips


async def test_what_cannot_honour_the_request_needs_no_price() -> None:
    """It is passed over, and costs nothing."""
    process = Process()
    assert await process.admit(make_limits(nanos=CENT * 4), priced("a", 4), misfit("b", index=1))


async def test_a_key_without_a_budget_may_call_what_has_no_price() -> None:
    """Only its requests and pictures are counted; of a bill in part unknown, the known part."""
    process = Process()
    admission = await process.admit(make_limits(images=10), priced("a", None), images=2)
    assert admission is not None
    assert admission.reservation.nanos == 0
    charges = (*bill(None, images=1).charges, *bill(7).charges)
    process.limiter.close(admission, Bill(charges=charges))
    await process.at_rest()
    status = await process.limiter.status(Caller(id="team-a", limits=make_limits(images=10, nanos=100)))
    assert status.images is not None
    assert status.budget is not None
    assert (8, 93) == (status.images.remaining, status.budget.remaining_nanos)


async def test_pictures_count_once_however_many_tried() -> None:
    """Where one deployment may have drawn and another did, the pictures count once, and both are paid for."""
    process = Process()
    limits = make_limits(images=10, nanos=100 * CENT)
    admission = await process.admit(limits, images=3)
    assert admission is not None
    charges = (*bill(12 * CENT, images=0, possible_images=3).charges, *bill(12 * CENT, images=3).charges)
    process.limiter.close(admission, Bill(charges=charges))
    await process.at_rest()
    status = await process.limiter.status(Caller(id="team-a", limits=limits))
    assert status.images is not None
    assert status.budget is not None
    assert (7, 76 * CENT) == (status.images.remaining, status.budget.remaining_nanos)


async def test_what_is_handed_over_is_settled_once() -> None:
    """Whoever takes over a call cannot know whether it was settled before; it is charged once, lease over or not."""
    process = Process()
    other = Process(ShakyTable(process.table.inner))
    limits = make_limits(images=10, nanos=100 * CENT, seconds=3_600)
    caller = Caller(id="team-a", limits=limits)
    admission = await process.admit(limits, images=3)
    assert admission is not None
    other.now = process.now = NOON + dt.timedelta(seconds=300)
    assert await process.admit(limits)  # it gives back what the first one held
    for _ in range(2):
        other.limiter.close(Admission.from_hold(caller, admission.hold), bill(12 * CENT, images=3))
        await other.at_rest()
    status = await process.limiter.status(caller)
    assert status.images is not None
    assert status.budget is not None
    assert (6, 12 * CENT) == (status.images.remaining, status.budget.spent_nanos)


@pytest.mark.parametrize("overrun", [0, 200])
async def test_a_reservation_is_held_for_the_time_of_a_call_and_a_minute(overrun: int) -> None:
    """After that, whoever comes next gets what it held. A call that may take longer holds it for longer."""
    process = Process()
    limits = make_limits(images=1, seconds=3_600)
    await process.admit(limits, overrun_seconds=overrun)
    process.now = NOON + dt.timedelta(seconds=279 + overrun, milliseconds=999)
    with pytest.raises(RateLimited):
        await process.admit(limits)
    process.now = NOON + dt.timedelta(seconds=280 + overrun)
    assert await process.admit(limits)


async def test_two_processes_at_the_last_cent(tables: Tables) -> None:
    """One of two calls in two processes gets through, in each kind of store."""
    limits = make_limits(nanos=4 * CENT)
    processes = [Process(ShakyTable(tables.table(COUNTERS))) for _ in range(2)]
    answers = await asyncio.gather(*(process.admit(limits) for process in processes), return_exceptions=True)
    assert {Admission, BudgetExceeded} == {type(answer) for answer in answers}


async def test_many_processes_share_a_limit(tables: Tables) -> None:
    """Of calls from eight processes at the same time, exactly as many get through as may, in each kind of store."""
    processes = [Process(ShakyTable(tables.table(COUNTERS)), wait=asyncio.sleep) for _ in range(8)]
    answers = await asyncio.gather(
        *(process.admit(make_limits(images=20)) for process in processes * 5), return_exceptions=True
    )
    assert {Admission: 20, RateLimited: 20} == Counter(type(answer) for answer in answers)


async def test_keys_have_accounts_of_their_own() -> None:
    """What one key uses is no other's, whatever characters are in their ids."""
    process = Process()
    for key in ("team-a", "team/a", "team_2fa", "TEAM-A"):
        assert await process.admit(make_limits(images=1), key=key)


async def test_a_denial_says_what_is_left() -> None:
    """The answer to a call that is not admitted has the same headers as that to one that is."""
    process = Process()
    limits = make_limits(requests=5, images=3)
    admission = await process.admit(limits, images=2)
    assert admission is not None
    assert admission.status is not None
    with pytest.raises(RateLimited) as denied:
        await process.admit(limits, images=2)
    left = admission.status.headers()
    assert ("4", "1") == (left["x-ratelimit-remaining-requests"], left["x-ratelimit-remaining-images"])
    assert left.items() <= denied.value.headers.items()


async def test_a_status_is_an_error_where_the_store_is_down() -> None:
    """A report says that it cannot be made, and never that nothing was used."""
    process = Process()
    process.table.down = True
    with pytest.raises(LimitsUnavailable):
        await process.limiter.status(Caller(id="team-a", limits=make_limits(images=10)))


async def test_nothing_is_left_of_a_key_at_rest() -> None:
    """A thousand keys later there is no queue and no task."""
    process = Process()
    for number in range(1000):
        admission = await process.admit(make_limits(images=1), key=f"key-{number}")
        assert admission is not None
        process.limiter.close(admission, Bill())
    await process.at_rest()
    assert {} == process.limiter._queues
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_the_end_of_the_process_settles_what_it_can() -> None:
    """What rests because the store was down is tried at once."""

    async def rest(_seconds: float) -> None:
        await asyncio.Event().wait()

    process = Process(wait=rest)
    admission = await process.admit(make_limits(images=1))
    assert admission is not None
    process.table.down = True
    process.limiter.close(admission, Bill())
    while process.table.reads < 2:  # noqa: ASYNC110 -- a table has no event to wait for
        await asyncio.sleep(0)
    process.table.down = False
    await process.limiter.flush(5)
    account = (await QuotaStore(process.table.inner, "team-a").read()).quota
    assert (0, 0) == (account.status(0, make_limits(images=1)).in_flight, process.limiter.lost)


async def test_the_end_of_the_process_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be settled in time is counted and logged, and nothing goes on."""
    process = Process()
    admission = await process.admit(make_limits(images=1))
    assert admission is not None
    process.table.down = True
    process.limiter.close(admission, Bill())
    await process.limiter.flush(0.01)
    await asyncio.sleep(0)
    assert process.limiter.lost == 1
    assert "Settlements lost: 1" in caplog.text
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_caller_who_leaves_at_any_moment_of_being_let_through() -> None:
    """Whichever turn of the loop it leaves in, what it may have reserved is given back, and the end waits for that."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    for turns in range(30):
        process = Process()
        calling = asyncio.create_task(process.admit(make_limits(images=100)))
        for _ in range(turns):
            await asyncio.sleep(0)
        if calling.done():
            break
        calling.cancel()
        await asyncio.wait({calling})
        await process.limiter.flush(5)
        account = (await QuotaStore(process.table.table(COUNTERS), "team-a").read()).quota
        status = account.status(0, make_limits(images=100))
        assert (turns, 0) == (turns, status.in_flight)
    assert turns > 3
    assert not faults
