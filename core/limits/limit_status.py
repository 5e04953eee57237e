"""What a key has left of its limits, as values: for the headers of its answers, and for the report of its usage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import datetime as dt

    from core.domain.limits import Budget


class RateStatus(Struct, frozen=True, kw_only=True):
    """What is left of requests or pictures in a window."""

    limit: int
    remaining: int
    reset_seconds: float
    """Seconds until nothing counts any more, if nothing is added."""


class BudgetStatus(Struct, frozen=True, kw_only=True):
    """What is left of a budget. Money is in billionths of a US dollar."""

    budget: Budget
    spent_nanos: int
    reserved_nanos: int
    """What calls in flight may cost."""
    renews_at: dt.datetime | None
    """None: never, it is for the key's whole life."""

    @property
    def remaining_nanos(self) -> int:
        """What a call may still cost. Below 0 if calls cost more than was reserved for them."""
        return self.budget.nanos - self.spent_nanos - self.reserved_nanos


class LimitStatus(Struct, frozen=True, kw_only=True):
    """What a key has left of all its limits; None: there is no such limit."""

    requests: RateStatus | None = None
    images: RateStatus | None = None
    budget: BudgetStatus | None = None
    in_flight: int = 0
    """Calls that have been admitted and have not ended."""

    def headers(self) -> dict[str, str]:
        """What is left of requests and images, in the headers that OpenAI uses (contract §4)."""
        headers = {}
        for name, rate in (("requests", self.requests), ("images", self.images)):
            if rate is not None:
                headers[f"x-ratelimit-limit-{name}"] = str(rate.limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(rate.remaining)
                headers[f"x-ratelimit-reset-{name}"] = f"{math.ceil(rate.reset_seconds)}s"
        return headers
