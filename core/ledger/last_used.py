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
"""How often one process writes the row of a key at most, and so how old it may be."""
MAX_KEYS: Final = 10_000

_KEY: Final = "used"
_VALUE: Final = "at"


class LastUsed:
    """Writes when keys were last used."""

    def __init__(self, table: Table) -> None:
        """`table` is GatewayCounters."""
        self._table = table
        self._noted: dict[str, dt.datetime] = {}
        self._due: dict[str, dt.datetime] = {}

    @property
    def is_due(self) -> bool:
        """Whether there is something to write."""
        return bool(self._due)

    def note(self, billed_party: BilledParty, at: dt.datetime) -> None:
        """Note that a key was used. Admins have no key."""
        if billed_party.is_admin:
            return
        noted = self._noted.get(billed_party.id)
        if noted is not None and at < noted + WRITE_INTERVAL:
            return
        if len(self._noted) >= MAX_KEYS:
            self._noted.clear()  # then some rows are written once more than necessary
        if len(self._due) < MAX_KEYS:
            self._noted[billed_party.id] = self._due[billed_party.id] = at

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
