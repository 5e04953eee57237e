"""One generation and whoever reads it, each in a task of its own: either can leave without harm to the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from core.domain.errors import Overdue, Stopping
from core.tasks import Signal, start_eagerly
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from core.responses.envelope import Envelope
    from core.routing.executor import End, PartialImage, Progress, Show

    Generation = Callable[[Show], Coroutine[Any, Any, End]]
    """Draws, shows what there is to be seen meanwhile, and returns its end."""

SLACK_SECONDS: Final = 1.0
"""How long after the call's time a generation is ended that nobody reads. One that is read ends by itself before."""


class Shutdown:
    """The end of the process, as the calls in flight learn of it."""

    def __init__(self) -> None:
        self.is_over = False
        """Whether what is still in flight has had its time."""
        self._listeners: set[Callable[[], None]] = set()

    def end(self) -> None:
        """Let what is still in flight end now."""
        self.is_over = True
        for tell in tuple(self._listeners):
            tell()

    def tell(self, listener: Callable[[], None]) -> None:
        """Call someone when it is over."""
        self._listeners.add(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Call someone no more."""
        self._listeners.discard(listener)


class GenerationTask:
    """Carries out one generation, and reads it one event at a time.

    What was shown is held until it is read, and the generation goes on only when someone waits for more: back-pressure
    reaches upstream. Waiting can end without losing the event. A generation belongs to its reader and ends with it,
    unless its end is to be kept: then it goes on, whoever still reads, and its end is handed on once it has been kept,
    so that whoever has seen it can ask for it again.

    A caller who stops reading does not hold upstream for ever: when the call's time is over, the generation is ended.
    """

    def __init__(
        self,
        generation: Generation,
        grace: Shutdown,
        envelope: Envelope,
        *,
        seconds: float,
        keep: Callable[[End], Awaitable[None]] | None = None,
    ) -> None:
        """`seconds` are what is left of the call's time. With `keep`, the generation goes on when it is left."""
        self._grace = grace
        self._envelope = envelope
        self._keep = keep
        self._event: Progress | None = None
        """What has come and has not been read."""
        self._news = Signal()
        self._wanted: asyncio.Future[None] | None = None
        """Done when more is wanted than what was shown last."""
        self._is_left = False
        self._is_told = False
        self._closing: asyncio.Task[None] | None = None
        slack = SLACK_SECONDS if keep is None else 0.0  # one that goes on does not end by itself
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds) + slack, self._time_is_over)
        grace.tell(self._news.set)
        self._work = start_eagerly(self._carry_out(generation))

    @property
    def goes_on(self) -> bool:
        """Whether the generation goes on when it is no longer read, so that its outcome can be asked for again."""
        return self._keep is not None

    async def wait(self, seconds: float | None = None) -> Progress | None:
        """Give the next event, or None if there is none within `seconds`.

        Raises Stopping or Overdue, or what went wrong in our hands.
        """
        if self._closing is not None:
            raise Overdue
        self._want_more()
        if self._event is None and not self._work.done() and not self._grace.is_over:
            await self._news.wait(seconds)
        event, self._event = self._event, None
        if event is not None:
            return event
        if self._closing is not None or self._work.cancelled():
            raise Overdue
        if self._work.done():
            self._is_told = True
            self._work.result()
        if self._grace.is_over:
            raise Stopping
        return None

    async def aclose(self) -> None:
        """Stop reading. What the generation holds is freed, or, where its end is to be kept, that is waited for.

        It goes on by itself where whoever closes is cancelled meanwhile.
        """
        if self._work.done():
            self._end()
        else:
            await asyncio.shield(self._close_soon())

    async def closed_for(self, end: Stopping | Overdue) -> None:
        """Stop reading because of this, and say in it whether asking again is safe: that is known by then.

        A generation that goes on is not waited for: who asks again gets what comes of this very one.
        """
        if not self.goes_on:
            await self.aclose()
        is_free = isinstance(end, Stopping) and self._envelope.journal.trail.costs_nothing
        end.retry_safe = self.goes_on or is_free

    # -- the generation's side --

    async def _carry_out(self, generation: Generation) -> None:
        try:
            end = await generation(self._show)
            if self._keep is not None:
                await self._keep(end)
            self._event = end
        finally:
            self._news.set()

    async def _show(self, showing: PartialImage) -> None:
        """Hand something over, and wait until more is wanted; to one who has left nothing is shown."""
        if self._is_left:
            return
        self._event = showing
        self._wanted = asyncio.get_running_loop().create_future()
        self._news.set()
        await self._wanted

    # -- between the two --

    def _want_more(self) -> None:
        if self._event is None and self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    # -- the end --

    def _time_is_over(self) -> None:
        if not self._work.done():
            self._close_soon()

    def _close_soon(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
            self._news.set()
        return self._closing

    async def _close(self) -> None:
        self._is_left = True
        self._event = None
        self._want_more()
        if self._keep is None:
            self._work.cancel()
        await asyncio.wait({self._work})
        self._end()

    def _end(self) -> None:
        """Free what is left, once the generation has ended; a fault that nobody was told of goes into the log."""
        self._timer.cancel()
        self._grace.forget(self._news.set)
        self._event = None
        if not self._is_told and not self._work.cancelled() and (fault := self._work.exception()) is not None:
            write_fault(fault, self._envelope.event_id)
        self._is_told = True
