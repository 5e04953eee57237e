"""Tables in Azure Table Storage, or Azurite.

One call of the port is one round trip, but for the first change of all to a table that is not there yet. Nothing is
sent twice but reads whose connection broke: of a change whose answer is lost nobody knows whether it was made.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient
from msgspec.structs import replace

from adapters.azure_storage.errors import NO_TABLE, TABLE_IS_THERE, Outage, describe_error, error_code, race_error
from adapters.azure_storage.transport import AzureTransport, library_credential
from core.storage.table_rules import check_changes, check_key, check_limit, check_name
from core.storage.tables import MAX_ROWS_PER_PAGE, Delete, Insert, Page, Put, Replace, Row, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    import httpx2
    from azure.data.tables import TableEntity

    from core.azure_openai.token_source import TokenSource
    from core.storage.account import StorageAccount
    from core.storage.tables import Change, Value

CALL_SECONDS: Final = 5.0
"""Table Storage answers in some 10 ms; a caller waits for it before a picture is drawn."""

_FIRST_CHARACTER: Final = "!"
"""Sorts before every other character of a key (core/storage/table_rules.py)."""

_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class AzureTables:
    """The port over the tables of one storage account."""

    def __init__(
        self,
        account: StorageAccount,
        transport: httpx2.AsyncBaseTransport,
        tokens: TokenSource,
        *,
        prefix: str = "",
        seconds: float = CALL_SECONDS,
    ) -> None:
        """`tokens` are for storage, and used with an account of AppIdentity only.

        `prefix` stands before the names of all tables, so that several can live in one account; `seconds` bounds each
        call.
        """
        if account.tables is None:
            raise ValueError("the account has no address of tables")
        self._address = account.tables
        self._credential = library_credential(account, tokens)
        self._transport = AzureTransport(transport)
        self._prefix = prefix
        self._seconds = seconds
        self._outage = Outage(_log)
        self._tables: dict[str, AzureTable] = {}

    def table(self, name: str) -> AzureTable:
        """Give a table by its name (see Tables.table)."""
        check_name(name)
        if name not in self._tables:
            client = TableClient(
                self._address,
                self._prefix + name,
                credential=self._credential,
                transport=self._transport,
                retry_total=0,
                permit_redirects=False,  # they would choose a host
            )
            self._tables[name] = AzureTable(client, self._seconds, self._outage)
        return self._tables[name]


class AzureTable:
    """One table of an account."""

    def __init__(self, client: TableClient, seconds: float, outage: Outage) -> None:
        self._client = client
        self._seconds = seconds
        self._outage = outage

    async def get(self, partition: str, key: str) -> Row | None:
        """Read a row (see Table.get)."""
        check_key(partition)
        check_key(key)
        entity = await self._read(lambda: self._client.get_entity(partition, key))
        return None if entity is None else _parse_entity(entity)

    async def page(
        self, partition: str, *, first: str = "", before: str | None = None, limit: int = MAX_ROWS_PER_PAGE
    ) -> Page:
        """Read rows of a partition (see Table.page)."""
        check_key(partition)
        check_limit(limit)
        where = "PartitionKey eq @partition and RowKey ge @first"
        pages: Any = self._client.query_entities(
            where if before is None else f"{where} and RowKey lt @before",
            parameters={"partition": partition, "first": first, "before": before},
            results_per_page=limit,
        ).by_page()

        async def next_page() -> tuple[Row, ...]:
            return tuple([_parse_entity(entity) async for entity in await anext(pages)])

        rows = await self._read(next_page) or ()
        # A page may end early, even empty, with a mark for where to go on (Azure Table Storage docs, "query timeout and
        # pagination"). That mark is opaque; what follows the last key is where the next page begins as well.
        while not rows and pages.continuation_token:
            rows = await self._read(next_page) or ()
        return Page(rows=rows, next_key=rows[-1].key + _FIRST_CHARACTER if rows and pages.continuation_token else None)

    async def change(self, *changes: Change) -> Sequence[Row]:
        """Make changes, all or none (see Table.change)."""
        check_changes(changes)
        with self._store_errors():
            try:
                async with asyncio.timeout(self._seconds):
                    answers = await self._send(changes)
            except AzureError as error:
                if (lost := race_error(error)) is not None:
                    raise lost from None
                raise
        return tuple(
            change.row if isinstance(change, Delete) else replace(change.row, etag=str(answer["etag"]))
            for change, answer in zip(changes, answers, strict=True)
        )

    async def _send(self, changes: Sequence[Change]) -> Sequence[Mapping[str, Any]]:
        operations = [_operation(change) for change in changes]
        try:
            return await self._sent(operations)
        except HttpResponseError as error:
            if error_code(error) != NO_TABLE:
                raise
        try:
            await self._client.create_table()
        except HttpResponseError as error:
            if error_code(error) != TABLE_IS_THERE:
                raise
        return await self._sent(operations)

    async def _sent(self, operations: Sequence[tuple[str, Any, dict[str, Any]]]) -> Sequence[Mapping[str, Any]]:
        match operations:
            case [("create", entity, options)]:
                return (await self._client.create_entity(entity, **options),)
            case [("update", entity, options)]:
                return (await self._client.update_entity(entity, **options),)
            case [("upsert", entity, options)]:
                return (await self._client.upsert_entity(entity, **options),)
        # A single deletion is a transaction as well: `delete_entity` is silent where there is nothing to delete.
        return await self._client.submit_transaction(operations)

    async def _read(self, ask: Callable[[], Awaitable[_T]]) -> _T | None:
        """Ask, once more if the connection breaks; None: there is no such row, or no such table yet."""
        with self._store_errors():
            try:
                async with asyncio.timeout(self._seconds):
                    try:
                        return await ask()
                    except (ServiceRequestError, ServiceResponseError):
                        return await ask()
            except HttpResponseError as error:
                if error.status_code == 404:
                    return None
                raise

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Turn what Azure's library raises into StoreUnavailable, and tell the operator."""
        try:
            yield
        except TimeoutError:
            message, perhaps_done = f"it does not answer within {self._seconds:g} s", True
        except AzureError as error:
            storage_error = describe_error(error)
            message, perhaps_done = storage_error.message, storage_error.perhaps_done
        else:
            return
        message = f"Azure Table Storage at {self._client.url.partition('?')[0]}: {message}"
        self._outage.note(message)
        raise StoreUnavailable(message, perhaps_done=perhaps_done)


