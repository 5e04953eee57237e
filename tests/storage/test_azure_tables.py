"""Azure Table Storage as it is asked: round trips, pages, credentials, and what is logged."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from adapters.azure_storage.errors import OUTAGE_ENDS_SECONDS, Outage
from adapters.azure_storage.tables import AzureTables
from adapters.http.managed_identity import ManagedIdentity
from core.azure_openai.token_source import STORAGE, NoIdentity
from core.domain.secret import Secret
from core.storage.account import AppIdentity, SharedAccess
from core.storage.tables import Changed, Delete, Insert, Put, Replace, Row
from tests.fakes import Clock, FakeTransport
from tests.fakes import Row as Answer
from tests.storage.rows import row
from tests.storage.service import FOUND, HOST, STORED, Counting, account, answer, azure, failure, refusal, scripted
from tests.transports import new_transport

IDENTITY = AppIdentity(client_id=None)


async def test_each_call_is_one_round_trip(azurite_account, prefix) -> None:
    """Of whatever kind; but the first change to a table that is not there makes it: two more."""
    connection = new_transport()
    counting = Counting(connection)
    table = AzureTables(azurite_account, counting, NoIdentity(), prefix=prefix).table("Things")

    async def round_trips(asked) -> int:
        before = len(counting.sent)
        await asked
        return len(counting.sent) - before

    assert 1 == await round_trips(table.get("partition", "key"))
    assert 3 == await round_trips(table.change(Insert(row=row())))
    assert [f"POST {prefix}Things", "POST Tables", f"POST {prefix}Things"] == counting.sent[1:]
    held = await table.get("partition", "key")
    assert 1 == await round_trips(table.change(Replace(row=held)))
    assert 1 == await round_trips(table.change(Put(row=row())))
    assert 1 == await round_trips(table.change(Insert(row=row("2")), Insert(row=row("3")), Put(row=row())))
    assert 1 == await round_trips(table.page("partition"))
    assert 1 == await round_trips(table.change(Delete(row=row())))
    await connection.aclose()


async def test_two_gateways_race_for_a_row(azurite_account, prefix) -> None:
    """Each over connections of its own: of two who have read the same row, one gets through."""
    connections = [new_transport() for _ in range(2)]
    one, two = (
        AzureTables(azurite_account, connection, NoIdentity(), prefix=prefix).table("Things")
        for connection in connections
    )
    await one.change(Insert(row=row()))
    for _ in range(10):
        held = [await table.get("partition", "key") for table in (one, two)]
        ends = await asyncio.gather(
            one.change(Replace(row=held[0])), two.change(Replace(row=held[1])), return_exceptions=True
        )
        assert 1 == sum(isinstance(end, Changed) for end in ends)
        assert 1 == sum(not isinstance(end, BaseException) for end in ends)
    for connection in connections:
        await connection.aclose()


async def test_a_page_that_ends_early() -> None:
    """An empty one with a mark is read on from the mark; one with rows ends there and says where to go on."""
    going_on = {"x-ms-continuation-NextPartitionKey": "1!8!cA--", "x-ms-continuation-NextRowKey": "1!4!a2V5"}
    connection = FakeTransport(answer(200, {"value": []}, **going_on), answer(200, {"value": [STORED]}, **going_on))
    page = await azure(connection).table("Things").page("partition")
    assert (["key"], "key!") == ([each.key for each in page.rows], page.next_key)
    first, second = (str(request.url) for request in connection.requests)
    assert "NextRowKey" not in first
    assert "NextRowKey=1!4!a2V5" in second


async def test_values_hold_nothing_of_the_services_own() -> None:
    """Neither its time, nor its ETag, nor its types."""
    found = await scripted(FOUND).get("partition", "key")
    assert Row(partition="partition", key="key", values={"n": 3}, etag='W/"1"') == found
    assert int is type(found.values["n"])


async def test_a_key_signs_and_is_not_sent() -> None:
    """The account's name and a signature go with each request."""
    connection = FakeTransport(FOUND)
    await azure(connection).table("Things").get("partition", "key")
    assert connection.requests[0].headers["Authorization"].startswith("SharedKey account:")
    assert "a2V5" not in str(connection.requests)


