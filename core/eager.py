"""Tasks that begin at once: a turn of the event loop that nobody waits for is time that a small call does not have."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")


def begin(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Begin some work in a task of its own, and return when it first waits; it may have ended by then.

    Before Python 3.12 it begins in the loop's next turn, as every task does there.
    """
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.ensure_future(work)
