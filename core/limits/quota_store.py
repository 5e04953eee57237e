"""Where the account of a key is kept: one row, changed by whoever has read it last."""

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
    """An account as it was read."""

    account: Quota
    row: Row


class QuotaStore:
    """The account of one key, in its row."""

    def __init__(self, table: Table, key_id: str) -> None:
        self._table = table
        self._partition = key_part(key_id)

    async def read(self) -> StoredQuota:
        """Read the account; one that was never kept is new. Raises StoreUnavailable, also for what cannot be read."""
        row = await self._table.get(self._partition, _KEY)
        if row is None:
            return StoredQuota(account=Quota(), row=Row(partition=self._partition, key=_KEY))
        kept = row.values.get(_VALUE)
        try:
            return StoredQuota(account=Quota.load(kept if isinstance(kept, bytes) else b""), row=row)
        except UnknownVersion as error:
            _log.error(
                "The counters in the partition %s of %s cannot be read (%s): its key is not let through. Run one"
                " version of the gateway only, or delete the row, which forgets what the key has used",
                self._partition,
                COUNTERS,
                error,
            )
            raise StoreUnavailable("the row is in an unknown form", perhaps_done=False) from None

    async def write(self, kept: StoredQuota) -> None:
        """Keep the account as it is now. Raises Exists or Changed where somebody was faster, and StoreUnavailable."""
        row = Row(partition=self._partition, key=_KEY, values={_VALUE: kept.account.dump()}, etag=kept.row.etag)
        await self._table.change(Replace(row=row) if row.etag else Insert(row=row))
