"""Limits and budgets as JSON, in the setting and in the admin API alike.

    {"rate_limit": {"requests": {"limit": 60, "window": "1m"}, "images": {"limit": 20, "window": "1h"}},
     "budget": {"usd": 50, "window": "month"}}

Money is a JSON number of at most a million. With 9 decimals that is exact in the
64-bit numbers that JSON is read into everywhere (15 significant digits, IEEE 754). It is stored in whole billionths;
smaller fractions are cut off.
"""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from core.domain.limits import NANOS, Budget, BudgetWindow, Limits, Rate

MAX_USD: Final = 1_000_000
MAX_PER_WINDOW: Final = 1_000_000_000
WINDOW_RULE: Final = "a whole number and s, m, h or d, from 1s to 31d"

_UNITS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_WINDOWS: Final = {
    "d": "[1-9]|[12][0-9]|3[01]",
    "h": "[1-9][0-9]?|[1-6][0-9]{2}|7[0-3][0-9]|74[0-4]",
    "m": "[1-9][0-9]{0,3}|[1-3][0-9]{4}|4[0-3][0-9]{3}|44[0-5][0-9]{2}|446[0-3][0-9]|44640",
    "s": "[1-9][0-9]{0,5}|1[0-9]{6}|2[0-5][0-9]{5}|26[0-6][0-9]{4}|267[0-7][0-9]{3}|2678[0-3][0-9]{2}|2678400",
}
"""At most 31 days in each unit, as regular expressions, so that the schema has the whole rule."""
_WINDOW: Final = re.compile("|".join(f"({numbers}){unit}" for unit, numbers in _WINDOWS.items()))
_SMALLEST_USD: Final = 1 / NANOS


def window_seconds(text: str) -> int | None:
    """Read a window such as `30s`, `1m`, `12h` or `31d`. None: it is not a window, or longer than 31 days."""
    return int(text[:-1]) * _UNITS[text[-1]] if _WINDOW.fullmatch(text) else None


def window_text(seconds: int) -> str:
    """Write a window in the largest unit that fits: 3600 seconds are `1h`, 90 are `90s`."""
    unit = next(unit for unit, size in _UNITS.items() if seconds % size == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def usd(nanos: int) -> float:
    """Billionths of a US dollar as a JSON number."""
    return nanos / NANOS


def _whole(value: object) -> object:
    """Accept 60.0, which is an integer in JSON Schema (2020-12, §6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _window(text: str) -> str:
    if window_seconds(text) is None:
        raise ValueError(f"a window is {WINDOW_RULE}")
    return text


WHOLE: Final = BeforeValidator(_whole)
"""For an integer field, after its bounds: the number may be written with a decimal point."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)


class RateForm(_Form):
    """At most so many in any window of this length (a sliding window)."""

    limit: Annotated[int, Field(ge=1, le=MAX_PER_WINDOW), WHOLE]
    window: Annotated[
        str,
        AfterValidator(_window),
        Field(
            description="A whole number and `s`, `m`, `h` or `d`, from `1s` to `31d`.",
            examples=["1m"],
            json_schema_extra={"pattern": f"^({_WINDOW.pattern})$"},
        ),
    ]

    @property
    def rate(self) -> Rate:
        """The same as a value."""
        return Rate(limit=self.limit, window_seconds=window_seconds(self.window) or 0)


class RateLimitForm(_Form):
    """What may be requested in a period of time. Each picture counts, however many a call generates."""

    requests: RateForm | None = None
    images: RateForm | None = None


class BudgetForm(_Form):
    """What may be spent in a day, week or month (UTC, a week begins on Monday), or in total."""

    usd: Annotated[
        float,
        Field(ge=_SMALLEST_USD, le=MAX_USD, allow_inf_nan=False, description="US dollars; 9 decimals are kept."),
    ]
    window: Annotated[BudgetWindow, Field(strict=False)]

    @property
    def budget(self) -> Budget:
        """The same as a value."""
        nanos = (Decimal(repr(self.usd)) * NANOS).to_integral_value(ROUND_DOWN)
        return Budget(nanos=int(nanos), window=self.window)


def parse_limits(rate_limit: RateLimitForm | None, budget: BudgetForm | None) -> Limits:
    """Read a key's limits from their JSON."""
    rates = rate_limit or RateLimitForm()
    return Limits(
        requests=None if rates.requests is None else rates.requests.rate,
        images=None if rates.images is None else rates.images.rate,
        budget=None if budget is None else budget.budget,
    )


def rate_limit_form(limits: Limits) -> RateLimitForm | None:
    """The rate limits as JSON; None where there is none."""
    if limits.requests is None and limits.images is None:
        return None
    return RateLimitForm(requests=_rate_form(limits.requests), images=_rate_form(limits.images))


def budget_form(limits: Limits) -> BudgetForm | None:
    """The budget as JSON."""
    if limits.budget is None:
        return None
    return BudgetForm(usd=usd(limits.budget.nanos), window=limits.budget.window)


def _rate_form(rate: Rate | None) -> RateForm | None:
    return None if rate is None else RateForm(limit=rate.limit, window=window_text(rate.window_seconds))
