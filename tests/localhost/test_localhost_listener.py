"""When a queue is looked at, and how much is taken from it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from localhost.listener import Listener
from localhost.messages import Outage, Unreachable
from localhost.queue_options import QueueOptions
from localhost.queues import Queues
from tests.localhost.queue_fakes import FakeQueue, Pauses, message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from localhost.messages import Message


class FakeDelivery:
    """Holds each message until it is told to let go."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.done: asyncio.Queue[str] = asyncio.Queue()
        self.released: list[str] = []
        self.cancelled: list[str] = []
        self.let_go: dict[str, asyncio.Event] = {}

    async def deliver(self, given: Message) -> None:
        self.let_go[given.id] = asyncio.Event()
        self.begun.put_nowait(given.id)
        try:
            await self.let_go[given.id].wait()
        except asyncio.CancelledError:
            self.cancelled.append(given.id)
            raise
        self.done.put_nowait(given.id)

    async def release(self, given: Message) -> None:
        self.released.append(given.id)

    async def begin(self, count: int) -> list[str]:
        return [await self.begun.get() for _ in range(count)]


class Post:
    """A listener, and what it works with."""

    def __init__(self, *names: str, batch_size: int = 3, new_batch_threshold: int = 1) -> None:
        self.queue = FakeQueue(holds=[message(name=name) for name in names])
        self.delivery, self.pauses, self.outage = FakeDelivery(), Pauses(), Outage("http://storage")
        options = QueueOptions(batch_size=batch_size, new_batch_threshold=new_batch_threshold)
        self.listener = Listener(
            self.queue,
            self.delivery,  # type: ignore[arg-type]
            options,
            self.outage,
            pause=self.pauses,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.listener.run())
        yield task
        task.cancel()
        await asyncio.wait({task})

    async def idle(self) -> float:
        """Wait until it pauses, end the pause, and say how long it was to be."""
        seconds, over = await self.pauses.next()
        over.set()
        return seconds


async def test_an_empty_queue() -> None:
    """It is looked at ever less often, down to once in two seconds."""
    post = Post()
    async with post.running():
        pauses = [await post.idle() for _ in range(7)]
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0] == pauses


async def test_a_message_after_a_while() -> None:
    """Once there was a message, it is looked for others at once, and often again."""
    post = Post(new_batch_threshold=3)
    async with post.running():
        for _ in range(3):
            await post.idle()
        post.queue.holds = [message()]
        assert 0.1 == await post.idle()
        assert ["m"] == await post.delivery.begin(1)


async def test_how_many_at_once() -> None:
    """Messages come in batches; the next when no more than the threshold are in hand."""
    post = Post(*"abcdefg", batch_size=3, new_batch_threshold=1)
    async with post.running():
        assert [*"abc"] == await post.delivery.begin(3)
        post.delivery.let_go["b"].set()
        assert "b" == await post.delivery.done.get()
        assert [3] == post.queue.asked
        post.delivery.let_go["c"].set()
        assert [*"def"] == await post.delivery.begin(3)
        assert [3, 3] == post.queue.asked


async def test_stopping_while_idle() -> None:
    """Told to stop, it does not wait for the pause to end."""
    post = Post()
    async with post.running() as task:
        await post.pauses.next()
        post.listener.stop()
        await task
    assert [3] == post.queue.asked


async def test_stopping_with_messages_in_hand() -> None:
    """Told to stop, it takes no more messages, and ends when those in hand have."""
    post = Post(*"abcd", new_batch_threshold=0)
    async with post.running() as task:
        await post.delivery.begin(3)
        post.listener.stop()
        for gate in post.delivery.let_go.values():
            gate.set()
        await task
    assert (3, [3]) == (post.delivery.done.qsize(), post.queue.asked)


async def test_stopping_while_messages_come() -> None:
    """What comes after it was told to stop is given back at once."""
    post = Post(*"ab")
    post.queue.gate = asyncio.Event()
    async with post.running() as task:
        await post.queue.was_asked.wait()
        post.listener.stop()
        post.queue.gate.set()
        await task
    assert (["a", "b"], True) == (post.delivery.released, post.delivery.begun.empty())


async def test_the_grace_is_over() -> None:
    """Cancelled, it cancels what is in hand."""
    post = Post(*"ab")
    async with post.running():
        await post.delivery.begin(2)
    assert ["a", "b"] == sorted(post.delivery.cancelled)


async def test_storage_out_of_reach(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is told once, and its end; meanwhile the queue is asked as often as an empty one."""
    post = Post()
    post.queue.fails_with = Unreachable("cannot be reached")
    async with post.running():
        pauses = [await post.idle() for _ in range(3)]
        post.queue.holds, post.queue.fails_with = [message()], None
        await post.idle()
        assert ["m"] == await post.delivery.begin(1)
    assert [0.1, 0.2, 0.4] == pauses
    assert [
        "The queues at http://storage: cannot be reached. It is tried again; HTTP functions go on.",
        "The queues at http://storage answer again.",
    ] == caplog.messages


def test_an_outage_of_two_queues(caplog: pytest.LogCaptureFixture) -> None:
    """The same cause is told once for all queues of an account, another cause besides; its end when all are well."""
    outage, gone = Outage("http://storage"), Unreachable("cannot be reached")
    for queue, cause in [("a", gone), ("b", gone), ("a", gone), ("b", Unreachable("the answer is 403"))]:
        outage.begun(queue, cause)
    outage.ended("a")
    assert ["cannot be reached", "the answer is 403"] == [
        line.split(": ")[1].partition(". ")[0] for line in caplog.messages
    ]
    outage.ended("b")
    outage.ended("b")
    assert ["The queues at http://storage answer again."] == caplog.messages[2:]


async def test_all_queues_of_a_host() -> None:
    """They stop together; what is still in hand when their time is over is cancelled."""
    posts = [Post("a"), Post("b")]
    queues = Queues([post.listener for post in posts], ThreadPoolExecutor(1))
    queues.start()
    for post in posts:
        await post.delivery.begin(1)
    posts[0].delivery.let_go["a"].set()
    await queues.stop(0.0)
    assert [[], ["b"]] == [post.delivery.cancelled for post in posts]


async def test_a_fault_of_the_host_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A fault that ends the polling of a queue is told when it happens."""
    post = Post()
    post.queue.fails_with = AssertionError("no such thing")
    queues = Queues([post.listener], ThreadPoolExecutor(1))
    queues.start()
    await post.queue.has_failed.wait()
    await queues.stop(1.0)
    assert ["A queue is not polled any more: that is a fault of this host"] == caplog.messages


async def test_stopped_before_it_was_started() -> None:
    """A host that could not listen has nothing to wait for."""
    await Queues([Post().listener], ThreadPoolExecutor(1)).stop(1.0)
