"""Limits and budgets as JSON: every window, money to the last billionth, and back again."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.auth.limits_json import (
    MAX_USD,
    BudgetForm,
    RateForm,
    RateLimitForm,
    budget_form,
    parse_limits,
    rate_limit_form,
    window_seconds,
    window_text,
)
from core.domain.limits import NANOS, UNLIMITED, Budget, BudgetWindow, Limits, Rate

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = 31 * 86_400

RATES = st.builds(Rate, limit=st.integers(1, 10**9), window_seconds=st.integers(1, LONGEST))
BUDGETS = st.builds(Budget, nanos=st.integers(1, MAX_USD * NANOS), window=st.sampled_from(BudgetWindow))
ALLOWANCES = st.builds(Limits, requests=st.none() | RATES, images=st.none() | RATES, budget=st.none() | BUDGETS)


def nanos(usd: Any) -> int | None:
    """What a budget is in billionths; None: it is none."""
    try:
        return BudgetForm.model_validate_json(json.dumps({"usd": usd, "window": "day"})).budget.nanos
    except ValidationError:
        return None


@given(ALLOWANCES)
def test_there_and_back(limits: Limits) -> None:
    """Whatever a key may spend is the same when it has been JSON, in any program that reads numbers in 64 bits."""
    rate_limit, budget = rate_limit_form(limits), budget_form(limits)
    sent = [None if form is None else json.loads(form.model_dump_json()) for form in (rate_limit, budget)]
    read = parse_limits(
        None if sent[0] is None else RateLimitForm.model_validate(sent[0]),
        None if sent[1] is None else BudgetForm.model_validate(sent[1]),
    )
    assert limits == read


@pytest.mark.parametrize("unit", UNITS)
def test_every_window(unit: str) -> None:
    """In each unit every whole number up to 31 days is a window, and no other is."""
    most = LONGEST // UNITS[unit]
    assert all(number * UNITS[unit] == window_seconds(f"{number}{unit}") for number in range(1, min(most, 50_000) + 1))
    assert most * UNITS[unit] == window_seconds(f"{most}{unit}")
    beyond = (0, *(most + more for more in (1, 2, 9, 10, 99, 100, 999, 10**6)), most * 10, most * 10 + 9)
    assert {None} == {window_seconds(f"{number}{unit}") for number in beyond}


@pytest.mark.parametrize("text", ["", "s", "1", "1 m", "1M", "01m", "+1m", "-1m", "1.5h", "1w", "1m\n", "٣m", "1m1s"])
def test_no_windows(text: str) -> None:
    """What is not a whole number and a unit is no window."""
    assert window_seconds(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (60, "1m"), (90, "90s"), (3600, "1h"), (86_400, "1d"), (LONGEST, "31d")]
)
def test_windows_are_written_shortly(seconds: int, text: str) -> None:
    """A window is written in the largest unit that fits."""
    assert text == window_text(seconds)


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        (50, 50 * NANOS),
        (0.1, 100_000_000),
        (0.1 + 0.2, 300_000_000),
        (1e-9, 1),
        (1.9999999999, 1_999_999_999),
        (999_999.999999999, 999_999_999_999_999),
        (1_000_000, 10**15),
        (1_000_000.001, None),
        (9e-10, None),
        (0, None),
        (-1, None),
        ("50", None),
        (True, None),
        (None, None),
    ],
    ids=str,
)
def test_money(usd: Any, expected: int | None) -> None:
    """Money is exact to a billionth of a dollar; what is smaller is cut off, so that a budget is never more."""
    assert expected == nanos(usd)


@given(st.floats(1e-9, MAX_USD))
def test_never_more_than_was_asked(usd: float) -> None:
    """Any number within the bounds is a budget, and at most a billionth less."""
    found = nanos(usd)
    assert found is not None
    assert 0 <= Decimal(repr(usd)) * NANOS - found < 1


@pytest.mark.parametrize("limit", [1, 1.0, 10**9, 1e9])
def test_whole_numbers(limit: float) -> None:
    """A whole number may be written with a decimal point."""
    form = RateForm.model_validate_json(json.dumps({"limit": limit, "window": "1m"}))
    assert Rate(limit=int(limit), window_seconds=60) == form.rate


@pytest.mark.parametrize("limit", [0, -1, 1.5, 10**9 + 1, "1", True, None, 1e300])
def test_no_limits(limit: Any) -> None:
    """What is not a whole number within the bounds is no limit."""
    with pytest.raises(ValidationError):
        RateForm.model_validate_json(json.dumps({"limit": limit, "window": "1m"}))


def test_nothing_is_no_limit() -> None:
    """Without limits there is nothing to show, and an empty object is none."""
    assert (None, None) == (rate_limit_form(UNLIMITED), budget_form(UNLIMITED))
    assert UNLIMITED == parse_limits(RateLimitForm(), None) == parse_limits(None, None)
