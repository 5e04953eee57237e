"""The life of one message, as the real host has it (azure-sdk-for-net, QueueListener and QueueProcessor).

It is invisible to others while its function works on it. Done, it is deleted; failed, it is visible again after
`visibilityTimeout`, and after `maxDequeueCount` tries it goes to the queue's `-poison`. So does, at once, what is not
base64 where it should be. Where there is no `-poison`, what failed stays as it is: invisible, and then visible again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import math
from typing import TYPE_CHECKING, Any, Final

from azure.functions.queue import QueueMessage

from localhost.functions import is_being_cancelled
from localhost.messages import NotOurs, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from localhost.messages import Message, Outage, Queue
    from localhost.queue_options import QueueOptions
    from localhost.queue_triggers import QueueFunction

logger = logging.getLogger(__name__)

INVISIBLE_SECONDS: Final = 600
"""How long a message is invisible; renewed at half of it for as long as its function runs."""
RENEW_AGAIN_SECONDS: Final = 60.0
"""When it is tried again, where it could not be renewed."""


class Delivery:
    """Calls a function with messages of its queue, and sees to what becomes of them."""

    def __init__(
        self,
        function: QueueFunction,
        queue: Queue,
        poison: Queue | None,
        options: QueueOptions,
        outage: Outage,
        *,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        """`poison` is where messages go that failed too often; `pause` waits for so many seconds."""
        self._function = function
        self._queue = queue
        self._poison = poison
        self._options = options
        self._outage = outage
        self._pause = pause

    async def deliver(self, message: Message) -> None:
        """Call the function with a message that was taken from the queue, and do what follows from how it ended.

        Cancelled, it cancels the function and leaves the message: it becomes visible again by itself.
        """
        if message.dequeue_count > self._options.max_dequeue_count:
            await self._give_up(message)
            return
        try:
            body = self._decoded(message.text)
        except ValueError:
            logger.warning(
                "Message %s of queue %s is not base64 (host.json: extensions.queues.messageEncoding)",
                message.id,
                self._queue.name,
            )
            await self._give_up(message)
            return
        invocation = asyncio.create_task(self._invoke(message, body))
        try:
            message = await self._hidden_until(invocation, message)
        finally:
            if not invocation.done():
                invocation.cancel()
                await asyncio.wait({invocation})
        if invocation.result():
            with self._minding():  # where it cannot be deleted it comes again, as it may in Azure
                await self._queue.delete(message)
        elif message.dequeue_count >= self._options.max_dequeue_count:
            await self._give_up(message)
        elif self._poison is not None:
            await self.release(message, math.ceil(self._options.visibility_timeout))

    async def release(self, message: Message, seconds: int = 0) -> None:
        """Let others take a message, so many seconds from now."""
        with self._minding():  # where that cannot be done it becomes visible by itself, later
            await self._queue.hide(message, seconds)

    async def _give_up(self, message: Message) -> None:
        """Move a message to where somebody may look at it."""
        if self._poison is None:
            return
        logger.warning(
            "Message %s goes from queue %s to %s, at try %d of %d",
            message.id,
            self._queue.name,
            self._poison.name,
            message.dequeue_count,
            self._options.max_dequeue_count,
        )
        with self._minding():
            await self._poison.send(message.text)
            await self._queue.delete(message)

    def _decoded(self, text: str) -> bytes:
        """Raises ValueError if it is not base64 and should be."""
        return base64.b64decode("".join(text.split()), validate=True) if self._options.is_base64 else text.encode()

    async def _invoke(self, message: Message, body: bytes) -> bool:
        """Call the function; False: it failed."""
        try:
            await self._function.call(
                QueueMessage(  # type: ignore[no-untyped-call]  # it has no annotations
                    id=message.id,
                    # Where the trigger does not say binary the real host gives text, and fails where there is none.
                    body=body if self._function.is_binary else body.decode(),
                    dequeue_count=message.dequeue_count,
                    expiration_time=message.expires_on,
                    insertion_time=message.inserted_on,
                    time_next_visible=message.next_visible_on,
                    pop_receipt=message.receipt,
                )
            )
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            logger.exception(
                "Function %s let a CancelledError out: in Azure it holds its message until functionTimeout",
                self._function.name,
            )
        except Exception:
            logger.exception(
                "Function %s failed with message %s, at try %d of %d",
                self._function.name,
                message.id,
                message.dequeue_count,
                self._options.max_dequeue_count,
            )
        else:
            return True
        return False

    async def _hidden_until(self, invocation: asyncio.Future[bool], message: Message) -> Message:
        """Keep a message invisible until its function has ended, and give it as it then is.

        Nobody else changes the message meanwhile: the receipt that deletes it is the one of the last renewal.
        """
        seconds = INVISIBLE_SECONDS / 2
        while not await ended_within(seconds, invocation, self._pause):
            try:
                message = await self._queue.hide(message, INVISIBLE_SECONDS)
                seconds = INVISIBLE_SECONDS / 2
            except Unreachable as cause:
                self._outage.begun(self._queue.name, cause)
                seconds = RENEW_AGAIN_SECONDS
            except NotOurs:
                logger.warning(
                    "Function %s works on message %s of queue %s, which somebody else has by now",
                    self._function.name,
                    message.id,
                    self._queue.name,
                )
                await asyncio.wait({invocation})
        return message

    @contextlib.contextmanager
    def _minding(self) -> Iterator[None]:
        """Let a change of a message fail where somebody else has it by now, or the storage is out of reach."""
        try:
            yield
        except NotOurs:
            return
        except Unreachable as cause:
            self._outage.begun(self._queue.name, cause)


async def ended_within(seconds: float, future: asyncio.Future[Any], pause: Callable[[float], Awaitable[None]]) -> bool:
    """Wait for so long, or until something has ended: then True."""
    pausing = asyncio.ensure_future(pause(seconds))
    try:
        await asyncio.wait({pausing, future}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pausing.cancel()
    return future.done()
