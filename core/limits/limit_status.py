"""How a key stands with its limits, as values: for the headers of its answers, and for the report of its use."""

from __future__ import annotations

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
    """After so long nothing will count any more, if nothing is added."""


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
        """What a call may still cost. Below 0 where calls cost more than was expected of them."""
        return self.budget.nanos - self.spent_nanos - self.reserved_nanos


class LimitStatus(Struct, frozen=True, kw_only=True):
    """How a key stands with all its limits; None: there is no such limit."""

    requests: RateStatus | None = None
    images: RateStatus | None = None
    budget: BudgetStatus | None = None
    in_flight: int = 0
    """Calls that have been let through and have not ended."""
