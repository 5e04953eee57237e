"""What a virtual key may spend, as values: requests and pictures in a window of time, and a budget."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NANOS: Final = 1_000_000_000
"""Money is counted in whole billionths of a US dollar, so that sums are exact: a token costs some thousands of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `limit` in any `window_seconds`."""

    limit: int
    window_seconds: int


class BudgetWindow(StrEnum):
    """How long a budget lasts; all in UTC, a week begins on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `nanos` (billionths of a US dollar) in a window."""

    nanos: int
    window: BudgetWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """All limits of one key; None is no limit."""

    requests: Rate | None = None
    images: Rate | None = None
    budget: Budget | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to count."""
        return self != UNLIMITED


UNLIMITED: Final = Allowance()
