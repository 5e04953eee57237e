"""What some work shows, as a test reads it: one thing at a time, and then what it ends with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    Show = Callable[[Any], Awaitable[None]]


async def told(work: Callable[[Show], Coroutine[Any, Any, Any]]) -> AsyncGenerator[Any]:
    """Carry out some work that is given something to show with; it goes on when the next thing is asked for."""
    shown: asyncio.Queue[Any] = asyncio.Queue()
    wanted = asyncio.Event()

    async def show(what: Any) -> None:
        wanted.clear()
        shown.put_nowait(what)
        await wanted.wait()

    task = asyncio.ensure_future(work(show))
    try:
        while await _either(shown, task):
            yield shown.get_nowait()
            wanted.set()
        yield task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _either(shown: asyncio.Queue[Any], task: asyncio.Task[Any]) -> bool:
    """Wait until there is something to be seen (True), or the work has ended."""
    while shown.empty() and not task.done():  # noqa: ASYNC110 -- two things are waited for, and a test has time
        await asyncio.sleep(0)
    return not shown.empty()
