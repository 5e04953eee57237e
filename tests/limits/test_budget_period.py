"""Money by day, week, month and in total, compared with the calendar."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.limits import BudgetWindow
from core.limits.budget_period import BudgetSpending, day_of, renewal, same_window

FIRST = dt.date(1970, 1, 1)

dates = st.dates(dt.date(2024, 1, 1), dt.date(2030, 12, 31))
charges = st.lists(st.tuples(st.integers(0, 800), st.integers(0, 10**12)), max_size=40)
"""Days after a first one, and money."""


def number(date: dt.date) -> int:
    """A date as days since 1970."""
    return (date - FIRST).days


def by_the_calendar(window: BudgetWindow, date: dt.date) -> object:
    """The window of a date, as Python's own calendar has it."""
    match window:
        case BudgetWindow.DAY:
            return date
        case BudgetWindow.WEEK:
            return date.isocalendar()[:2]
        case BudgetWindow.MONTH:
            return date.year, date.month
        case BudgetWindow.TOTAL:
            return None


@given(st.sampled_from(BudgetWindow), dates, dates)
def test_windows_are_those_of_the_calendar(window: BudgetWindow, one: dt.date, other: dt.date) -> None:
    """Two days share a window where the calendar says so; weeks are ISO's."""
    same = by_the_calendar(window, one) == by_the_calendar(window, other)
    assert same == same_window(window, number(one), number(other))


@given(st.sampled_from([BudgetWindow.DAY, BudgetWindow.WEEK, BudgetWindow.MONTH]), dates)
def test_the_next_window_begins_when_it_renews(window: BudgetWindow, date: dt.date) -> None:
    """The day of the renewal is in the next window, the day before it still in this one."""
    renews_at = renewal(window, number(date))
    assert renews_at is not None
    assert dt.time(0, tzinfo=dt.UTC) == renews_at.timetz()
    first = number(renews_at.date())
    assert same_window(window, first - 1, number(date))
    assert not same_window(window, first, number(date))


def test_a_total_never_renews() -> None:
    """A budget for a key's whole life has no end."""
    assert renewal(BudgetWindow.TOTAL, 20_000) is None


@given(charges)
def test_sums_are_those_of_the_latest_windows(steps: list[tuple[int, int]]) -> None:
    """After charges in any order each window has the sum of those that lie in the window of the latest day."""
    spending = BudgetSpending.none()
    begin = number(dt.date(2026, 11, 22))
    for day, nanos in steps:
        spending.charge(nanos, begin + day)
    latest = max((begin + day for day, _ in steps), default=0)
    for window in BudgetWindow:
        # A charge that comes late for a window which had ended, but shares the one that is open, counts there.
        expected = sum(nanos for day, nanos in steps if same_window(window, begin + day, latest))
        assert expected == spending.nanos[window]


def test_a_clock_that_lags_opens_no_window_anew() -> None:
    """Turning back to yesterday leaves what was spent today."""
    spending = BudgetSpending.none()
    spending.charge(5, 20_001)
    spending.turn_to(20_000)
    assert (20_001, 5) == (spending.day, spending.nanos[BudgetWindow.DAY])


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), 0),
        (dt.datetime(2026, 11, 22, 23, 59, 59, 999_000, tzinfo=dt.UTC), 20_779),
        (dt.datetime(2026, 11, 23, tzinfo=dt.UTC), 20_780),
    ],
)
def test_days_turn_at_midnight_utc(moment: dt.datetime, day: int) -> None:
    """The last millisecond of a day is in it."""
    assert day == day_of(round(moment.timestamp() * 1000))
