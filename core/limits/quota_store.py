"""Where the quota of a key is stored: one row, guarded by its ETag.

A quota that has too many calls in flight for one value of a row is stored in several, all in the same row: so they are
read together and change together.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.limits.quota import Quota, UnknownVersion
from core.storage.row_keys import COUNTERS, key_part
from core.storage.tables import Insert, Replace, Row, StoreUnavailable

if TYPE_CHECKING:
    from core.storage.tables import Table

_KEY: Final = "counters"
_VALUE: Final = "account"

_log = logging.getLogger(__name__)


class StoredQuota(Struct, frozen=True, kw_only=True):
    """A quota with the row it was read from."""

    quota: Quota
    row: Row


class QuotaStore:
    """Reads and writes the quota of one key."""

    def __init__(self, table: Table, key_id: str) -> None:
        self._table = table
        self._partition = key_part(key_id)

    async def read(self) -> StoredQuota:
        """Read the quota; a new one if none is stored. Raises StoreUnavailable, also for what cannot be understood."""
        row = await self._table.get(self._partition, _KEY)
        if row is None:
            return StoredQuota(quota=Quota(), row=Row(partition=self._partition, key=_KEY))
        values = [value for _, value in sorted(row.values.items(), key=_number) if isinstance(value, bytes)]
        try:
            return StoredQuota(quota=Quota.load(values), row=row)
        except UnknownVersion as error:
            _log.error(
                "The counters in the partition %s of %s cannot be read (%s), so calls of this key are refused. Run one"
                " version of the gateway only, or delete the row, which forgets what the key has used",
                self._partition,
                COUNTERS,
                error,
            )
            raise StoreUnavailable("the row is in an unknown form", perhaps_done=False) from None

    async def write(self, stored: StoredQuota) -> None:
        """Store the quota as it is now. Raises Exists or Changed if it was changed meanwhile, and StoreUnavailable."""
        first, *more = stored.quota.dump()
        values = {_VALUE: first, **{f"{_VALUE}_{number}": value for number, value in enumerate(more, 1)}}
        row = Row(partition=self._partition, key=_KEY, values=values, etag=stored.row.etag)
        await self._table.change(Replace(row=row) if row.etag else Insert(row=row))


def _number(value: tuple[str, object]) -> tuple[int, str]:
    """Order the values of a row as they were written: `account`, `account_1`, … `account_10`."""
    return len(value[0]), value[0]
