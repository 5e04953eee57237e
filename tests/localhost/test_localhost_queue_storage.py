"""The port to queues over Azurite, as the host uses it."""

from __future__ import annotations

import datetime as dt
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from localhost.messages import NotOurs, Unreachable
from localhost.queue_storage import StoredQueue

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def queue(azurite: str, prefix: str, threads: ThreadPoolExecutor) -> StoredQueue:
    return StoredQueue(azurite, f"{prefix}-orders", threads)


async def test_a_queue_that_is_missing_is_made(queue: StoredQueue) -> None:
    """It is made when messages are asked for; there are none then."""
    assert [] == await queue.receive(4, 60)
    await queue.send("eins")
    assert ["eins"] == [message.text for message in await queue.receive(4, 60)]


async def test_sending_makes_it_too(queue: StoredQueue) -> None:
    """A poison queue is made with its first message."""
    await queue.send("eins")
    assert ["eins"] == [message.text for message in await queue.receive(4, 60)]


async def test_a_batch(queue: StoredQueue) -> None:
    """No more messages are taken than were asked for; what was taken is invisible."""
    for text in "abc":
        await queue.send(text)
    first, second = await queue.receive(2, 60), await queue.receive(2, 60)
    assert (2, ["a", "b", "c"]) == (len(first), sorted(message.text for message in first + second))


async def test_what_is_known_of_a_message(queue: StoredQueue) -> None:
    """Its id, its receipt, how often it was taken, and its three times."""
    await queue.send("eins")
    (message,) = await queue.receive(1, 60)
    assert (True, True, 1) == (bool(message.id), bool(message.receipt), message.dequeue_count)
    assert message.inserted_on is not None
    assert message.next_visible_on is not None
    assert message.expires_on is not None
    assert dt.timedelta(days=7) == message.expires_on - message.inserted_on
    assert message.inserted_on < message.next_visible_on < message.expires_on


async def test_made_visible(queue: StoredQueue) -> None:
    """Given back, a message can be taken again, and is counted."""
    await queue.send("eins")
    (message,) = await queue.receive(1, 60)
    await queue.hide(message, 0)
    assert [("eins", 2)] == [(again.text, again.dequeue_count) for again in await queue.receive(1, 60)]


async def test_renewed(queue: StoredQueue) -> None:
    """Hidden again, a message has another receipt and keeps its text; the receipt before is worth nothing."""
    await queue.send("eins")
    (message,) = await queue.receive(1, 60)
    renewed = await queue.hide(message, 600)
    assert renewed.receipt != message.receipt
    with pytest.raises(NotOurs):
        await queue.delete(message)
    with pytest.raises(NotOurs):
        await queue.hide(message, 0)
    await queue.delete(renewed)
    with pytest.raises(NotOurs):
        await queue.delete(renewed)


async def test_an_empty_message(queue: StoredQueue) -> None:
    """A message may be empty."""
    await queue.send("")
    assert [""] == [message.text for message in await queue.receive(1, 60)]


async def test_an_answer_that_is_an_error(azurite: str, prefix: str, threads: ThreadPoolExecutor) -> None:
    """Its status and code are told."""
    wrong = azurite.replace("AccountKey=Eby8", "AccountKey=AAAA")
    with pytest.raises(Unreachable, match="the answer is 403 Auth"):
        await StoredQueue(wrong, f"{prefix}-orders", threads).receive(1, 60)


async def test_out_of_reach(azurite: str, prefix: str, threads: ThreadPoolExecutor) -> None:
    """What cannot be reached is told in words that are always the same."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        where = azurite.partition(";BlobEndpoint")[0]
        where += f";QueueEndpoint=http://127.0.0.1:{unused.getsockname()[1]}/devstoreaccount1"
        queue = StoredQueue(where, f"{prefix}-orders", threads)
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"^cannot be reached$"):
                await queue.receive(1, 60)


def test_its_account(queue: StoredQueue, azurite: str) -> None:
    """Its account's address is known, without a key or a signature."""
    assert f"QueueEndpoint={queue.account};" in azurite
    signed = "QueueEndpoint=https://a.queue.core.windows.net;SharedAccessSignature=sv=2024&sig=secret"
    assert "https://a.queue.core.windows.net" == StoredQueue(signed, "orders", queue._threads).account


@pytest.mark.parametrize("text", ["nonsense", "AccountKey=AAAA"])
def test_no_connection_string(text: str, threads: ThreadPoolExecutor) -> None:
    """That is a ValueError."""
    with pytest.raises(ValueError, match=r"^Connection string"):
        StoredQueue(text, "orders", threads)
