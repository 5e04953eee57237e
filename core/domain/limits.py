"""What a virtual key may spend, as values: requests and pictures in a window of time, and a budget."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

NANOS: Final = 1_000_000_000
"""Money is counted in whole billionths of a US dollar, so that sums are exact: a token costs some thousands of them."""


class Rate(Struct, frozen=True, kw_only=True):
    """At most `limit` in any `window_seconds`."""

    limit: int
    window_seconds: int


class BudgetWindow(StrEnum):
    """How long a budget lasts; all in UTC, a week begins on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class Budget(Struct, frozen=True, kw_only=True):
    """At most `nanos` (billionths of a US dollar) in a window."""

    nanos: int
    window: BudgetWindow


class Limits(Struct, frozen=True, kw_only=True):
    """All limits of one key; None is no limit."""

    requests: Rate | None = None
    images: Rate | None = None
    budget: Budget | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to count."""
        return self != UNLIMITED


UNLIMITED: Final = Limits()
