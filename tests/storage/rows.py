"""What the tests of tables write and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.storage.tables import Insert, Row

if TYPE_CHECKING:
    from core.storage.tables import Page, Table

NEVER_STORED = "W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\""


def row(key: str = "key", partition: str = "partition", etag: str = "", **values) -> Row:
    """A row that somebody wants to write."""
    return Row(partition=partition, key=key, values=values, etag=etag)


async def stored(table: Table, key: str = "key", partition: str = "partition", **values) -> Row:
    """A row that is there."""
    (written,) = await table.change(Insert(row=row(key, partition, **values)))
    return written


def keys(page: Page) -> list[str]:
    """The keys of a page's rows."""
    return [row.key for row in page.rows]
