"""Money spent by day, week, month and in total, in UTC: all four, so that the window of a budget can be changed.

Days are counted since 1970-01-01, money in whole billionths of a US dollar.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.domain.limits import BudgetWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DAY: Final = 24 * 60 * 60 * 1000
_FIRST: Final = dt.date(1970, 1, 1)
_DAYS_SINCE_MONDAY: Final = 3
"""1970-01-01 was a Thursday."""


def day_of(at: int) -> int:
    """The day of a time in milliseconds of Unix time."""
    return at // _DAY


def _month(day: int) -> int:
    date = _FIRST + dt.timedelta(days=day)
    return date.year * 12 + date.month - 1


_NUMBER: Final[Mapping[BudgetWindow, Callable[[int], int]]] = {
    BudgetWindow.DAY: lambda day: day,
    BudgetWindow.WEEK: lambda day: (day + _DAYS_SINCE_MONDAY) // 7,
    BudgetWindow.MONTH: _month,
    BudgetWindow.TOTAL: lambda _: 0,
}
"""The number of the window that a day is in."""


def same_window(window: BudgetWindow, one: int, other: int) -> bool:
    """Whether two days are in the same window."""
    return _NUMBER[window](one) == _NUMBER[window](other)


def renewal(window: BudgetWindow, day: int) -> dt.datetime | None:
    """When the window after that of a day begins; None: there is none."""
    date = _FIRST + dt.timedelta(days=day)
    match window:
        case BudgetWindow.DAY:
            first = date + dt.timedelta(days=1)
        case BudgetWindow.WEEK:
            first = date + dt.timedelta(days=7 - date.weekday())
        case BudgetWindow.MONTH:
            first = dt.date(date.year + date.month // 12, date.month % 12 + 1, 1)
        case BudgetWindow.TOTAL:
            return None
    return dt.datetime(first.year, first.month, first.day, tzinfo=dt.UTC)


class BudgetSpending(Struct, kw_only=True):
    """What one key has spent. `day` never goes back, so that a slow clock does not begin a window again."""

    day: int
    nanos: dict[BudgetWindow, int]

    def turn_to(self, day: int) -> None:
        """Begin the windows of a day, if they are newer than the current ones."""
        if day > self.day:
            for window in BudgetWindow:
                if not same_window(window, self.day, day):
                    self.nanos[window] = 0
            self.day = day

    def charge(self, nanos: int, day: int) -> None:
        """Charge what was spent on a day to the windows that have not ended since."""
        self.turn_to(day)
        for window in BudgetWindow:
            if same_window(window, self.day, day):
                self.nanos[window] += nanos

    @classmethod
    def none(cls) -> BudgetSpending:
        """Nothing spent yet."""
        return cls(day=0, nanos=dict.fromkeys(BudgetWindow, 0))
