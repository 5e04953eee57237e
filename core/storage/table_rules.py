"""What Azure Table Storage accepts, checked before anything is sent, so that all adapters accept the same.

Breaking these rules is a bug, so it raises ValueError. Numbers and names are from the Azure Table
Storage docs, "understanding the Table service data model" and "performing entity group transactions".
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from core.storage.tables import MAX_CHANGES, MAX_ROWS_PER_PAGE, Replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.storage.tables import Change, Row

MAX_VALUES: Final = 252
"""How many values a row may have, besides its partition, key and time."""
MAX_TEXT_LENGTH: Final = 32_768
"""In UTF-16 code units."""
MAX_BYTES: Final = 65_536

_LARGEST: Final = 2**63
_TABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")
_KEY: Final = re.compile(r"(?:(?![/\\#?%])[!-~]){1,512}")
"""`%` is allowed, and decoded once too often by some that stand between (Azure SDK docs)."""
_VALUE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_SYSTEM_NAMES: Final = frozenset({"PartitionKey", "RowKey", "Timestamp"})


def check_name(name: str) -> None:
    """Check the name of a table."""
    if not _TABLE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a table: 3 to 63 letters and digits, a letter first")


def check_key(text: str) -> None:
    """Check a row's partition or key."""
    if not _KEY.fullmatch(text):
        raise ValueError(f"{text!r} is no key: 1 to 512 visible ASCII characters without / \\ # ? %")


def check_limit(limit: int) -> None:
    """Check the size of a page."""
    if not 1 <= limit <= MAX_ROWS_PER_PAGE:
        raise ValueError(f"a page has 1 to {MAX_ROWS_PER_PAGE} rows, not {limit}")


def check_changes(changes: Sequence[Change]) -> None:
    """Check a transaction: of one partition, each row once, and nothing that a row cannot hold."""
    if not 1 <= len(changes) <= MAX_CHANGES:
        raise ValueError(f"a transaction has 1 to {MAX_CHANGES} changes, not {len(changes)}")
    rows = [change.row for change in changes]
    check_key(rows[0].partition)
    if len({row.partition for row in rows}) > 1:
        raise ValueError("a transaction changes rows of one partition")
    if len({row.key for row in rows}) < len(rows):
        raise ValueError("a transaction changes a row once")
    for change in changes:
        if isinstance(change, Replace) and not change.row.etag:
            raise ValueError(f"{change.row.key} has no ETag: a Replace needs the row as it was read")
        _check_row(change.row)


def _check_row(row: Row) -> None:
    check_key(row.key)
    if len(row.values) > MAX_VALUES:
        raise ValueError(f"{row.key} has {len(row.values)} values, and {MAX_VALUES} are the most")
    for name, value in row.values.items():
        if not _is_value_name(name):
            raise ValueError(f"{name!r} is no name of a value")
        if (wrong := _problem(value)) is not None:
            raise ValueError(f"the value {name} of {row.key} {wrong}")


@lru_cache  # the same few dozen names in every row
def _is_value_name(name: str) -> bool:
    return _VALUE.fullmatch(name) is not None and name not in _SYSTEM_NAMES


def _problem(value: object) -> str | None:
    match value:
        case str():
            wrong = _text_problem(value)
        case bool() | float():
            wrong = None
        case int():
            wrong = None if -_LARGEST <= value < _LARGEST else "has more than 64 bits"
        case bytes():
            wrong = None if len(value) <= MAX_BYTES else f"is longer than {MAX_BYTES} bytes"
        case dt.datetime():
            wrong = None if value.tzinfo is not None else "is a time without a zone"
        case _:
            wrong = f"is of a type that no row holds: {type(value).__name__}"
    return wrong


def _text_problem(text: str) -> str | None:
    try:
        units = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        return "has half a character"
    return None if units <= MAX_TEXT_LENGTH else f"is longer than {MAX_TEXT_LENGTH} characters"
