"""What a key may spend, asked before a call goes upstream and settled after it.

A key without limits is never asked about. Of a key with limits, `Limiter.admit` reserves one request, the pictures
asked for and the most that any deployment of the plan would cost; `Limiter.close` puts in its place what the call came
to. Where a deployment that may have drawn is followed by another, both are charged: the cost can then be more than what
was reserved.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct
from msgspec.structs import asdict

from core.deployments.costs import estimate
from core.domain.errors import Forbidden, LimitsUnavailable
from core.limits.admission_queue import PATIENCE_SECONDS, AdmissionQueue
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
LOOK_SECONDS: Final = 1.0
"""How long an answer is held back for the headers of its key's limits."""
MAX_CACHED_STATUSES: Final = 1000
HURRY_SECONDS: Final = 0.25
"""Between two tries to settle while the process ends."""

_FRESH: Final = 5000
"""How old a standing may be that is told without asking again, in milliseconds."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)


class LimitedKey(Protocol):
    """Whose limits count."""

    @property
    def id(self) -> str:
        """The virtual key's id."""
        ...

    @property
    def limits(self) -> Limits:
        """What it may spend."""
        ...


class Admission(Struct, frozen=True, kw_only=True):
    """A call that was let through, and is to be closed."""

    holder: LimitedKey
    reservation_id: str
    reservation: Reservation
    status: LimitStatus | None
    """How the key stood when the call was let through, the call included; None: that was in another process."""
    perhaps_settled: bool = False
    """Whether another process may have settled it."""

    @property
    def hold(self) -> dict[str, int | str]:
        """What another process needs to close it; JSON."""
        return {"id": self.reservation_id, **asdict(self.reservation)}

    @classmethod
    def of(cls, holder: LimitedKey, hold: Mapping[str, int | str]) -> Admission:
        """One that another process has let through."""
        numbers = {name: int(value) for name, value in hold.items() if name != "id"}
        return cls(
            holder=holder,
            reservation_id=str(hold["id"]),
            reservation=Reservation(**numbers),
            status=None,
            perhaps_settled=True,
        )

    def lasts(self, now: dt.datetime, seconds: float) -> bool:
        """Whether its lease goes on for so many seconds more; `now` is the wall clock, in UTC."""
        return (now - _EPOCH) // _MILLISECOND + seconds * 1000 < self.reservation.lease_ends


