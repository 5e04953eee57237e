"""The errors for calls that exceed a limit: each names the limit and says when it ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from core.domain.errors import BudgetExceeded, RateLimited
from core.domain.limits import BudgetWindow

if TYPE_CHECKING:
    from core.domain.limits import Rate
    from core.limits.limit_status import BudgetStatus

IN_FLIGHT_RETRY_SECONDS: Final = 5.0
"""When a call may be repeated if too many are in flight: a picture takes 10 s and more."""

_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_WINDOWS: Final = {
    BudgetWindow.DAY: "this day (UTC)",
    BudgetWindow.WEEK: "this week (UTC)",
    BudgetWindow.MONTH: "this month (UTC)",
    BudgetWindow.TOTAL: "its whole life",
}


def too_many_requests(rate: Rate, wait: int | None) -> RateLimited:
    """Deny a call that exceeds the requests of a window; `wait` is in milliseconds, None: no waiting helps."""
    return _rate_limited(f"This key may make at most {_count(rate.limit, 'request')} in {_duration(rate)}", wait)


def too_many_images(rate: Rate, images: int, wait: int | None) -> RateLimited:
    """Deny a call that exceeds the pictures of a window; `wait` is in milliseconds, None: no waiting helps."""
    limit = f"at most {_count(rate.limit, 'picture')} in {_duration(rate)}"
    return _rate_limited(f"This key may generate {limit}, and this call asks for {images}", wait, param="n")


def too_many_in_flight(maximum: int) -> RateLimited:
    """Deny a call of a key that has as many calls in flight as its quota can store."""
    return RateLimited(
        f"This key has {maximum:,} calls in flight, which is the maximum; try again when some have ended",
        retry_after=IN_FLIGHT_RETRY_SECONDS,
    )


def budget_exceeded(status: BudgetStatus) -> BudgetExceeded:
    """Deny a call that may cost more than is left."""
    window = _WINDOWS[status.budget.window]
    renews = (
        "it does not renew, so ask your operator for more"
        if status.renews_at is None
        else f"it renews at {status.renews_at:%Y-%m-%dT%H:%M:%SZ}"
    )
    return BudgetExceeded(
        f"This call may cost more than what calls before it, and those in flight, have left of this key's budget"
        f" for {window}; {renews}"
    )


def _rate_limited(rule: str, wait: int | None, *, param: str | None = None) -> RateLimited:
    if wait is None:
        return RateLimited(f"{rule}; that can never pass, and waiting will not help", param=param, retry_after=None)
    seconds = wait / 1000
    return RateLimited(f"{rule}; try again in {math.ceil(seconds):,} s", param=param, retry_after=seconds)


def _duration(rate: Rate) -> str:
    unit, seconds = next(each for each in _UNITS if rate.window_seconds % each[1] == 0)
    return _count(rate.window_seconds // seconds, unit)


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
