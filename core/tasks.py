"""Small tools for asyncio tasks: start at once, wait for a signal, run to the end in spite of cancellation."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_T = TypeVar("_T")


def start_eagerly(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Start a task and return when it first waits; it may have ended by then.

    Before Python 3.12 it starts in the loop's next turn, as every task does there.
    """
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.ensure_future(work)


async def uninterrupted(work: Coroutine[None, None, _T], *, undo: Callable[[_T], Awaitable[None]] | None = None) -> _T:
    """Run some work to its end. A caller that is cancelled meanwhile gets its cancellation after that.

    `undo` then takes back the result, which nobody else sees.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if undo is not None and not task.cancelled() and task.exception() is None:
            await undo(task.result())
        raise


class Signal:
    """One task waits, another wakes it. A future and a timer: a queue would cost more on every call."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[bool] | None = None

    def set(self) -> None:
        """Wake the task that waits. Without one, nothing happens."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set. False: `seconds` have passed without that."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        timer = None if seconds is None else loop.call_later(seconds, _give_up, waiter)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
