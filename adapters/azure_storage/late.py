"""Tables that are made when they are first used: Azure's library costs 70 ms of CPU at import."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from core.storage.table_rules import check_name
from core.storage.tables import MAX_ROWS_PER_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.storage.tables import Change, Page, Row, Table, Tables


class LateTables:
    """The port over tables that do not exist yet."""

    def __init__(self, make: Callable[[], Tables]) -> None:
        """`make` is called once, at the first read or change."""
        self._make = make

    def table(self, name: str) -> LateTable:
        """Give a table by its name (see Tables.table)."""
        check_name(name)
        return LateTable(lambda: self._made.table(name))

    @cached_property
    def _made(self) -> Tables:
        return self._make()


class LateTable:
    """One table of them."""

    def __init__(self, make: Callable[[], Table]) -> None:
        self._make = make

    async def get(self, partition: str, key: str) -> Row | None:
        """Read a row (see Table.get)."""
        return await self._made.get(partition, key)

    async def page(
        self, partition: str, *, first: str = "", before: str | None = None, limit: int = MAX_ROWS_PER_PAGE
    ) -> Page:
        """Read rows of a partition (see Table.page)."""
        return await self._made.page(partition, first=first, before=before, limit=limit)

    async def change(self, *changes: Change) -> Sequence[Row]:
        """Make changes, all or none (see Table.change)."""
        return await self._made.change(*changes)

    @cached_property
    def _made(self) -> Table:
        return self._make()
