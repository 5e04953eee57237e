"""What the gateway answers, as values. Only what is shown is read; `--json` passes on all of it."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cli.failure import Failure

_A = TypeVar("_A", bound="Answer")


class Answer(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def read(form: type[_A], value: Any) -> _A:
    """Read an answer. Raises Failure where it is none of its form."""
    try:
        return form.model_validate(value)
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        raise not_understood(f"it has no proper {place}" if place else "a part of it is missing") from None


def not_understood(why: str) -> Failure:
    """The answer is not one that this command line knows."""
    return Failure(
        f"The answer cannot be understood: {why}.",
        "Is GATEWAY_URL the gateway's own address, and this command line of the same version?",
    )


def money(usd: float) -> str:
    """Write an amount in cents; what is less than one is not nothing."""
    if 0 < usd < 0.01:
        return "< 0.01"
    return f"{usd:,.2f}"


def exact(usd: float) -> str:
    """Write an amount with all its decimals, as many as it has; the gateway counts in billionths."""
    return f"{usd:,.9f}".rstrip("0").rstrip(".")


def when(moment: dt.datetime) -> str:
    """Write a time for people, in UTC; midnight as the date alone."""
    utc = moment.astimezone(dt.UTC)
    midnight = utc.time() == dt.time()
    return utc.date().isoformat() if midnight else utc.strftime("%Y-%m-%d %H:%M UTC")