def _operation(change: Change) -> tuple[str, Any, dict[str, Any]]:
    """Write a change as `submit_transaction` takes it."""
    entity = _make_entity(change.row)
    guard = {"etag": change.row.etag, "match_condition": MatchConditions.IfNotModified}
    match change:
        case Insert():
            return "create", entity, {}
        case Replace():
            return "update", entity, {"mode": UpdateMode.REPLACE, **guard}
        case Put():
            return "upsert", entity, {"mode": UpdateMode.REPLACE}
        case Delete():
            return "delete", entity, guard if change.row.etag else {}


# -- rows as azure-data-tables takes and gives them --


def _make_entity(row: Row) -> dict[str, Any]:
    """Write a row as an entity."""
    values = {name: _to_edm(value) for name, value in row.values.items()}
    return {"PartitionKey": row.partition, "RowKey": row.key, **values}


def _parse_entity(entity: TableEntity) -> Row:
    """Read a row from an entity: its values, and nothing of the service's own."""
    values = {name: _from_edm(value) for name, value in entity.items() if name not in {"PartitionKey", "RowKey"}}
    return Row(
        partition=entity["PartitionKey"],
        key=entity["RowKey"],
        values=values,
        etag=entity.metadata["etag"] or "",
    )


def _to_edm(value: Value) -> Any:
    """Send whole numbers as 64-bit ones, as text: 32-bit ones are JSON numbers, which come back as floats."""
    if isinstance(value, int) and not isinstance(value, bool):
        return EntityProperty(value, EdmType.INT64)
    return value


def _from_edm(value: Any) -> Value:
    match value:
        case EntityProperty():
            return int(value.value)
        case dt.datetime():  # a subclass, which holds the service's text as well
            return dt.datetime.combine(value.date(), value.timetz())
        case bool() | str() | bytes():
            return value
    return float(value)
