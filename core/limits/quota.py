"""The quota of one key: what it has used and spent, and what its calls in flight have reserved.

A call is admitted by reserving the pictures it asks for and the money it may cost, and settled by what it really came
to. Until then the reservation counts as if it had been used, so that two calls for the last cent are not both admitted.
A process that dies cannot settle: its reservations expire when their leases end.

Nothing here waits or reads a clock: times are parameters, in whole milliseconds of Unix time. Money is in billionths of
a US dollar.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import orjson

from core.domain.limits import BudgetWindow
from core.limits.budget_period import BudgetSpending, day_of, renewal, same_window
from core.limits.denials import budget_exceeded, too_many_images, too_many_in_flight, too_many_requests
from core.limits.limit_status import BudgetStatus, LimitStatus, RateStatus
from core.limits.reservations import Reservation
from core.limits.sliding_window import SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.domain.errors import BudgetExceeded, RateLimited
    from core.domain.limits import Budget, Limits, Rate
    from core.limits.reservations import ReservationRequest, Settlement

RESERVATIONS_PER_VALUE: Final = 500
"""Of some 85 bytes each: with the counters they fit into one value of a row, which has 64 KiB."""
MAX_IN_FLIGHT: Final = 10 * RESERVATIONS_PER_VALUE
"""How many reservations a quota has at most: their values take less than 640 KiB of the 1 MiB that a row may have."""
MAX_EXPIRED: Final = 300
"""How many expired reservations are remembered, the latest."""

_VERSIONS: Final = (1, 2)
"""Of the serialized form. 2 has reservations in further values, and is written only where there are some, so that a
gateway that knows only 1 refuses such a key and does not admit calls past reservations that it cannot see."""


class UnknownVersion(Exception):
    """A quota is stored in a form that this version of the gateway cannot read."""


class Quota:
    """One key's quota, to be changed and then stored, or discarded if it could not be stored."""

    def __init__(
        self,
        *,
        requests: SlidingWindow | None = None,
        images: SlidingWindow | None = None,
        spending: BudgetSpending | None = None,
        reservations: dict[str, Reservation] | None = None,
        expired: list[str] | None = None,
    ) -> None:
        """A new quota is unused. `images` has the pictures of settled calls only."""
        self._requests = requests or SlidingWindow()
        self._images = images or SlidingWindow()
        self._spending = spending or BudgetSpending.none()
        self._reservations = reservations or {}
        self._expired = expired or []
        self._advanced: tuple[int, Limits] | None = None
        self._image_cache: tuple[Rate, SlidingWindow] | None = None
        self._reserved_cache: dict[BudgetWindow, int] = {}

    @classmethod
    def load(cls, values: Sequence[bytes]) -> Quota:
        """Read a quota that `dump` wrote; fields that this version does not know are ignored. Raises UnknownVersion."""
        try:
            first, *more = map(orjson.loads, values)
            if first["version"] not in _VERSIONS:
                raise UnknownVersion(f"version {first['version']!r}")
            if len(values) != first.get("values", 1):
                raise UnknownVersion("not all of its values are there")
            day, *nanos = first["spent"]
            reservations: dict[str, Reservation] = {}
            for each in (first, *more):
                reservations |= {key: _parse_reservation(*fields) for key, fields in each["open"].items()}
            return cls(
                requests=SlidingWindow((end, count) for end, count in first["requests"]),
                images=SlidingWindow((end, count) for end, count in first["drawn"]),
                spending=BudgetSpending(
                    day=day, nanos={window: nanos[index] for index, window in enumerate(BudgetWindow)}
                ),
                reservations=reservations,
                expired=list(first["given_back"]),
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise UnknownVersion(type(error).__name__) from None

    def dump(self) -> list[bytes]:
        """Serialize the quota into values of less than 64 KiB each: as a rule one, more if many calls are in flight."""
        spending = self._spending
        rows = [
            (key, [each.at, each.day, each.lease_ends, each.images, each.nanos])
            for key, each in self._reservations.items()
        ]
        parts = [
            {"open": dict(rows[begin : begin + RESERVATIONS_PER_VALUE])}
            for begin in range(0, max(1, len(rows)), RESERVATIONS_PER_VALUE)
        ]
        first: dict[str, Any] = {
            "version": 1 if len(parts) == 1 else 2,
            "values": len(parts),
            "requests": self._requests.counts,
            "drawn": self._images.counts,
            "spent": [spending.day, *(spending.nanos[window] for window in BudgetWindow)],
            "given_back": self._expired,
        }
        return [orjson.dumps(part) for part in ({**first, **parts[0]}, *parts[1:])]

    def reservation(self, reservation_id: str) -> Reservation | None:
        """Find a reservation that is neither settled nor expired."""
        return self._reservations.get(reservation_id)

    def advance(self, now: int, limits: Limits) -> None:
        """Let time pass: leases end, windows slide, and days turn."""
        if self._advanced == (now, limits):
            return
        self._advanced = now, limits
        self._clear_caches()
        for key, each in list(self._reservations.items()):
            if each.lease_ends <= now:
                del self._reservations[key]
                self._expired.append(key)
        del self._expired[:-MAX_EXPIRED]
        self._spending.turn_to(day_of(now))
        if limits.requests is not None:
            self._requests.forget(now, limits.requests)
        if limits.images is not None:
            self._images.forget(now, limits.images)

    def admit(self, now: int, request: ReservationRequest) -> Reservation | RateLimited | BudgetExceeded:
        """Reserve for a call, or say why not."""
        limits = request.limits
        self.advance(now, limits)
        denial = self._denial(now, request)
        if denial is not None:
            return denial
        if limits.requests is not None:
            self._requests.add(now, 1, limits.requests)
        reservation = Reservation(
            at=now, day=self._spending.day, lease_ends=now + request.lease, images=request.images, nanos=request.nanos
        )
        self._reservations[request.id] = reservation
        if self._image_cache is not None:
            rate, window = self._image_cache
            window.add(now, request.images, rate)
        for budget_window in self._reserved_cache:
            self._reserved_cache[budget_window] += request.nanos
        return reservation

    def settle(self, settlement: Settlement, *, perhaps_done: bool) -> bool:
        """Replace a reservation by what its call came to. Returns False if there was nothing to do.

        `perhaps_done`: this was tried before, and may have been stored. Then, if the reservation is neither open nor
        expired, it was. Otherwise the call is charged even if its reservation is not known.
        """
        self._clear_caches()
        key = settlement.id
        known = self._reservations.pop(key, None) is not None
        if key in self._expired:
            self._expired.remove(key)
            known = True
        charges = settlement.images > 0 or settlement.nanos > 0
        if not known and (perhaps_done or not charges):
            return False
        if settlement.images_rate is not None and settlement.images > 0:
            self._images.add(settlement.at, settlement.images, settlement.images_rate)
        self._spending.charge(settlement.nanos, settlement.day)
        return True

    def status(self, now: int, limits: Limits) -> LimitStatus:
        """How much of its limits the key has left."""
        images = None if limits.images is None else self._images_with_reserved(limits.images)
        return LimitStatus(
            requests=_rate_status(self._requests, now, limits.requests),
            images=None if images is None else _rate_status(images, now, limits.images),
            budget=None if limits.budget is None else self._budget_status(limits.budget),
            in_flight=len(self._reservations),
        )

    def _denial(self, now: int, request: ReservationRequest) -> RateLimited | BudgetExceeded | None:
        """Why a call is not admitted: first what no waiting helps against, then what takes longest."""
        wait, denial = max(self._exceeded_rates(now, request), key=lambda each: each[0], default=(0, None))
        if wait == math.inf:
            return denial
        if request.limits.budget is not None:
            status = self._budget_status(request.limits.budget)
            if request.nanos > status.remaining_nanos:
                return budget_exceeded(status)
        return too_many_in_flight(MAX_IN_FLIGHT) if len(self._reservations) >= MAX_IN_FLIGHT else denial

    def _exceeded_rates(self, now: int, request: ReservationRequest) -> list[tuple[float, RateLimited]]:
        """The rates that a call would exceed, each with the milliseconds until it would not."""
        exceeded: list[tuple[float, RateLimited]] = []
        if (rate := request.limits.requests) is not None:
            wait = self._requests.wait(now, 1, rate)
            if wait != 0:
                exceeded.append((math.inf if wait is None else wait, too_many_requests(rate, wait)))
        if (rate := request.limits.images) is not None:
            wait = self._images_with_reserved(rate).wait(now, request.images, rate)
            if wait != 0:
                exceeded.append((math.inf if wait is None else wait, too_many_images(rate, request.images, wait)))
        return exceeded

    def _clear_caches(self) -> None:
        self._image_cache = None
        self._reserved_cache.clear()

    def _images_with_reserved(self, rate: Rate) -> SlidingWindow:
        """The pictures of settled calls, and those that calls in flight have reserved."""
        if self._image_cache is None or self._image_cache[0] != rate:
            window = self._images.copy()
            for each in self._reservations.values():
                window.add(each.at, each.images, rate)
            self._image_cache = rate, window
        return self._image_cache[1]

    def _reserved_nanos(self, window: BudgetWindow) -> int:
        if window not in self._reserved_cache:
            day = self._spending.day
            days = {each.day for each in self._reservations.values()}
            same = {each for each in days if same_window(window, each, day)}
            self._reserved_cache[window] = sum(each.nanos for each in self._reservations.values() if each.day in same)
        return self._reserved_cache[window]

    def _budget_status(self, budget: Budget) -> BudgetStatus:
        return BudgetStatus(
            budget=budget,
            spent_nanos=self._spending.nanos[budget.window],
            reserved_nanos=self._reserved_nanos(budget.window),
            renews_at=renewal(budget.window, self._spending.day),
        )


def _parse_reservation(at: int, day: int, lease_ends: int, images: int, nanos: int, *_new: object) -> Reservation:
    return Reservation(at=at, day=day, lease_ends=lease_ends, images=images, nanos=nanos)


def _rate_status(window: SlidingWindow, now: int, rate: Rate | None) -> RateStatus | None:
    if rate is None:
        return None
    return RateStatus(
        limit=rate.limit,
        remaining=max(0, rate.limit - window.used(now, rate)),
        reset_seconds=window.empty_in(now, rate) / 1000,
    )
