"""The account of one key: what it has used and spent, and what its calls in flight have reserved.

A call is let through by a reservation of the pictures it asks for and the money it may cost, and settled by what it
really came to. Until then the reservation counts like the thing itself, so that two calls at the last cent do not both
get through. A process that dies cannot settle: what it reserved is given back when the lease is over.

Nothing here waits or asks for the time: moments are handed in, as whole milliseconds of Unix time. Money is in
billionths of a US dollar.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import orjson

from core.domain.limits import BudgetWindow
from core.limits.budget_period import BudgetSpending, day_of, renewal, same_window
from core.limits.denials import beyond_the_budget, too_many_images, too_many_in_flight, too_many_requests
from core.limits.limit_status import BudgetStatus, LimitStatus, RateStatus
from core.limits.reservations import Reservation
from core.limits.sliding_window import SlidingWindow

if TYPE_CHECKING:
    from core.domain.errors import BudgetExceeded, RateLimited
    from core.domain.limits import Budget, Limits, Rate
    from core.limits.reservations import ReservationRequest, Settlement

MAX_IN_FLIGHT: Final = 500
"""How many reservations are kept. With some 80 bytes each, they fit into one value of a row, which has 64 KiB."""
MAX_EXPIRED: Final = 100
"""How many reservations whose lease was over are remembered, the latest."""

_VERSION: Final = 1
"""Of the form in which an account is kept. One of another version is not guessed at."""


class UnknownVersion(Exception):
    """An account is kept in a form that this version of the gateway cannot read."""


class Quota:
    """One key's account, to be changed and then kept, or thrown away where that did not succeed."""

    def __init__(
        self,
        *,
        requests: SlidingWindow | None = None,
        drawn: SlidingWindow | None = None,
        spending: BudgetSpending | None = None,
        open_: dict[str, Reservation] | None = None,
        given_back: list[str] | None = None,
    ) -> None:
        """A new account is empty. `drawn` has the pictures of settled calls only."""
        self._requests = requests or SlidingWindow()
        self._drawn = drawn or SlidingWindow()
        self._spending = spending or BudgetSpending.none()
        self._open = open_ or {}
        self._given_back = given_back or []

    @classmethod
    def load(cls, kept: bytes) -> Quota:
        """Read an account as `dump` wrote it. Raises UnknownForm."""
        try:
            value = orjson.loads(kept)
            if value["version"] != _VERSION:
                raise UnknownVersion(f"version {value['version']!r}")
            day, *nanos = value["spent"]
            return cls(
                requests=SlidingWindow((end, count) for end, count in value["requests"]),
                drawn=SlidingWindow((end, count) for end, count in value["drawn"]),
                spending=BudgetSpending(day=day, nanos=dict(zip(BudgetWindow, nanos, strict=True))),
                open_={
                    key: Reservation(at=at, day=own_day, lease_ends=lease_ends, images=images, nanos=most)
                    for key, (at, own_day, lease_ends, images, most) in value["open"].items()
                },
                given_back=list(value["given_back"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnknownVersion(type(error).__name__) from None

    def dump(self) -> bytes:
        """Give the account as it is kept, in less than 64 KiB."""
        spending = self._spending
        return orjson.dumps(
            {
                "version": _VERSION,
                "requests": self._requests.counts,
                "drawn": self._drawn.counts,
                "spent": [spending.day, *(spending.nanos[window] for window in BudgetWindow)],
                "open": {
                    key: [each.at, each.day, each.lease_ends, each.images, each.nanos]
                    for key, each in self._open.items()
                },
                "given_back": self._given_back,
            }
        )

    def reservation(self, reservation_id: str) -> Reservation | None:
        """The reservation of an id, if it is open."""
        return self._open.get(reservation_id)

    def advance(self, now: int, limits: Limits) -> None:
        """Let time go by: leases end, windows slide, and days turn."""
        for key, each in list(self._open.items()):
            if each.lease_ends <= now:
                del self._open[key]
                self._given_back.append(key)
        del self._given_back[:-MAX_EXPIRED]
        self._spending.turn_to(day_of(now))
        if limits.requests is not None:
            self._requests.forget(now, limits.requests)
        if limits.images is not None:
            self._drawn.forget(now, limits.images)

    def admit(self, now: int, ask: ReservationRequest) -> Reservation | RateLimited | BudgetExceeded:
        """Reserve for a call, or say why not."""
        self.advance(now, ask.limits)
        denial = self._denial(now, ask)
        if denial is not None:
            return denial
        if ask.limits.requests is not None:
            self._requests.add(now, 1, ask.limits.requests)
        reservation = Reservation(
            at=now, day=self._spending.day, lease_ends=now + ask.lease, images=ask.images, nanos=ask.nanos
        )
        self._open[ask.id] = reservation
        return reservation

    def settle(self, settlement: Settlement, *, perhaps_done: bool) -> bool:
        """Put what a call came to in the place of its reservation; False: there was nothing to do.

        `perhaps_done`: this has been tried before, and may have been kept. Then a reservation that is neither open nor
        was given back shows that it was. Otherwise it is charged also where its reservation is not known.
        """
        key = settlement.id
        known = self._open.pop(key, None) is not None
        if key in self._given_back:
            self._given_back.remove(key)
            known = True
        charges = settlement.images > 0 or settlement.nanos > 0
        if not known and (perhaps_done or not charges):
            return False
        if settlement.images_rate is not None and settlement.images > 0:
            self._drawn.add(settlement.at, settlement.images, settlement.images_rate)
        self._spending.charge(settlement.nanos, settlement.day)
        return True

    def status(self, now: int, limits: Limits) -> LimitStatus:
        """How the key stands with its limits."""
        return LimitStatus(
            requests=_rate_status(self._requests, now, limits.requests),
            images=None if limits.images is None else self._images_status(now, limits.images),
            budget=None if limits.budget is None else self._budget_status(limits.budget),
            in_flight=len(self._open),
        )

    def _denial(self, now: int, ask: ReservationRequest) -> RateLimited | BudgetExceeded | None:
        """Why a call is not let through: first what no waiting mends, then what takes longest."""
        wait, denial = max(self._over(now, ask), key=lambda each: each[0], default=(0, None))
        if wait == math.inf:
            return denial
        if ask.limits.budget is not None:
            status = self._budget_status(ask.limits.budget)
            if ask.nanos > status.remaining_nanos:
                return beyond_the_budget(status)
        return too_many_in_flight(MAX_IN_FLIGHT) if len(self._open) >= MAX_IN_FLIGHT else denial

    def _over(self, now: int, ask: ReservationRequest) -> list[tuple[float, RateLimited]]:
        """The rates that a call would pass, each with the milliseconds until it would not."""
        over: list[tuple[float, RateLimited]] = []
        if (rate := ask.limits.requests) is not None:
            wait = self._requests.wait(now, 1, rate)
            if wait != 0:
                over.append((math.inf if wait is None else wait, too_many_requests(rate, wait)))
        if (rate := ask.limits.images) is not None:
            wait = self._images(rate).wait(now, ask.images, rate)
            if wait != 0:
                over.append((math.inf if wait is None else wait, too_many_images(rate, ask.images, wait)))
        return over

    def _images(self, rate: Rate) -> SlidingWindow:
        """Pictures drawn, and those that calls in flight may draw."""
        window = self._drawn.copy()
        for each in self._open.values():
            window.add(each.at, each.images, rate)
        return window

    def _images_status(self, now: int, rate: Rate) -> RateStatus | None:
        return _rate_status(self._images(rate), now, rate)

    def _budget_status(self, budget: Budget) -> BudgetStatus:
        spending = self._spending
        return BudgetStatus(
            budget=budget,
            spent_nanos=spending.nanos[budget.window],
            reserved_nanos=sum(
                each.nanos for each in self._open.values() if same_window(budget.window, each.day, spending.day)
            ),
            renews_at=renewal(budget.window, spending.day),
        )


def _rate_status(window: SlidingWindow, now: int, rate: Rate | None) -> RateStatus | None:
    if rate is None:
        return None
    return RateStatus(
        limit=rate.limit,
        remaining=max(0, rate.limit - window.used(now, rate)),
        reset_seconds=window.empty_in(now, rate) / 1000,
    )
