"""What people type, read strictly: `20/1h`, `50/month`, `2027-01-01`, `key=value`, `24h`.

Everything that is not of its form raises ValueError, with the forms that are.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

WINDOWS: Final = ("day", "week", "month", "total")
"""How long a budget lasts."""

_COUNT: Final = r"[1-9][0-9]{0,9}"
"""The gateway has bounds of its own."""
_RATE: Final = re.compile(rf"({_COUNT})/([1-9][0-9]{{0,6}})?([a-z]+)")
_AMOUNT: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)/([a-z]+)")
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNITS: Final = {
    unit: letter
    for letter, names in {
        "s": ("s", "second", "seconds"),
        "m": ("m", "minute", "minutes"),
        "h": ("h", "hour", "hours"),
        "d": ("d", "day", "days"),
    }.items()
    for unit in names
}
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def rate(text: str) -> dict[str, Any]:
    """Read `20/1h` or `20/hour`: at most 20 in any hour."""
    found = _RATE.fullmatch(text.strip().lower())
    if not found or found[3] not in _UNITS:
        raise ValueError(f"{text!r} is not COUNT/WINDOW, such as 20/1h, 60/1m or 500/day, with a count of 1 or more")
    return {"limit": int(found[1]), "window": f"{found[2] or '1'}{_UNITS[found[3]]}"}


def per_minute(text: str) -> dict[str, Any]:
    """Read `20`: at most 20 in any minute."""
    if not re.fullmatch(_COUNT, text.strip()):
        raise ValueError(f"{text!r} is not a whole number of 1 or more")
    return {"limit": int(text), "window": "1m"}


def budget(text: str) -> dict[str, Any]:
    """Read `50/month`: at most 50 US dollars in a calendar month."""
    found = _AMOUNT.fullmatch(text.strip().lower())
    if not found or found[2] not in WINDOWS or not float(found[1]):
        raise ValueError(
            f"{text!r} is not USD/WINDOW, such as 50/month or 0.50/day, with more than 0 US dollars;"
            f" the windows are {', '.join(WINDOWS)}"
        )
    amount = float(found[1])
    return {"usd": int(amount) if amount.is_integer() else amount, "window": found[2]}


def moment(text: str) -> str:
    """Read a date (its beginning, in UTC) or a time of ISO 8601; a time without an offset is UTC."""
    try:
        found = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2027-01-01, or a time such as 2027-01-01T12:00Z") from None
    aware = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    try:
        return aware.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the calendar") from None


def day(text: str) -> str:
    """Read a date."""
    try:
        return dt.date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2026-11-30") from None


def pair(text: str) -> tuple[str, str]:
    """Read `cost_center=4711`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"{text!r} is not NAME=VALUE, such as cost_center=4711")
    return name.strip(), value.strip()


def seconds(text: str) -> int:
    """Read a duration: `0`, `90s`, `30m`, `24h`, `7d`; a bare number is seconds."""
    found = _DURATION.fullmatch(text.strip().lower())
    if not found:
        raise ValueError(f"{text!r} is not a duration such as 0, 90s, 30m, 24h or 7d")
    return int(found[1]) * _SECONDS[found[2]]


def names(texts: list[str]) -> list[str]:
    """Read deployments, given one by one or with commas; each once, in the order in which they were given."""
    found = [name.strip() for text in texts for name in text.split(",")]
    if not all(found):
        raise ValueError("a deployment's name is empty; give names such as gpt-image-2, or '*' for all")
    return list(dict.fromkeys(found))
