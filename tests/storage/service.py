"""Azure Table Storage by script: its answers, and tables behind a connection that gives them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from adapters.azure_storage.tables import AzureTables
from core.azure_openai.token_source import NoIdentity
from core.domain.secret import Secret
from core.storage.account import AccountKey, StorageAccount
from core.storage.tables import StoreUnavailable
from tests.fakes import FakeTransport
from tests.fakes import Row as Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from adapters.azure_storage.tables import AzureTable

HOST = "https://account.table.core.windows.net"
KEY = AccountKey(account="account", key=Secret("a2V5"))
STORED = {
    "odata.etag": 'W/"1"',
    "PartitionKey": "partition",
    "RowKey": "key",
    "Timestamp": "2026-01-01T00:00:00Z",
    "n@odata.type": "Edm.Int64",
    "n": "3",
}


def answer(status: int, body: object = None, **headers: str) -> Answer:
    """An answer of Azure Table Storage."""
    pieces = [] if body is None else [json.dumps(body).encode()]
    return Answer(
        status=status, headers={"x-ms-request-id": "1", "content-type": "application/json", **headers}, pieces=pieces
    )


def refusal(status: int, code: str) -> Answer:
    """An error of Azure Table Storage, as its tables say it."""
    return answer(status, {"odata.error": {"code": code, "message": {"lang": "en-US", "value": "In many words."}}})


FOUND = answer(200, STORED)
WRITTEN = answer(204, etag='W/"2"')


def account(address: str = HOST, credential: Any = KEY) -> StorageAccount:
    """An account that has tables only."""
    return StorageAccount(tables=address, blobs=None, queues=None, credential=credential)


def azure(connection: Any, *, credential: Any = KEY, tokens: Any = None) -> AzureTables:
    """Tables behind a connection."""
    return AzureTables(account(credential=credential), connection, tokens or NoIdentity())


def scripted(*answers: Answer) -> AzureTable:
    """A table behind a connection with a script."""
    return azure(FakeTransport(*answers)).table("Things")


async def failure(asked: Awaitable[Any]) -> StoreUnavailable:
    """How a call fails."""
    with pytest.raises(StoreUnavailable) as caught:
        await asked
    return caught.value


class Counting(httpx2.AsyncBaseTransport):
    """A transport that notes the requests that go over it: their methods, and what they are for."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(f"{request.method} {str(request.url).rpartition('/')[2].partition('(')[0]}")
        return await self._transport.handle_async_request(request)
