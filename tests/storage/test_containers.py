"""Containers of blobs: what is true of those in memory is true of those in Azure Storage."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import httpx2
import pytest

from adapters.azure_storage.blobs import BLOCK_BYTES, AzureBlobs
from adapters.azure_storage.queues import AzureQueues
from core.azure_openai.token_source import NoIdentity
from core.settings.environment import Environment
from core.settings.storage import read_storage
from core.storage.account import AccountKey, SharedAccess, StorageAccount
from core.storage.memory import MemoryBlobs
from core.storage.tables import StoreUnavailable
from tests.loopback import NO_CERTIFICATES
from tests.transports import new_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.storage.blobs import Blobs, Container


def utc_now() -> dt.datetime:
    """The wall clock: links are checked by another process."""
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def account(azurite: str) -> StorageAccount:
    """Azurite's account."""
    account = read_storage(Environment({"AzureWebJobsStorage": azurite}))
    assert account is not None
    return account


@pytest.fixture
async def connection() -> AsyncIterator[httpx2.AsyncBaseTransport]:
    """The gateway's own connection."""
    connection = new_transport()
    yield connection
    await connection.aclose()


@pytest.fixture
def azure_blobs(account: StorageAccount, connection: httpx2.AsyncBaseTransport, prefix: str) -> AzureBlobs:
    """Containers in Azurite."""
    return AzureBlobs(account, connection, NoIdentity(), now=utc_now, prefix=prefix)


@pytest.fixture(params=["memory", "azurite"])
def blobs(request: pytest.FixtureRequest) -> Blobs:
    """Containers of each kind in turn."""
    return MemoryBlobs(utc_now) if request.param == "memory" else request.getfixturevalue("azure_blobs")


async def read(container: Container, name: str) -> tuple[bytes, str] | None:
    """A whole blob and its type."""
    content = await container.get(name)
    if content is None:
        return None
    body = b"".join([bytes(piece) async for piece in content.pieces()])
    assert len(body) == content.size
    return body, content.content_type


@pytest.mark.parametrize(
    "size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 7]
)
async def test_a_blob_is_read_as_it_was_written(blobs: Blobs, size: int) -> None:
    """Of any size, around those at which it is cut into blocks."""
    content = bytes(itertools.islice(itertools.cycle(range(251)), size))
    pieces = [memoryview(content)[start : start + 1_000_003] for start in range(0, size, 1_000_003)]
    container = blobs.container("pictures")
    await container.put("a/b.png", pieces, content_type="image/png")
    assert (content, "image/png") == await read(container, "a/b.png")


async def test_a_write_takes_the_place_of_what_was_there(blobs: Blobs) -> None:
    """Whole, its type too."""
    container = blobs.container("pictures")
    await container.put("x", [b"first"], content_type="image/png")
    await container.put("x", [b"2nd"], content_type="image/jpeg")
    assert (b"2nd", "image/jpeg") == await read(container, "x")


async def test_what_is_not_there_is_none(blobs: Blobs) -> None:
    """Neither where the container is not there yet, nor after the blob was deleted; deleting twice is fine."""
    container = blobs.container("pictures")
    assert await container.get("x") is None
    await container.delete("x")
    await container.put("x", [b"1"], content_type="image/png")
    assert await blobs.container("others").get("x") is None
    await container.delete("x")
    await container.delete("x")
    assert await container.get("x") is None


class Broken(Exception):
    """What the blob was made of could not be read on."""


@pytest.mark.parametrize("blocks", [0, 2])
async def test_a_blob_whose_pieces_end_in_an_error_is_not_written(blobs: Blobs, blocks: int) -> None:
    """Neither in part; what was there stays."""

    def pieces() -> itertools.chain[bytes]:
        yield from [b"x" * BLOCK_BYTES] * blocks
        raise Broken

    container = blobs.container("pictures")
    await container.put("x", [b"before"], content_type="image/png")
    with pytest.raises(Broken):
        await container.put("x", pieces(), content_type="image/png")
    assert (b"before", "image/png") == await read(container, "x")


async def test_anybody_can_read_a_link_and_nothing_else(azure_blobs: AzureBlobs) -> None:
    """The container itself is closed; a link is for one blob, for reading, and for its time."""
    container = azure_blobs.container("pictures")
    for name in ("one.png", "two.png"):
        await container.put(name, [name.encode()], content_type="image/png")
    link = await container.link("one.png", expires_at=utc_now() + dt.timedelta(hours=1))
    ended = await container.link("one.png", expires_at=utc_now() - dt.timedelta(seconds=1))
    async with httpx2.AsyncClient(verify=NO_CERTIFICATES) as anybody:
        answer = await anybody.get(link)
        assert (200, b"one.png", "image/png") == (answer.status_code, answer.content, answer.headers["content-type"])
        bare = link.partition("?")[0]
        assert {403, 404} >= {
            (await anybody.get(bare)).status_code,
            (await anybody.get(link.replace("one.png", "two.png"))).status_code,
            (await anybody.get(ended)).status_code,
            (await anybody.delete(link)).status_code,
        }


async def test_links_are_not_signed_with_the_apps_own_shared_access(
    account: StorageAccount, connection: httpx2.AsyncBaseTransport
) -> None:
    """It would hand on all that the app may do."""
    shared = StorageAccount(
        tables=account.tables,
        blobs=account.blobs,
        queues=account.queues,
        credential=SharedAccess(signature=account.credential.key),  # type: ignore[union-attr]
    )
    container = AzureBlobs(shared, connection, NoIdentity(), now=utc_now).container("pictures")
    with pytest.raises(StoreUnavailable, match="cannot be signed"):
        await container.link("x", expires_at=utc_now())


async def test_a_store_that_cannot_be_reached_is_told_as_such(
    account: StorageAccount, connection: httpx2.AsyncBaseTransport
) -> None:
    """Nothing was done, and no secret is in the words."""
    assert isinstance(account.credential, AccountKey)
    nowhere = StorageAccount(
        tables=None, blobs="http://127.0.0.1:9/x", queues="http://127.0.0.1:9/x", credential=account.credential
    )
    container = AzureBlobs(nowhere, connection, NoIdentity(), now=utc_now).container("pictures")
    queue = AzureQueues(nowhere, connection, NoIdentity()).queue("letters")
    for call in (container.get("x"), container.put("x", [b"1"], content_type="a/b"), queue.send("x")):
        with pytest.raises(StoreUnavailable) as unavailable:
            await call
        assert not unavailable.value.perhaps_done
        assert account.credential.key.reveal() not in str(unavailable.value)


async def test_a_message_is_sent_to_a_queue_that_is_made_for_it(
    azurite: str, account: StorageAccount, connection: httpx2.AsyncBaseTransport, prefix: str
) -> None:
    """As base64, which the Functions host expects; the second finds the queue there."""
    from azure.storage.queue import QueueClient, TextBase64DecodePolicy  # noqa: PLC0415 -- half a second

    queue = AzureQueues(account, connection, NoIdentity(), prefix=prefix).queue("letters")
    for text in ("one", "zwei ü"):
        await queue.send(text)
    with QueueClient.from_connection_string(
        azurite, f"{prefix}letters", message_decode_policy=TextBase64DecodePolicy()
    ) as reader:
        assert {"one", "zwei ü"} == {message.content for message in reader.receive_messages(max_messages=5)}
