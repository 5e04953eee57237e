"""One queue, polled: at once while there are messages, ever less often while there are none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from localhost.delivery import INVISIBLE_SECONDS, ended_within
from localhost.messages import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from localhost.delivery import Delivery
    from localhost.messages import Outage, Queue
    from localhost.queue_options import QueueOptions

SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""Between two looks at an empty queue. The real host goes up to a minute; here somebody is waiting."""
GOODBYE_SECONDS: Final = 1.0
"""How long functions that are cancelled may take to end."""


class Listener:
    """Takes messages from a queue and has them delivered, several at once."""

    def __init__(
        self,
        queue: Queue,
        delivery: Delivery,
        options: QueueOptions,
        outage: Outage,
        *,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        """`pause` waits for so many seconds."""
        self._queue = queue
        self._delivery = delivery
        self._options = options
        self._outage = outage
        self._pause = pause
        self._in_hand: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Take messages until told to stop, and then wait for those in hand; cancelled, it cancels them."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await self._poll(stopping)
            if self._in_hand:
                await asyncio.wait(self._in_hand)
        finally:
            stopping.cancel()
            for task in self._in_hand:
                task.cancel()
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=GOODBYE_SECONDS)

    def stop(self) -> None:
        """Take no more messages."""
        self._stopping.set()

    async def _poll(self, stopping: asyncio.Future[Any]) -> None:
        seconds = SHORTEST_PAUSE_SECONDS
        while not stopping.done():
            if await self._took_some():
                seconds = SHORTEST_PAUSE_SECONDS
                while len(self._in_hand) > self._options.new_batch_threshold and not stopping.done():
                    await asyncio.wait({stopping, *self._in_hand}, return_when=asyncio.FIRST_COMPLETED)
            else:
                await ended_within(seconds, stopping, self._pause)
                seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)

    async def _took_some(self) -> bool:
        """Take a batch of messages and begin with each; False: there is none."""
        try:
            messages = await self._queue.receive(self._options.batch_size, INVISIBLE_SECONDS)
        except Unreachable as cause:
            self._outage.begun(self._queue.name, cause)
            return False
        self._outage.ended(self._queue.name)
        for message in messages:
            # What comes when the host stops is given back at once: nobody else would see it for ten minutes.
            work = self._delivery.release if self._stopping.is_set() else self._delivery.deliver
            task = asyncio.create_task(work(message))
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)
        return bool(messages)
