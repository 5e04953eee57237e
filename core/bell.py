"""Waiting for news from the other side: a future and a timer, where a task and a queue would do the same for more."""

from __future__ import annotations

import asyncio


class Bell:
    """One side rings it when there is news; the other, nobody else with it, waits for that."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[bool] | None = None

    def ring(self) -> None:
        """Wake who waits; where nobody does, it is not heard."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it rings; False: it has not within so many seconds."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        timer = None if seconds is None else loop.call_later(seconds, _end, waiter)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _end(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