class Limiter:
    """Lets calls through, and keeps account of them. One for each process."""

    def __init__(
        self,
        tables: Tables,
        *,
        call_seconds: float,
        now: Callable[[], dt.datetime],
        wait: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """`now` is the wall clock, in UTC; `wait` lets seconds go by; `chance` gives a number from 0 up to 1.

        `call_seconds` is how long a call may take as a rule; `patience` how long one waits to be let through at most.
        """
        self._table = tables.table(COUNTERS)
        self._lease = dt.timedelta(seconds=call_seconds) + LEASE_SLACK
        self._now = now
        self._wait = wait
        self._chance = chance
        self._patience = patience
        self._desks: dict[str, AdmissionQueue] = {}
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._lost = 0

    async def admit(
        self, holder: LimitedKey, plan: RoutePlan, images: int, *, overrun_seconds: float = 0.0
    ) -> Admission | None:
        """Reserve for a call; None: its key has no limits.

        `overrun_seconds` is how much longer than other calls it may take.

        Raises Forbidden where a budget is to count what has no price, RateLimited, BudgetExceeded, LimitsUnavailable.
        """
        limits = holder.limits
        if not limits.is_limited:
            return None
        ask = ReservationRequest(
            id=secrets.token_hex(8),
            limits=limits,
            images=images,
            nanos=_most_expensive(plan, images, is_budgeted=limits.budget is not None),
            lease=(self._lease + dt.timedelta(seconds=overrun_seconds)) // _MILLISECOND,
        )
        try:
            answer = await self._desk(holder.id).admit(ask)
        except LimitsUnavailable:
            self._see(holder, None)
            raise
        self._see(holder, answer.status)
        if isinstance(answer, Denied):
            raise answer.error
        return Admission(holder=holder, reservation_id=ask.id, reservation=answer.reservation, status=answer.status)

    def close(self, admission: Admission, bill: Bill) -> None:
        """Put what a call came to in the place of what it reserved. Never waits; to be called in an event loop."""
        reservation = admission.reservation
        settlement = Settlement(
            id=admission.reservation_id,
            at=reservation.at,
            day=reservation.day,
            # The pictures asked for count once, also where two deployments may have drawn them.
            images=min(bill.counted_images, reservation.images),
            nanos=sum(charge.nanos or 0 for charge in bill.charges),
            images_rate=admission.holder.limits.images,
        )
        self._desk(admission.holder.id).settle(settlement, perhaps_done=admission.perhaps_settled)

    async def status(self, holder: LimitedKey) -> LimitStatus | None:
        """How a key stands, as this process knows or soon can tell; None: it has no limits, or that is not known."""
        if not holder.limits.is_limited:
            return None
        seen = self._seen.get(holder.id)
        if seen is not None and seen.limits == holder.limits and abs(self._milliseconds() - seen.at) < _FRESH:
            return seen.status
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                status = await self._desk(holder.id).status(holder.limits)
        except TimeoutError:
            status = None
        self._see(holder, status)
        return status

    async def usage(self, holder: LimitedKey) -> LimitStatus:
        """How a key stands at this moment. Raises LimitsUnavailable."""
        status = await self._desk(holder.id).status(holder.limits)
        if status is None:
            raise LimitsUnavailable
        return status

    @property
    def lost(self) -> int:
        """How many calls could not be settled, since this process began."""
        return self._lost + sum(desk.lost for desk in self._desks.values())

    async def flush(self, seconds: float) -> None:
        """Settle what is to be settled, because the process ends; what cannot be within so many seconds is lost."""
        try:
            async with asyncio.timeout(seconds):
                while works := self._works():
                    for desk in self._desks.values():
                        desk.hurry()
                    await asyncio.wait(works, timeout=HURRY_SECONDS)
        except TimeoutError:
            for work in self._works():
                work.cancel()
            if works := self._works():
                await asyncio.wait(works)

    def _works(self) -> set[asyncio.Task[None]]:
        return {desk.work for desk in self._desks.values() if desk.work is not None}

    def _desk(self, key_id: str) -> AdmissionQueue:
        desk = self._desks.get(key_id)
        if desk is None:
            desk = self._desks[key_id] = AdmissionQueue(
                QuotaStore(self._table, key_id),
                now=self._milliseconds,
                wait=self._wait,
                chance=self._chance,
                patience=self._patience,
                at_rest=lambda: self._clear(key_id),
                give_back=lambda settlement: self._desk(key_id).settle(settlement),
            )
        return desk

    def _clear(self, key_id: str) -> None:
        """Take a desk away at which nobody waits."""
        self._lost += self._desks.pop(key_id).lost

    def _see(self, holder: LimitedKey, status: LimitStatus | None) -> None:
        self._seen[holder.id] = _Seen(at=self._milliseconds(), limits=holder.limits, status=status)
        self._seen.move_to_end(holder.id)
        if len(self._seen) > MAX_CACHED_STATUSES:
            self._seen.popitem(last=False)

    def _milliseconds(self) -> int:
        return (self._now() - _EPOCH) // _MILLISECOND


class _Seen(Struct, frozen=True, kw_only=True):
    """How a key stood when this process last saw it; None: that could not be told."""

    at: int
    limits: Limits
    status: LimitStatus | None


def _most_expensive(plan: RoutePlan, images: int, *, is_budgeted: bool) -> int:
    """The most that any deployment which can be asked would cost, in billionths of a US dollar."""
    most = 0
    for step in plan.steps:
        nanos = estimate(step, images)
        if nanos is None and is_budgeted:
            raise Forbidden(
                f"The deployment {step.deployment.name} has no price, so its cost cannot be counted against this key's"
                " budget; ask your operator to give it one",
                code="price_unknown",
                param=step.param,
            )
        most = max(most, nanos or 0)
    return most
