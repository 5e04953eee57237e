"""Queues in memory: messages are handled in this process, and tried five times as by the Functions host."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_TRIES: Final = 5
"""As the Functions host (Azure Functions docs, "host.json", queues.maxDequeueCount)."""
TRY_AGAIN_SECONDS: Final = 1.0

_log: Final = logging.getLogger(__name__)


class MemoryQueues:
    """The port `Queues` in memory."""

    def __init__(self, wait: Callable[[float], Awaitable[None]]) -> None:
        """`wait` lets seconds go by."""
        self._wait = wait
        self._queues: dict[str, MemoryQueue] = {}

    def queue(self, name: str) -> MemoryQueue:
        """Give a queue by its name."""
        return self._queues.setdefault(name, MemoryQueue(self._wait))


class MemoryQueue:
    """One queue. A message that is sent before there is a handler is dropped."""

    def __init__(self, wait: Callable[[float], Awaitable[None]]) -> None:
        self._wait = wait
        self._handler: Callable[[str, int], Awaitable[None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def handled_by(self, handler: Callable[[str, int], Awaitable[None]]) -> None:
        """Start `handler` with each message, and which try it is, counted from 1."""
        self._handler = handler

    async def send(self, text: str, *, delay_seconds: float = 0.0) -> None:
        """Send a message (see Queue.send)."""
        if self._handler is not None:
            work = asyncio.ensure_future(self._deliver(self._handler, text, delay_seconds))
            self._tasks.add(work)
            work.add_done_callback(self._tasks.discard)

    async def _deliver(self, handler: Callable[[str, int], Awaitable[None]], text: str, delay: float) -> None:
        if delay > 0:
            await self._wait(delay)
        for number in range(1, MAX_TRIES + 1):
            try:
                await handler(text, number)
            except Exception as failure:  # noqa: BLE001 -- as the host: a function that fails is started again
                _log.warning("A message was not handled at try %d: %s", number, type(failure).__name__)
                await self._wait(TRY_AGAIN_SECONDS)
            else:
                return
