"""What becomes of one message, whatever its function and the storage do."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localhost.delivery import Delivery
from localhost.messages import NotOurs, Outage, Unreachable
from localhost.queue_options import QueueOptions
from localhost.queue_triggers import QueueFunction
from tests.localhost.queue_fakes import FakeQueue, Pauses, message

if TYPE_CHECKING:
    from azure.functions.queue import QueueMessage

    from localhost.messages import Message

POISON = "orders-poison"


class Desk:
    """A delivery, its function and its queues, to look at."""

    def __init__(self, *, is_binary: bool = False, has_poison: bool = True, **options: object) -> None:
        self.queue, self.poison, self.pauses = FakeQueue(), FakeQueue(POISON), Pauses()
        self.called_with: list[QueueMessage] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.raises: BaseException | None = None
        self.ended: list[str] = []
        function = QueueFunction(name="take", queue="orders", connection="C", is_binary=is_binary, call=self._function)
        self.delivery = Delivery(
            function,
            self.queue,
            self.poison if has_poison else None,
            QueueOptions(**options),  # type: ignore[arg-type]
            Outage("http://storage"),
            pause=self.pauses,
        )

    async def _function(self, given: QueueMessage) -> None:
        self.called_with.append(given)
        try:
            await self.gate.wait()
            if self.raises is not None:
                raise self.raises
        finally:
            self.ended.append(given.id)

    async def deliver(self, given: Message) -> None:
        await self.delivery.deliver(given)


async def test_what_a_function_gets() -> None:
    """It gets azure.functions' own message: the decoded body, and all that the queue knows of it."""
    desk = Desk()
    await desk.deliver(message("Möwe", name="7", tries=3))
    (got,) = desk.called_with
    assert ("Möwe".encode(), "7", 3, "7, taken") == (got.get_body(), got.id, got.dequeue_count, got.pop_receipt)


async def test_done() -> None:
    """A message whose function returns is deleted."""
    desk = Desk()
    await desk.deliver(message())
    assert [("delete", "m, taken")] == desk.queue.told


@pytest.mark.parametrize("tries", [1, 4])
async def test_failed(tries: int, caplog: pytest.LogCaptureFixture) -> None:
    """A message whose function raises is visible again after visibilityTimeout, in whole seconds."""
    desk = Desk(visibility_timeout=29.5)
    desk.raises = LookupError("no such job")
    await desk.deliver(message(tries=tries))
    assert [("hide", "m, taken", 30)] == desk.queue.told
    assert [f"Function take failed with message m, at try {tries} of 5"] == caplog.messages
    assert "LookupError: no such job" in caplog.text


async def test_failed_too_often(caplog: pytest.LogCaptureFixture) -> None:
    """After the last try it goes to the poison queue as it was, and is deleted."""
    desk = Desk()
    desk.raises = LookupError()
    given = message("an order", tries=5)
    await desk.deliver(given)
    assert [("send", given.text)] == desk.poison.told
    assert [("delete", "m, taken")] == desk.queue.told
    assert f"Message m goes from queue orders to {POISON}, at try 5 of 5" == caplog.messages[-1]


async def test_taken_too_often() -> None:
    """A message that was taken more often than it may be tried, as after processes that died, is not tried again."""
    desk = Desk(max_dequeue_count=2)
    await desk.deliver(message(tries=3))
    assert ([], 1) == (desk.called_with, len(desk.poison.told))


