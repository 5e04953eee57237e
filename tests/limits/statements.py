"""The calls of one payer, one by one, in the order of their times: what a bill is checked against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.domain.errors import InvalidRequest
from core.ledger.entry import as_json
from core.storage import row_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.ledger.reports import Days
    from core.storage.row_keys import BilledParty
    from core.storage.tables import Tables, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A page of calls."""

    calls: tuple[Mapping[str, Value], ...]
    """As the ledger has them."""
    next_cursor: str | None
    """Where the next page begins; None: this was the last."""

    def as_json(self) -> dict[str, Any]:
        """The page as JSON, money in US dollars."""
        return {"calls": [as_json(values) for values in self.calls], "next_cursor": self.next_cursor}


class Statements:
    """Reads calls back from the ledger."""

    def __init__(self, tables: Tables) -> None:
        self._table = tables.table(row_keys.LEDGER)

    async def calls(
        self, billed_party: BilledParty, days: Days, *, limit: int = 100, cursor: str | None = None
    ) -> Statement:
        """Read the calls of some days, at most `limit` (1,000 at the most) from `cursor` on.

        A page may have fewer calls than `limit`, and none, before the last. Raises StoreUnavailable, and InvalidRequest
        for a cursor that is none of these days.
        """
        first, before = row_keys.call_range(days.first, days.last)
        months = days.months
        month, _, key = (f"{months[0]}~{first}" if cursor is None else cursor).partition("~")
        if month not in months or not row_keys.is_call_key(key) or not first <= key < before:
            raise InvalidRequest("cursor is not one of these days'; ask for the first page again", param="cursor")
        page = await self._table.page(
            row_keys.partition_of(billed_party.name, month), first=key, before=before, limit=limit
        )
        following = None if page.next_key is None else f"{month}~{page.next_key}"
        if following is None and month != months[-1]:
            following = f"{months[months.index(month) + 1]}~{first}"
        return Statement(calls=tuple(row.values for row in page.rows), next_cursor=following)
