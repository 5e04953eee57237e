"""The options that several commands share, and how their values are read: `20/1h`, `50/month`, `2027-01-01`, `24h`.

A value in another form is a usage error that shows the right forms.
"""

import calendar
import datetime as dt
import re
from typing import Annotated, Any, Final

import typer

BUDGET_WINDOWS: Final = ("day", "week", "month", "total")

_COUNT: Final = r"[1-9][0-9]{0,9}"
_RATE: Final = re.compile(rf"({_COUNT})/([1-9][0-9]{{0,6}})?(s|m|h|d|seconds?|minutes?|hours?|days?)")
_BUDGET: Final = re.compile(rf"([0-9]{{1,12}}(?:\.[0-9]{{1,9}})?)/({'|'.join(BUDGET_WINDOWS)})")
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd]?)")
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_rate(text: str) -> dict[str, Any]:
    """Read `20/1h` or `20/hour`: at most 20 in any hour."""
    found = _RATE.fullmatch(text.strip().lower())
    if not found:
        raise typer.BadParameter(
            f"{text!r} is not COUNT/WINDOW, such as 20/1h, 60/1m or 500/day, with a count of 1 or more"
        )
    return {"limit": int(found[1]), "window": f"{found[2] or '1'}{found[3][0]}"}


def parse_per_minute(text: str) -> dict[str, Any]:
    """Read `20`: at most 20 in any minute."""
    if not re.fullmatch(_COUNT, text.strip()):
        raise typer.BadParameter(f"{text!r} is not a whole number of 1 or more")
    return {"limit": int(text), "window": "1m"}


def parse_budget(text: str) -> dict[str, Any]:
    """Read `50/month`: at most 50 US dollars in a calendar month."""
    found = _BUDGET.fullmatch(text.strip().lower())
    amount = float(found[1]) if found else 0.0
    if not found or not amount:
        raise typer.BadParameter(
            f"{text!r} is not USD/WINDOW, such as 50/month or 0.50/day, with more than 0 US dollars;"
            f" the windows are {', '.join(BUDGET_WINDOWS)}"
        )
    return {"usd": int(amount) if amount.is_integer() else amount, "window": found[2]}


def parse_time(text: str) -> str:
    """Read a date (midnight in UTC) or a time of ISO 8601; without an offset it is UTC."""
    try:
        found = dt.datetime.fromisoformat(text.strip())
        utc = (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a date such as 2027-01-01, or a time such as 2027-01-01T12:00Z"
        ) from None
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is not within the years 1 to 9999") from None
    return utc.isoformat().replace("+00:00", "Z")


def parse_first_day(text: str) -> str:
    """Read a date, or a month as its first day."""
    return f"{text.strip()}-01" if _MONTH.fullmatch(text.strip()) else _parse_date(text)


def parse_last_day(text: str) -> str:
    """Read a date, or a month as its last day."""
    month = _MONTH.fullmatch(text.strip())
    if not month or month[1] == "0000":
        return _parse_date(text)
    return f"{month[0]}-{calendar.monthrange(int(month[1]), int(month[2]))[1]}"


def parse_month(text: str) -> str:
    """Read a month such as `2026-01`."""
    if not _MONTH.fullmatch(text.strip()):
        raise typer.BadParameter(f"{text!r} is not a month such as 2026-01")
    return text.strip()


def parse_pair(text: str) -> tuple[str, str]:
    """Read `cost_center=4711`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE, such as cost_center=4711")
    return name.strip(), value.strip()


def parse_seconds(text: str) -> int:
    """Read a duration: `0`, `90s`, `30m`, `24h`, `7d`; a bare number is seconds."""
    found = _DURATION.fullmatch(text.strip().lower())
    if not found:
        raise typer.BadParameter(f"{text!r} is not a duration such as 0, 90s, 30m, 24h or 7d")
    return int(found[1]) * _SECONDS[found[2]]


def parse_names(texts: list[str] | None) -> list[str] | None:
    """Read deployments, given one by one or with commas, each once; None where none are given."""
    names = [name.strip() for text in texts or () for name in text.split(",")]
    if not all(names):
        raise typer.BadParameter(
            "a deployment's name is empty; give names such as gpt-image-2, or '*' for all", param_hint="--deployments"
        )
    return list(dict.fromkeys(names)) or None


def parse_key_reference(text: str) -> str:
    """Read a key's id or name."""
    if text.strip() in {"", ".", ".."}:
        raise typer.BadParameter("give the key's id or name, as `keys list` shows it")
    if text.strip().startswith("sk-bf-"):
        raise typer.BadParameter("this is a key's secret, not its id or name; `keys list` shows both")
    return text.strip()


def one_limit(what: str, rate: Any, per_minute: Any) -> Any:
    """Give the limit that was given in one of two ways, or None."""
    if rate is not None and per_minute is not None:
        raise typer.BadParameter(f"give --{what} or --{what}-per-minute, not both", param_hint=f"--{what}")
    return per_minute if rate is None else rate


def _parse_date(text: str) -> str:
    try:
        return dt.date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date such as 2026-11-30 or a month such as 2026-11") from None


KeyReference = Annotated[
    str,
    typer.Argument(metavar="KEY", parser=parse_key_reference, help="The key's id or name, as `keys list` shows it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Deployments = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAMES",
        help="The deployments that may be called, with commas between them, or '*' (in quotes) for all.",
    ),
]
Images = Annotated[
    Any,
    typer.Option(metavar="COUNT/WINDOW", parser=parse_rate, help="The most images in a time: 20/1h, 500/day."),
]
ImagesPerMinute = Annotated[
    Any, typer.Option(metavar="COUNT", parser=parse_per_minute, help="The same as --images COUNT/1m.")
]
Requests = Annotated[
    Any,
    typer.Option(metavar="COUNT/WINDOW", parser=parse_rate, help="The most requests in a time: 60/1m, 1000/day."),
]
RequestsPerMinute = Annotated[
    Any, typer.Option(metavar="COUNT", parser=parse_per_minute, help="The same as --requests COUNT/1m.")
]
Budget = Annotated[
    Any,
    typer.Option(
        metavar="USD/WINDOW",
        parser=parse_budget,
        help="The most it may spend, in US dollars: 50/month. A window is a day, week, month (in UTC) or total.",
    ),
]
Expires = Annotated[
    Any, typer.Option(metavar="DATE", parser=parse_time, help="When it expires (UTC), such as 2027-01-01.")
]
Metadata = Annotated[
    list[Any] | None,
    typer.Option(
        metavar="NAME=VALUE",
        parser=parse_pair,
        help="A note of your own, such as cost_center=4711. Repeat it for more.",
    ),
]
Deployment = Annotated[str, typer.Option("--deployment", "-d", metavar="NAME", help="The deployment to ask.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Such as 1024x1024, or auto.")]
Quality = Annotated[str | None, typer.Option(metavar="NAME", help="Such as low, medium or high.")]
Count = Annotated[int | None, typer.Option("--n", metavar="COUNT", help="How many images.")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Your own name for this request. The same name again never buys twice."),
]


def examples(*commands: str) -> str:
    """Make the last paragraph of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  image-gateway {command}" for command in commands)])
