"""The limits of keys, checked before a call goes upstream and settled after it.

For a key with limits, `Limiter.admit` reserves one request, the pictures asked for, and the most that any deployment of
the plan would cost; `Limiter.close` replaces that by what the call came to. Where a deployment that may have generated
pictures is followed by another, both are charged: then the cost can be more than was reserved.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct
from msgspec.structs import asdict

from core.deployments.costs import estimate
from core.domain.errors import Forbidden, LimitsUnavailable
from core.limits.admission_queue import MAX_WAIT_SECONDS, AdmissionQueue
from core.limits.quota_store import QuotaStore
from core.limits.reservations import Denied, Reservation, ReservationRequest, Settlement
from core.storage.row_keys import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from core.deployments.costs import Bill
    from core.deployments.route_plan import RoutePlan
    from core.domain.limits import Limits
    from core.limits.limit_status import LimitStatus
    from core.storage.tables import Tables

LEASE_SLACK: Final = dt.timedelta(seconds=60)
"""How long after its call's time a reservation is held: for settling, and for clocks that differ."""
FLUSH_RETRY_SECONDS: Final = 0.25
"""Between two tries to settle while the process ends."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)


class LimitedKey(Protocol):
    """A key with its limits."""

    @property
    def id(self) -> str:
        """The virtual key's id."""
        ...

    @property
    def limits(self) -> Limits:
        """Its limits."""
        ...


class Admission(Struct, frozen=True, kw_only=True):
    """A call that was admitted, and is to be closed."""

    key: LimitedKey
    reservation_id: str
    reservation: Reservation
    status: LimitStatus | None
    """What the key had left when the call was admitted, the call included; None: another process admitted it."""
    perhaps_settled: bool = False
    """Whether another process may have settled it."""

    @property
    def hold(self) -> dict[str, int | str]:
        """The reservation as JSON, for another process that will close the call."""
        return {"id": self.reservation_id, **asdict(self.reservation)}

    @classmethod
    def from_hold(cls, key: LimitedKey, hold: Mapping[str, int | str]) -> Admission:
        """Make the admission of a call that another process has admitted."""
        numbers = {name: int(value) for name, value in hold.items() if name != "id"}
        return cls(
            key=key,
            reservation_id=str(hold["id"]),
            reservation=Reservation(**numbers),
            status=None,
            perhaps_settled=True,
        )

    def lasts(self, now: dt.datetime, seconds: float) -> bool:
        """Whether its lease lasts for so many seconds more; `now` is the wall clock, in UTC."""
        return (now - _EPOCH) // _MILLISECOND + seconds * 1000 < self.reservation.lease_ends


class Limiter:
    """Admits calls within their keys' limits. One for each process."""

    def __init__(
        self,
        tables: Tables,
        *,
        call_seconds: float,
        now: Callable[[], dt.datetime],
        wait: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """`now` is the wall clock, in UTC; `wait` lets seconds go by; `chance` gives a number from 0 up to 1.

        `call_seconds` is how long a call may take as a rule; `max_wait_seconds` how long one waits to be admitted.
        """
        self._table = tables.table(COUNTERS)
        self._lease = dt.timedelta(seconds=call_seconds) + LEASE_SLACK
        self._now = now
        self._wait = wait
        self._chance = chance
        self._max_wait_seconds = max_wait_seconds
        self._queues: dict[str, AdmissionQueue] = {}
        self._lost = 0

    async def admit(
        self, key: LimitedKey, plan: RoutePlan, images: int, *, overrun_seconds: float = 0.0
    ) -> Admission | None:
        """Reserve for a call; None: its key has no limits.

        `overrun_seconds` is how much longer than other calls it may take.

        Raises Forbidden if a budget cannot count what has no price, RateLimited, BudgetExceeded, LimitsUnavailable.
        """
        limits = key.limits
        if not limits.is_limited:
            return None
        request = ReservationRequest(
            id=secrets.token_hex(8),
            limits=limits,
            images=images,
            nanos=_highest_cost(plan, images, is_budgeted=limits.budget is not None),
            lease=(self._lease + dt.timedelta(seconds=overrun_seconds)) // _MILLISECOND,
        )
        answer = await self._queue(key.id).admit(request)
        if isinstance(answer, Denied):
            answer.error.headers |= answer.status.headers()
            raise answer.error
        return Admission(key=key, reservation_id=request.id, reservation=answer.reservation, status=answer.status)

    def close(self, admission: Admission, bill: Bill) -> None:
        """Replace what a call reserved by what it came to. Never waits; to be called in an event loop."""
        reservation = admission.reservation
        settlement = Settlement(
            id=admission.reservation_id,
            at=reservation.at,
            day=reservation.day,
            # The pictures asked for count once, also if two deployments may have generated them.
            images=min(bill.counted_images, reservation.images),
            nanos=sum(charge.nanos or 0 for charge in bill.charges),
            images_rate=admission.key.limits.images,
        )
        self._queue(admission.key.id).settle(settlement, perhaps_done=admission.perhaps_settled)

    async def status(self, key: LimitedKey) -> LimitStatus:
        """What a key has left at this moment. Raises LimitsUnavailable."""
        status = await self._queue(key.id).status(key.limits)
        if status is None:
            raise LimitsUnavailable
        return status

    @property
    def lost(self) -> int:
        """How many calls could not be settled since this process began."""
        return self._lost + sum(queue.lost for queue in self._queues.values())

    async def flush(self, seconds: float) -> None:
        """Settle what waits, because the process ends; what takes longer than `seconds` is lost."""
        try:
            async with asyncio.timeout(seconds):
                while tasks := self._tasks():
                    for queue in self._queues.values():
                        queue.retry_now()
                    await asyncio.wait(tasks, timeout=FLUSH_RETRY_SECONDS)
        except TimeoutError:
            for task in self._tasks():
                task.cancel()
            if tasks := self._tasks():
                await asyncio.wait(tasks)

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {queue.task for queue in self._queues.values() if queue.task is not None}

    def _queue(self, key_id: str) -> AdmissionQueue:
        queue = self._queues.get(key_id)
        if queue is None:
            queue = self._queues[key_id] = AdmissionQueue(
                QuotaStore(self._table, key_id),
                now=lambda: (self._now() - _EPOCH) // _MILLISECOND,
                wait=self._wait,
                chance=self._chance,
                max_wait_seconds=self._max_wait_seconds,
                on_idle=lambda: self._remove_queue(key_id),
                release=lambda settlement: self._queue(key_id).settle(settlement),
            )
        return queue

    def _remove_queue(self, key_id: str) -> None:
        self._lost += self._queues.pop(key_id).lost


def _highest_cost(plan: RoutePlan, images: int, *, is_budgeted: bool) -> int:
    """The most that any deployment of the plan would cost, in billionths of a US dollar."""
    highest = 0
    for step in plan.steps:
        nanos = estimate(step, images)
        if nanos is None and is_budgeted:
            raise Forbidden(
                f"The deployment {step.deployment.name} has no price, so its cost cannot be counted against this key's"
                " budget; ask your operator to give it one",
                code="price_unknown",
                param=step.param,
            )
        highest = max(highest, nanos or 0)
    return highest
