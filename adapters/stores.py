"""The stores that the settings name: tables, blobs and queues, in Azure Storage or in this process.

Azure's libraries are imported when a store is first used: that of tables costs 70 ms of CPU, of blobs and queues half a
second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.azure_storage.lazy import LazyStore
from core.idempotency.store import TABLE as ONCE
from core.jobs.store import TABLE as JOBS
from core.storage.account import AppIdentity
from core.storage.memory import MemoryBlobs, MemoryQueues, MemoryTables
from core.storage.row_keys import LEDGER
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable

    import httpx2

    from core.azure_openai.token_source import TokenSource
    from core.storage.account import StorageAccount
    from core.storage.blobs import Blobs
    from core.storage.queues import Queues
    from core.storage.tables import Tables

MAX_ROWS_IN_MEMORY: Final = {LEDGER: 10_000, ONCE: 5_000, JOBS: 5_000}
"""Some 12 MB of the ledger; without storage what is older is forgotten."""


class Stores:
    """Where the gateway stores its state. Each store can be given in the place of the settings' own."""

    def __init__(
        self,
        account: StorageAccount | None,
        transport: httpx2.AsyncBaseTransport,
        tokens: Callable[[str | None], TokenSource],
        *,
        now: Callable[[], dt.datetime],
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """`tokens` gives the app's identity for storage, by a client id; `now` is the wall clock, in UTC."""
        self.account = account
        self.tables: Tables
        self.blobs: Blobs
        self.queues: Queues
        if account is None:
            self.tables = MemoryTables(max_rows=MAX_ROWS_IN_MEMORY)
            self.blobs = MemoryBlobs(now)
            self.queues = MemoryQueues(wait)
            return
        identity = tokens(account.credential.client_id if isinstance(account.credential, AppIdentity) else None)
        self.tables = LazyStore(lambda: _azure_tables(account, transport, identity))
        self.blobs = LazyStore(lambda: _azure_blobs(account, transport, identity, now))
        self.queues = LazyStore(lambda: _azure_queues(account, transport, identity))


def _azure_tables(account: StorageAccount, transport: httpx2.AsyncBaseTransport, identity: TokenSource) -> Tables:
    from adapters.azure_storage.tables import AzureTables  # noqa: PLC0415 -- late, see above

    return AzureTables(account, transport, identity)


def _azure_blobs(
    account: StorageAccount, transport: httpx2.AsyncBaseTransport, identity: TokenSource, now: Callable[[], dt.datetime]
) -> Blobs:
    from adapters.azure_storage.blobs import AzureBlobs  # noqa: PLC0415

    if account.blobs is None:
        raise _missing("blob")
    return AzureBlobs(account, transport, identity, now=now)


def _azure_queues(account: StorageAccount, transport: httpx2.AsyncBaseTransport, identity: TokenSource) -> Queues:
    from adapters.azure_storage.queues import AzureQueues  # noqa: PLC0415

    if account.queues is None:
        raise _missing("queue")
    return AzureQueues(account, transport, identity)


def _missing(service: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"AzureWebJobsStorage names no {service} service: add its endpoint, or set AzureWebJobsStorage__accountName",
        perhaps_done=False,
    )
