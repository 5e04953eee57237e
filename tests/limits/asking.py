"""Calls as the quota of a key sees them."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

from core.domain.limits import Budget, BudgetWindow, Limits, Rate
from core.limits.reservations import Reservation, ReservationRequest, Settlement

if TYPE_CHECKING:
    from core.limits.quota import Quota

LEASE = 280_000
"""In ms: a call of 220 s and a minute."""

_numbers = itertools.count(1)


def moment(text: str) -> int:
    """A moment as milliseconds of Unix time."""
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp() * 1000)


NOW = moment("2026-11-22T12:00")


def make_limits(
    *,
    requests: int | None = None,
    images: int | None = None,
    nanos: int | None = None,
    window: BudgetWindow = BudgetWindow.MONTH,
    seconds: int = 60,
) -> Limits:
    """Limits of requests and pictures in so many seconds, and of money."""
    return Limits(
        requests=None if requests is None else Rate(limit=requests, window_seconds=seconds),
        images=None if images is None else Rate(limit=images, window_seconds=seconds),
        budget=None if nanos is None else Budget(nanos=nanos, window=window),
    )


def ask(limits: Limits, *, images: int = 1, nanos: int = 0, **fields: Any) -> ReservationRequest:
    """A call under an id of its own."""
    given = {"id": f"{next(_numbers):016x}", "lease": LEASE, **fields}
    return ReservationRequest(limits=limits, images=images, nanos=nanos, **given)


def reserved(quota: Quota, asked: ReservationRequest, now: int = NOW) -> Reservation:
    """Let a call through that must get through."""
    answer = quota.admit(now, asked)
    assert isinstance(answer, Reservation), answer
    return answer


def settlement(
    asked: ReservationRequest, reservation: Reservation, *, images: int | None = None, nanos: int = 0
) -> Settlement:
    """What a call came to; as many pictures as it asked for, if nothing else is said."""
    return Settlement(
        id=asked.id,
        at=reservation.at,
        day=reservation.day,
        images=asked.images if images is None else images,
        nanos=nanos,
        images_rate=asked.limits.images,
    )