async def test_a_shared_access_signature_goes_in_the_address() -> None:
    """And is in no message."""
    connection = FakeTransport(refusal(403, "AuthenticationFailed"))
    credential = SharedAccess(signature=Secret("sv=2022-11-02&sig=do%2Bnot%3Dshow"))
    failed = await failure(azure(connection, credential=credential).table("Things").get("partition", "key"))
    assert "sig=do%2Bnot%3Dshow" in str(connection.requests[0].url)
    assert "show" not in str(failed)


def identity(connection, clock: Clock) -> ManagedIdentity:
    """The app's identity, for storage."""
    return ManagedIdentity(
        connection,
        endpoint="http://127.0.0.1:41/token",
        header=Secret("header"),
        client_id="mine",
        time=clock,
        resource=STORAGE,
    )


def token(text: str, *, expires_on: float) -> Answer:
    """An answer of the identity endpoint."""
    body = {"access_token": text, "expires_on": str(int(expires_on)), "token_type": "Bearer"}
    return Answer(pieces=[json.dumps(body).encode()])


async def test_an_identitys_token_is_fetched_once_and_renewed_in_time() -> None:
    """It is for storage, asked for by the identity's client id, and kept until shortly before its end."""
    clock = Clock()
    endpoint = FakeTransport(token("one", expires_on=clock() + 3_600), token("two", expires_on=clock() + 7_200))
    connection = FakeTransport(FOUND)
    table = azure(connection, credential=IDENTITY, tokens=identity(endpoint, clock)).table("Things")

    async def sent() -> str:
        await table.get("partition", "key")
        return connection.requests[-1].headers["Authorization"]

    assert ["Bearer one", "Bearer one"] == [await sent(), await sent()]
    clock.pass_by(3_400)
    assert ["Bearer two", "Bearer two"] == [await sent(), await sent()]
    assert 2 == len(endpoint.requests)
    assert "resource=https%3A%2F%2Fstorage.azure.com&" in str(endpoint.requests[0].url)
    assert str(endpoint.requests[0].url).endswith("client_id=mine")


async def test_no_token() -> None:
    """Nothing is sent, and the reason is told."""
    endpoint = FakeTransport(Answer(status=400))
    connection = FakeTransport(FOUND)
    table = azure(connection, credential=IDENTITY, tokens=identity(endpoint, Clock())).table("Things")
    for asked in (table.get("partition", "key"), table.change(Insert(row=row())), table.change(Delete(row=row()))):
        failed = await failure(asked)
        assert "no token for it: the identity endpoint answered 400" in str(failed)
        assert not failed.perhaps_done
    assert [] == connection.requests


async def test_a_token_goes_over_tls_only() -> None:
    """Not even on this machine is it sent in the clear."""
    here = account("http://127.0.0.1:1/account", IDENTITY)
    tables = AzureTables(here, FakeTransport(FOUND), NoIdentity())
    with pytest.raises(ValueError, match="HTTPS"):
        tables.table("Things")


async def test_an_outage_is_logged_once(caplog) -> None:
    """Not for each call, and once for all tables."""
    tables = azure(FakeTransport(refusal(403, "AuthorizationPermissionMismatch")))
    for name in ("One", "Two"):
        for _ in range(3):
            await failure(tables.table(name).get("partition", "key"))
    (logged,) = caplog.records
    assert ("adapters.azure_storage.tables", logging.ERROR) == (logged.name, logged.levelno)
    assert (
        f"{HOST}: it answered 403 AuthorizationPermissionMismatch: give the app's identity the role" in logged.message
    )


def test_each_cause_and_each_outage_is_logged(caplog) -> None:
    """Failures of one cause are one outage until there has been none for five minutes."""
    clock = Clock()
    outage = Outage(logging.getLogger("core.storage"), clock)
    for cause, seconds in (
        ("one", 0),
        ("two", 1),
        ("one", 1),
        ("one", OUTAGE_ENDS_SECONDS - 1),
        ("one", OUTAGE_ENDS_SECONDS),
        ("two", 0),
    ):
        clock.pass_by(seconds)
        outage.note(cause)
    assert ["one", "two", "one", "two"] == caplog.messages


async def test_the_library_writes_no_line_for_each_request(caplog) -> None:
    """Keys of rows and addresses are nobody's business."""
    with caplog.at_level(logging.INFO):
        await scripted(FOUND).get("partition", "key")
    assert [] == caplog.messages
