"""Work that is not broken off halfway: who asked for it may be cancelled meanwhile, and is so once it has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_T = TypeVar("_T")


async def undisturbed(work: Coroutine[None, None, _T], *, undo: Callable[[_T], Awaitable[None]] | None = None) -> _T:
    """Do some work to its end; where its caller has been cancelled meanwhile, `undo` is given what came of it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if undo is not None and not task.cancelled() and task.exception() is None:
            await undo(task.result())
        raise
