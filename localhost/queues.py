"""All queues of an app, polled from the start of the host to its end. Imported where there are any."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

from localhost.delivery import Delivery
from localhost.listener import GOODBYE_SECONDS, Listener
from localhost.messages import Outage
from localhost.queue_storage import StoredQueue
from localhost.settings import StartError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localhost.queue_options import QueueOptions
    from localhost.queue_triggers import QueueFunction

logger = logging.getLogger(__name__)

THREADS: Final = 4
"""How many calls of the storage may be under way."""


class Queues:
    """The queues that start an app's functions."""

    def __init__(self, listeners: Iterable[Listener], threads: ThreadPoolExecutor) -> None:
        """`threads` are ended with them."""
        self._listeners = list(listeners)
        self._threads = threads
        self._running: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, functions: Iterable[tuple[QueueFunction, str]], options: QueueOptions) -> Self:
        """Make them, of functions each with its connection string. Raises StartError where that is none."""
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="queues")
        outages: dict[str, Outage] = {}
        listeners = []
        for function, where in functions:
            try:
                queue = StoredQueue(where, function.queue, threads)
            except ValueError:
                raise StartError(
                    f"{function.connection} is not a connection string of a storage account; copy it again"
                ) from None
            poison = function.poison and StoredQueue(where, function.poison, threads)
            outage = outages.setdefault(queue.account, Outage(queue.account))
            delivery = Delivery(function, queue, poison or None, options, outage, pause=asyncio.sleep)
            listeners.append(Listener(queue, delivery, options, outage, pause=asyncio.sleep))
        return cls(listeners, threads)

    def start(self) -> None:
        """Begin to poll, in the running loop."""
        self._running = {asyncio.create_task(_guarded(listener)) for listener in self._listeners}

    async def stop(self, seconds: float) -> None:
        """Take no more messages, and give those in hand so long to end."""
        for listener in self._listeners:
            listener.stop()
        if self._running:
            _, open_ones = await asyncio.wait(self._running, timeout=seconds)
            for task in open_ones:
                task.cancel()
            if open_ones:
                await asyncio.wait(open_ones, timeout=2 * GOODBYE_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _guarded(listener: Listener) -> None:
    """A fault of the polling must not go unseen until the host ends."""
    try:
        await listener.run()
    except Exception:
        logger.exception("A queue is not polled any more: that is a fault of this host")
