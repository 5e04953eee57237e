"""Reading a generation one event at a time, so that waiting can end without losing the event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from core.contract.errors import Overdue, Stopping
from core.logs import write_fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from core.delivery.envelope import Envelope
    from core.generation import Progress


class Grace:
    """The end of the process, as the calls in flight learn of it."""

    def __init__(self) -> None:
        self._over: asyncio.Future[None] | None = None

    @property
    def over(self) -> asyncio.Future[None]:
        """Done once what is still in flight has had its time."""
        if self._over is None:
            self._over = asyncio.get_running_loop().create_future()
        return self._over

    def end(self) -> None:
        """Let what is still in flight end now."""
        if not self.over.done():
            self.over.set_result(None)


SLACK_SECONDS: Final = 1.0
"""How long after the call's time a generation is ended that nobody reads. One that is read ends by itself before."""


class Reader:
    """Reads the events of one generation, and owns it.

    The next event is asked for only when someone waits for it: back-pressure reaches upstream. A caller who stops
    reading does not hold upstream for ever: when the call's time is over, the generation is ended.
    """

    def __init__(
        self,
        events: AsyncGenerator[Progress],
        grace: Grace,
        envelope: Envelope,
        *,
        seconds: float,
        finish: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`seconds` are what is left of the call's time.

        `finish` waits for a generation that goes on when it is no longer read; closing the reader waits for it.
        """
        self._finish = finish
        self._events = events
        self._grace = grace
        self._envelope = envelope
        self._pending: asyncio.Task[Progress] | None = None
        self._closing: asyncio.Task[None] | None = None
        slack = SLACK_SECONDS if finish is None else 0.0  # one that goes on does not end by itself
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds) + slack, self._close_soon)

    async def wait(self, seconds: float | None = None) -> Progress | None:
        """Give the next event, or None if there is none within `seconds`. Raises Stopping or Overdue."""
        if self._closing is not None:
            raise Overdue
        pending = self._pending = self._pending or asyncio.ensure_future(_next(self._events))
        either: set[asyncio.Future[Any]] = {pending, self._grace.over}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if pending.cancelled():
            raise Overdue
        if pending.done():
            self._pending = None
            return pending.result()
        if self._grace.over.done():
            raise Stopping(retry_safe=self._envelope.journal.trail.calls == 0)
        return None

    @property
    def goes_on(self) -> bool:
        """Whether the generation goes on when it is no longer read, so that its outcome can be asked for again."""
        return self._finish is not None

    async def aclose(self) -> None:
        """Stop reading and free all that the generation holds.

        It goes on by itself where the closing task is cancelled: a caller's leaving is told to it again and again.
        """
        await asyncio.shield(self._close_soon())

    def _close_soon(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        return self._closing

    async def _close(self) -> None:
        self._timer.cancel()
        pending, self._pending = self._pending, None  # whoever waits for it has it in its own hands
        if pending is not None and not pending.done():
            pending.cancel()
            await asyncio.wait({pending})
            if not pending.cancelled() and (fault := pending.exception()) is not None:
                write_fault(fault, self._envelope.event_id)
        await self._events.aclose()
        if self._finish is not None:
            await self._finish()


async def _next(events: AsyncGenerator[Progress]) -> Progress:
    return await anext(events)
