"""The port to tables of rows, in the terms of Azure Table Storage.

A row has a partition, a key within it, values, and an ETag that changes with every change. Changes are guarded by it:
of two who read the same row and write it, one succeeds. The gateway stores its state in such rows.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value = str | int | float | bool | bytes | dt.datetime
"""What a row can hold. Integers have 64 bits; text and bytes at most 64 KiB each (text: 32 Ki characters)."""

MAX_CHANGES: Final = 100
"""How many changes one transaction may have (Azure Table Storage docs, "entity group transactions")."""
MAX_ROWS_PER_PAGE: Final = 1000
"""How many rows one page may have (Azure Table Storage docs, "query timeout and pagination")."""

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9.-]")


class Row(Struct, frozen=True, kw_only=True):
    """One row. `partition` and `key` are text that `safe` allows, or made by it."""

    partition: str
    key: str
    values: Mapping[str, Value] = field(default_factory=dict)
    etag: str = ""
    """Of the row as it was read; empty for one that has never been stored."""


class Insert(Struct, frozen=True, kw_only=True):
    """A change: the row must not be there yet."""

    row: Row


class Replace(Struct, frozen=True, kw_only=True):
    """A change: the row must be there, with the same ETag."""

    row: Row


class Put(Struct, frozen=True, kw_only=True):
    """A change: the row is written, whatever was there."""

    row: Row


class Delete(Struct, frozen=True, kw_only=True):
    """A change: the row must be there, with the same ETag unless that is empty."""

    row: Row


Change = Insert | Replace | Put | Delete


class Page(Struct, frozen=True, kw_only=True):
    """Rows of one partition in the order of their keys."""

    rows: Sequence[Row]
    next_key: str | None
    """Where the next page begins, which may be empty; None: this was the last."""


class Table(Protocol):
    """One table. Every method raises StoreUnavailable where the store cannot be reached or does not answer in time.

    What no table can hold or be asked (table_rules.py) is a ValueError, and reaches no store.
    """

    async def get(self, partition: str, key: str) -> Row | None:
        """Read a row."""
        ...

    async def page(
        self, partition: str, *, first: str = "", before: str | None = None, limit: int = MAX_ROWS_PER_PAGE
    ) -> Page:
        """Read rows of a partition with `first` <= key < `before`, at most `limit` of them."""
        ...

    async def change(self, *changes: Change) -> Sequence[Row]:
        """Make changes to rows of one partition, all or none; give them with their new ETags (deleted rows as given).

        Raises Exists for an Insert of a row that is there, Changed for a Replace or Delete of one that is gone or has
        another ETag.
        """
        ...


class Tables(Protocol):
    """The tables of one store."""

    def table(self, name: str) -> Table:
        """Give a table by its name (letters and digits); it is made when it is first used."""
        ...


class Exists(Exception):
    """The row that was to be inserted is there already."""


class Changed(Exception):
    """The row is not as it was when it was read: it was changed meanwhile."""


class StoreUnavailable(Exception):
    """The store cannot be reached, or does not answer."""

    def __init__(self, message: str, *, perhaps_done: bool) -> None:
        """`perhaps_done`: whether the change may have been made all the same."""
        super().__init__(message)
        self.perhaps_done = perhaps_done


def safe(text: str) -> str:
    """Text as part of a row's partition or key: every other character than A-Z a-z 0-9 . - becomes `_` and its bytes.

    Azure forbids some characters in keys (Table service data model, "characters disallowed in key fields"); here the
    result is also free of `~` and `|`, which stand between the parts of a key.
    """
    return _NOT_PLAIN.sub(lambda found: "".join(f"_{byte:02x}" for byte in found[0].encode()), text)
