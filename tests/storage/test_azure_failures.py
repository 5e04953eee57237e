"""Azure Table Storage as it fails: out of reach, silent, refusing, or not itself; and what is left open."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx2
import pytest

from adapters.azure_storage.tables import AzureTables
from core.azure_openai.token_source import NoIdentity
from core.storage.tables import Delete, Exists, Insert, Put, Replace
from tests.fakes import FakeTransport
from tests.fakes import Row as Answer
from tests.storage.rows import row
from tests.storage.service import FOUND, STORED, WRITTEN, account, answer, azure, failure, refusal, scripted
from tests.transports import new_transport


async def test_nobody_listens() -> None:
    """The store cannot be reached: nothing was done."""
    connection = new_transport()
    here = account("http://127.0.0.1:1/account")
    table = AzureTables(here, connection, NoIdentity()).table("Things")
    for ask in (
        lambda: table.get("partition", "key"),
        lambda: table.page("partition"),
        lambda: table.change(Put(row=row())),
        lambda: table.change(Put(row=row()), Put(row=row("2"))),
    ):
        failed = await failure(ask())
        assert not failed.perhaps_done
        assert "http://127.0.0.1:1/account: it cannot be reached" in str(failed)
    await connection.aclose()


@asynccontextmanager
async def silent_server():
    """A server that takes everything and says nothing; gives its address."""

    async def swallow(reader, writer) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/account"


async def test_the_store_does_not_answer() -> None:
    """A call ends when its time is up; a change may have been made all the same."""
    connection = new_transport()
    async with silent_server() as address:
        here = account(address)
        table = AzureTables(here, connection, NoIdentity(), seconds=0.05).table("Things")
        for ask in (
            lambda: table.get("partition", "key"),
            lambda: table.page("partition"),
            lambda: table.change(Put(row=row())),
            lambda: table.change(Put(row=row()), Put(row=row("2"))),
        ):
            failed = await failure(ask())
            assert failed.perhaps_done
            assert "does not answer within 0.05 s" in str(failed)
        await connection.aclose()


@pytest.mark.parametrize("broken", [httpx2.ConnectError("ConnectError"), httpx2.ReadError("closed")])
async def test_a_read_whose_connection_broke_is_sent_once_more(broken) -> None:
    """And not a third time."""
    assert {"n": 3} == (await scripted(Answer(raises=broken), FOUND).get("partition", "key")).values
    page = await scripted(Answer(raises=broken), answer(200, {"value": [STORED]})).page("partition")
    assert ["key"] == [each.key for each in page.rows]
    connection = FakeTransport(Answer(raises=broken))
    await failure(azure(connection).table("Things").get("partition", "key"))
    assert 2 == len(connection.requests)


@pytest.mark.parametrize(
    ("broken", "perhaps_done"),
    [
        (Answer(raises=httpx2.ConnectError("ConnectError")), False),
        (Answer(raises=httpx2.ReadError("closed")), True),
        (Answer(headers={"x-ms-request-id": "1"}, pieces=[httpx2.ReadError("cut short")]), True),
    ],
    ids=["not-sent", "lost", "cut-short"],
)
async def test_a_change_is_never_sent_twice(broken, perhaps_done) -> None:
    """What became of one whose answer is lost is left open."""
    for changes in ((Put(row=row()),), (Delete(row=row()),)):
        connection = FakeTransport(broken)
        failed = await failure(azure(connection).table("Things").change(*changes))
        assert perhaps_done == failed.perhaps_done
        assert 1 == len(connection.requests)


@pytest.mark.parametrize("status", [200, 204, 404, 409, 412, 502, 503])
async def test_something_else_answers(status) -> None:
    """A proxy's page is not the store's word, whatever its status: no row is missing, no race is lost."""
    page = Answer(status=status, headers={"content-type": "text/html"}, pieces=[b"<html><code>EntityAlreadyExists"])
    assert f"something else answered in its place, with status {status}" in str(
        await failure(scripted(page).get("partition", "key"))
    )
    assert (await failure(scripted(page).change(Insert(row=row())))).perhaps_done
    assert (await failure(scripted(page).change(Delete(row=row())))).perhaps_done


async def test_a_redirect_is_not_followed() -> None:
    """It would choose a host."""
    connection = FakeTransport(answer(307, location="https://elsewhere.example/"), FOUND)
    await failure(azure(connection).table("Things").get("partition", "key"))
    assert 1 == len(connection.requests)


async def test_an_answer_without_end() -> None:
    """It is given up."""
    endless = Answer(headers={"x-ms-request-id": "1"}, pieces=[b"x" * (1 << 20)] * 17)
    assert "longer than" in str(await failure(scripted(endless).page("partition")))


@pytest.mark.parametrize(
    ("status", "code", "says", "perhaps_done"),
    [
        (403, "AuthorizationPermissionMismatch", "the role Storage Table Data Contributor", False),
        (403, "AuthorizationFailure", "network rules", False),
        (403, "AuthenticationFailed", "check the account's key", False),
        (403, "KeyBasedAuthenticationNotPermitted", "AzureWebJobsStorage__accountName", False),
        (401, "InvalidAuthenticationInfo", "check AzureWebJobsStorage", False),
        (403, "AccountIsDisabled", "enable the storage account", False),
        (429, "TooManyRequests", "throttled", False),
        (503, "ServerBusy", "throttled", False),
        (500, "InternalError", "it answered 500 InternalError", True),
        (500, "OperationTimedOut", "it answered 500 OperationTimedOut", True),
        (409, "TableBeingDeleted", "it answered 409 TableBeingDeleted", False),
        (400, "InvalidInput", "it answered 400 InvalidInput", False),
        (413, "RequestBodyTooLarge", "it answered 413 RequestBodyTooLarge", False),
    ],
)
async def test_a_refusal_says_what_to_do(status, code, says, perhaps_done) -> None:
    """The same for each kind of call; what was refused was not done. None is sent again."""
    for ask in (
        lambda table: table.get("partition", "key"),
        lambda table: table.page("partition"),
        lambda table: table.change(Insert(row=row())),
        lambda table: table.change(Replace(row=row(etag="1"))),
        lambda table: table.change(Put(row=row())),
        lambda table: table.change(Delete(row=row())),
        lambda table: table.change(Put(row=row()), Put(row=row("2"))),
    ):
        connection = FakeTransport(refusal(status, code))
        failed = await failure(ask(azure(connection).table("Things")))
        assert says in str(failed)
        assert perhaps_done == failed.perhaps_done
        assert 1 == len(connection.requests)


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")  # in azure-data-tables
async def test_a_refusal_in_xml() -> None:
    """A door before the tables speaks XML; it is understood as well."""
    body = b'<?xml version="1.0"?><m:error xmlns:m="http://x"><m:code>AuthenticationFailed</m:code></m:error>'
    said = Answer(status=403, headers={"x-ms-request-id": "1", "content-type": "application/xml"}, pieces=[body])
    assert "check the account's key" in str(await failure(scripted(said).change(Insert(row=row()))))
    assert "check the account's key" in str(await failure(scripted(said).get("partition", "key")))


async def test_a_table_that_may_not_be_made() -> None:
    """The refusal is told, not that the table is missing."""
    table = scripted(refusal(404, "TableNotFound"), refusal(403, "AuthorizationPermissionMismatch"))
    assert "the role Storage Table Data Contributor" in str(await failure(table.change(Insert(row=row()))))


async def test_a_table_that_somebody_else_makes_at_the_same_moment() -> None:
    """It is there then, which is what was wanted."""
    table = scripted(refusal(404, "TableNotFound"), refusal(409, "TableAlreadyExists"), WRITTEN)
    (written,) = await table.change(Insert(row=row()))
    assert 'W/"2"' == written.etag


async def test_an_insert_of_what_is_there_is_no_failure() -> None:
    """It is not logged, and not taken for an outage."""
    with pytest.raises(Exists):
        await scripted(refusal(409, "EntityAlreadyExists")).change(Insert(row=row()))
