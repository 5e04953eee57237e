"""When something must have ended, and waiting no longer than that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self


class Deadline(Struct, frozen=True):
    """A moment on a monotonic clock, in seconds."""

    clock: Callable[[], float]
    ends_at: float

    @property
    def is_over(self) -> bool:
        """Whether it has come."""
        return self.clock() >= self.ends_at

    def left(self, seconds: float | None = None) -> float:
        """How long may be waited: until the deadline, and at most `seconds`."""
        left = max(0.0, self.ends_at - self.clock())
        return left if seconds is None else min(left, seconds)

    def within(self, seconds: float) -> Deadline:
        """The deadline that comes after so many seconds from now, or this one where it is earlier."""
        return Deadline(self.clock, min(self.ends_at, self.clock() + seconds))

    def phase(self, seconds: float | None = None) -> Phase:
        """Bound what is done in an `async with` block by the deadline, and by `seconds`."""
        return Phase(self.left(seconds))


class Phase:
    """A timeout that can be set anew. It raises TimeoutError, as asyncio's does.

    What has come in the very turn of the loop in which the time ends, or while the process stood still, is still taken:
    the block goes on with it before it is cancelled.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    def reschedule(self, seconds: float) -> None:
        """Let the block have so many seconds from now on."""
        self._timer.cancel()
        self._timeout.reschedule(None)
        self._set_timer(seconds)

    async def __aenter__(self) -> Self:
        """Begin the block."""
        await self._timeout.__aenter__()
        self._set_timer(self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block. Raises TimeoutError where its time was over."""
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _set_timer(self, seconds: float) -> None:
        # asyncio runs the timers of a turn behind what has come; a timeout that is set to now waits for the next turn,
        # and there it stands behind the task that has been woken.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, lambda: self._timeout.reschedule(loop.time()))
