"""When each key was last used: a row of its own, so that use never changes the key's record."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from core.storage.row_keys import key_part
from core.storage.tables import Put, Row, StoreUnavailable

if TYPE_CHECKING:
    from core.storage.row_keys import BilledParty
    from core.storage.tables import Table

WRITE_INTERVAL: Final = dt.timedelta(minutes=1)
"""How often the row of a key is written at most, by one process: what it says is so much too old at the worst."""
MAX_KEYS: Final = 10_000

_KEY: Final = "used"
_VALUE: Final = "at"


class LastUsed:
    """The times that this process has yet to write."""

    def __init__(self, table: Table) -> None:
        """`table` is GatewayCounters."""
        self._table = table
        self._told: dict[str, dt.datetime] = {}
        self._due: dict[str, dt.datetime] = {}

    @property
    def is_due(self) -> bool:
        """Whether there is something to write."""
        return bool(self._due)

    def note(self, billed_party: BilledParty, at: dt.datetime) -> None:
        """Note that a key was used. Admins have no key."""
        if billed_party.is_admin:
            return
        told = self._told.get(billed_party.id)
        if told is not None and at < told + WRITE_INTERVAL:
            return
        if len(self._told) >= MAX_KEYS:
            self._told.clear()  # then some are written once more than need be
        if len(self._due) < MAX_KEYS:
            self._told[billed_party.id] = self._due[billed_party.id] = at

    async def write_one(self) -> None:
        """Write the row of one key. Raises StoreUnavailable; then it is still due."""
        key_id, at = self._due.popitem()
        try:
            await self._table.change(Put(row=Row(partition=key_part(key_id), key=_KEY, values={_VALUE: at})))
        except StoreUnavailable:
            self._due.setdefault(key_id, at)
            raise


async def last_used(table: Table, key_id: str) -> dt.datetime | None:
    """When a key was last used, a minute more or less; None: never. Raises StoreUnavailable.

    `table` is GatewayCounters.
    """
    row = await table.get(key_part(key_id), _KEY)
    at = None if row is None else row.values.get(_VALUE)
    return at if isinstance(at, dt.datetime) else None
