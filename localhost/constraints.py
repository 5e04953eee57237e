"""The inline constraints of ASP.NET routes: `{id:int}`, `{name:length(1,64)}`, `{code:regex(^[a-z]+$)}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

Check: TypeAlias = Callable[[str], bool]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONG = 2**63
_HEX = "[0-9a-f]"
_DASHED = f"{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}"
# .NET reads a date in many more ways; these are the ones that stand in a path.
_DATE_FORMATS = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%Y %I:%M %p", "%m-%d-%Y %I:%M%p", "%Y/%m/%d")


def check(name: str, arguments: str) -> Check:
    """Make the constraint a function of the value; ValueError if there is no such constraint."""
    known = name.lower()
    # A comma separates arguments, except in a regular expression.
    split = [arguments] if known == "regex" else [part.strip() for part in arguments.split(",") if part]
    try:
        return _CONSTRAINTS[known](*split)
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise ValueError(f"there is no constraint {name}({arguments})") from error


def _integer(low: int = -_LONG, high: int = _LONG - 1) -> Check:
    return lambda value: bool(_INTEGER.fullmatch(value)) and low <= int(value) <= high


def _length(low: int, high: float) -> Check:
    return lambda value: low <= len(value) <= high


def _whole(expression: str) -> Check:
    pattern = re.compile(expression, re.IGNORECASE | re.ASCII)
    return lambda value: bool(pattern.fullmatch(value))


def _somewhere(expression: str) -> Check:
    pattern = re.compile(expression, re.IGNORECASE)
    return lambda value: bool(pattern.search(value))


def _is_date(value: str) -> bool:
    for read in (datetime.fromisoformat, *(_reader(form) for form in _DATE_FORMATS)):
        try:
            read(value)
        except ValueError:
            continue
        return True
    return False


def _reader(form: str) -> Callable[[str], datetime]:
    return lambda value: datetime.strptime(value, form)  # noqa: DTZ007  # whether it is one, not when


_CONSTRAINTS: dict[str, Callable[..., Check]] = {
    "alpha": lambda: _whole("[a-z]*"),
    "bool": lambda: _whole("true|false"),
    "datetime": lambda: _is_date,
    "decimal": lambda: _whole(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)"),
    "double": lambda: _whole(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?"),
    "float": lambda: _whole(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?"),
    "guid": lambda: _whole(rf"{_HEX}{{32}}|{_DASHED}|\{{{_DASHED}\}}|\({_DASHED}\)"),
    "int": lambda: _integer(-(2**31), 2**31 - 1),
    "length": lambda low, high=None: _length(int(low), int(high or low)),
    "long": _integer,
    "max": lambda high: _integer(high=int(high)),
    "maxlength": lambda high: _length(0, int(high)),
    "min": lambda low: _integer(low=int(low)),
    "minlength": lambda low: _length(int(low), float("inf")),
    "range": lambda low, high: _integer(int(low), int(high)),
    "regex": _somewhere,
    "required": lambda: bool,
}