@pytest.mark.parametrize("text", ["plain text", "a", "aGVs*G8=", "aGVsbG8", "Möwe"])
async def test_not_base64(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is not base64 goes to the poison queue at once, without a call, as the real host has it."""
    desk = Desk()
    await desk.deliver(replace(message(), text=text))
    assert ([], [("send", text)], [("delete", "m, taken")]) == (desk.called_with, desk.poison.told, desk.queue.told)
    assert "Message m of queue orders is not base64" in caplog.text


async def test_base64_in_lines() -> None:
    """White space in base64 is none of its business."""
    desk = Desk()
    await desk.deliver(replace(message(), text=" aGVs\r\nbG8= \n"))
    assert [b"hello"] == [got.get_body() for got in desk.called_with]


async def test_plain_text() -> None:
    """With messageEncoding "none" a message is text as it is."""
    desk = Desk(is_base64=False)
    await desk.deliver(replace(message(), text="plain text"))
    assert [b"plain text"] == [got.get_body() for got in desk.called_with]


@pytest.mark.parametrize(("is_binary", "expected"), [(True, "delete"), (False, "hide")])
async def test_bytes_that_are_no_text(*, is_binary: bool, expected: str) -> None:
    """They are delivered where the trigger says binary; else that is a try that failed."""
    desk = Desk(is_binary=is_binary)
    await desk.deliver(replace(message(), text=base64.b64encode(b"\xff\x00").decode()))
    assert ([expected], [b"\xff\x00"] * is_binary) == (
        [told[0] for told in desk.queue.told],
        [got.get_body() for got in desk.called_with],
    )


async def test_without_a_poison_queue() -> None:
    """Where there is no poison queue, what fails is left as it is: invisible, and tried again much later."""
    desk = Desk(has_poison=False)
    desk.raises = LookupError()
    for tries in (1, 5, 6):
        await desk.deliver(message(tries=tries))
    assert [] == desk.queue.told


async def test_a_long_call() -> None:
    """While its function runs a message is hidden for ten minutes again every five; its last receipt deletes it."""
    desk = Desk()
    desk.gate.clear()
    delivering = asyncio.create_task(desk.deliver(message()))
    for _ in range(2):
        seconds, over = await desk.pauses.next()
        assert seconds == 300
        over.set()
    await desk.pauses.next()
    desk.gate.set()
    await delivering
    assert [
        ("hide", "m, taken", 600),
        ("hide", "m, hidden 1", 600),
        ("delete", "m, hidden 2"),
    ] == desk.queue.told


async def test_a_renewal_that_fails() -> None:
    """A message that cannot be renewed now is renewed a minute later: there is time for four tries."""
    desk = Desk()
    desk.gate.clear()
    delivering = asyncio.create_task(desk.deliver(message()))
    _, over = await desk.pauses.next()
    desk.queue.fails_with = Unreachable("cannot be reached")
    over.set()
    seconds, over = await desk.pauses.next()
    desk.queue.fails_with = None
    over.set()
    after, _ = await desk.pauses.next()
    desk.gate.set()
    await delivering
    assert (60, 300) == (seconds, after)
    assert [("hide", "m, taken", 600), ("delete", "m, hidden 1")] == desk.queue.told


async def test_somebody_else_has_it(caplog: pytest.LogCaptureFixture) -> None:
    """A message that another has by now is not renewed again, and its function is left to end."""
    desk = Desk()
    desk.gate.clear()
    delivering = asyncio.create_task(desk.deliver(message()))
    _, over = await desk.pauses.next()
    desk.queue.fails_with = NotOurs()
    over.set()
    await desk.queue.has_failed.wait()
    desk.gate.set()
    await delivering
    assert ["Function take works on message m of queue orders, which somebody else has by now"] == caplog.messages
    assert ["m"] == desk.ended


@pytest.mark.parametrize("raises", [None, LookupError()])
async def test_storage_is_gone_at_the_end(raises: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be deleted or given back becomes visible by itself, and the outage is told."""
    desk = Desk()
    desk.raises, desk.queue.fails_with = raises, Unreachable("cannot be reached")
    await desk.deliver(message())
    assert "The queues at http://storage: cannot be reached." in caplog.messages[-1]


async def test_the_poison_queue_is_gone() -> None:
    """What cannot be moved is not deleted."""
    desk = Desk()
    desk.raises, desk.poison.fails_with = LookupError(), Unreachable("cannot be reached")
    await desk.deliver(message(tries=5))
    assert [] == desk.queue.told


async def test_cancelled() -> None:
    """A delivery that is cancelled cancels its function, waits for it, and leaves the message."""
    desk = Desk()
    desk.gate.clear()
    delivering = asyncio.create_task(desk.deliver(message()))
    await desk.pauses.next()
    delivering.cancel()
    await asyncio.wait({delivering})
    assert (True, ["m"], []) == (delivering.cancelled(), desk.ended, desk.queue.told)


async def test_a_cancellation_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """A function that lets a CancelledError out has failed, and is told of it: in Azure nobody would see its end."""
    desk = Desk()
    desk.raises = asyncio.CancelledError()
    await desk.deliver(message())
    assert [("hide", "m, taken", 0)] == desk.queue.told
    assert "Function take let a CancelledError out" in caplog.messages[0]
