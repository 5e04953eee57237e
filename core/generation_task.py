"""A generation with an owner of its own, apart from the caller who waits for it: it may serve another one later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from core.domain.errors import Overdue, Stopping
from core.routing.executor import Succeeded
from core.tasks import Signal, start_eagerly
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from core.call import CallContext
    from core.routing.executor import End, PartialImage, Progress, Show

    Generate = Callable[[Show], Coroutine[Any, Any, End]]
    """Draws, shows partial images meanwhile, and returns its end."""

SLACK_SECONDS: Final = 1.0
"""How long after the call's time a generation is ended that nobody reads. One that is read ends by itself before."""


class Shutdown:
    """The end of the process, as the calls in flight learn of it."""

    def __init__(self) -> None:
        self.has_begun = False
        """Whether calls in flight have had their time, and nothing more is begun."""
        self._listeners: set[Callable[[], None]] = set()

    def begin(self) -> None:
        """Let what is still in flight end now."""
        self.has_begun = True
        for notify in tuple(self._listeners):
            notify()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` when it begins."""
        self._listeners.add(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """Do not call `listener` any more."""
        self._listeners.discard(listener)


class Lingering(Protocol):
    """Where generations go on whose caller has left."""

    def add(self, task: GenerationTask) -> float:
        """Take in a generation, and give the seconds for which it may go on."""
        ...

    def trim(self) -> None:
        """Let the oldest go where there are too many: the picture of one has come."""
        ...

    async def remove(self, task: GenerationTask, *, picked_up: bool) -> None:
        """Let go of it: a repeat has picked it up, or its time is over."""
        ...


class GenerationTask:
    """Runs one generation, and gives its events to one reader at a time.

    What was shown is held until it is read, and the generation goes on only when its reader waits for more, so that
    back-pressure reaches upstream. Waiting can end without losing the event.

    A reader that leaves ends the generation, with two exceptions. With `store` it goes on to its end, which is stored
    before it is given to anybody, so that whoever has seen it can ask for it again. With `lingering`, one that has been
    sent goes on for a while, and a repeat of the same request can become its reader.

    A reader that stops reading does not hold upstream: when the call's time is over, the generation is ended.
    """

    def __init__(
        self,
        generate: Generate,
        shutdown: Shutdown,
        call: CallContext,
        *,
        seconds: float,
        store: Callable[[End], Awaitable[None]] | None = None,
        lingering: Lingering | None = None,
    ) -> None:
        """`seconds` are what is left of the call's time."""
        self.call = call
        """The call that began it."""
        self._shutdown = shutdown
        self._store = store
        self._lingering = lingering
        self._event: Progress | None = None
        """What has come and has not been read."""
        self._news = Signal()
        self._wanted: asyncio.Future[None] | None = None
        """Done when more is wanted than what was shown last."""
        self._is_left = False
        self._fault_is_told = False
        self._closing: asyncio.Task[None] | None = None
        self._picked_up: asyncio.Future[bool] | None = None
        """While it lingers: done when a repeat picks it up (True), or it must give way to others (False)."""
        slack = SLACK_SECONDS if store is None else 0.0  # one that is stored does not end by itself
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds) + slack, self._end_overdue)
        shutdown.subscribe(self._news.set)
        self._work = start_eagerly(self._run(generate))

    @property
    def goes_on(self) -> bool:
        """Whether it goes on to its end when it is no longer read, so that its outcome can be asked for again."""
        return self._store is not None

    @property
    def held_bytes(self) -> int:
        """The size of the finished picture that waits for a reader, in bytes; 0 while there is none."""
        return self._event.picture.answer.held_bytes if isinstance(self._event, Succeeded) else 0

    async def next_event(self, seconds: float | None = None) -> Progress | None:
        """Give the next event, or None if there is none within `seconds`.

        Raises Stopping or Overdue, or what went wrong in our hands.
        """
        if self._closing is not None:
            raise Overdue
        self._want_more()
        if self._event is None and not self._work.done() and not self._shutdown.has_begun:
            await self._news.wait(seconds)
        event, self._event = self._event, None
        if event is not None:
            return event
        if self._closing is not None or self._work.cancelled():
            raise Overdue
        if self._work.done():
            self._fault_is_told = True
            self._work.result()
        if self._shutdown.has_begun:
            raise Stopping
        return None

    def put_back(self, event: Progress) -> None:
        """Hold an event again that its reader could not pass on, for the next one."""
        self._event = event

    async def aclose(self) -> None:
        """Stop reading, and wait until the generation has ended, or as long as it lingers.

        That goes on by itself where whoever closes is cancelled meanwhile.
        """
        if self._work.done() and self._event is None:
            self._free()
        else:
            await asyncio.shield(self._close_soon())

    async def close_for(self, end: Stopping | Overdue) -> None:
        """Stop reading because of this, and say in it whether asking again is safe: that is known by then.

        A generation that goes on is not waited for: whoever asks again gets the outcome of this very one.
        """
        self._lingering = None  # its caller has not left, and hears what became of it
        if not self.goes_on:
            await self.aclose()
        is_free = isinstance(end, Stopping) and self.call.log.summary.costs_nothing
        end.retry_safe = self.goes_on or is_free

    # -- lingering --

    @property
    def is_lingering(self) -> bool:
        """Whether it goes on without a reader, and can be picked up."""
        return self._picked_up is not None and not self._picked_up.done()

    def pick_up(self) -> bool:
        """Become its reader in the place of the one that left. False: somebody else has, or its time is over."""
        if self._picked_up is None or self._picked_up.done():
            return False
        self._picked_up.set_result(True)
        self._closing = None
        self._is_left = False
        return True

    def give_way(self) -> None:
        """End lingering now, in favour of those that began later."""
        if self._picked_up is not None and not self._picked_up.done():
            self._picked_up.set_result(False)

    async def _linger(self, lingering: Lingering) -> bool:
        """Go on without a reader. Tell whether a repeat has become its reader."""
        picked_up: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._picked_up = picked_up
        seconds = lingering.add(self)
        if seconds > 0:
            self._shutdown.subscribe(self.give_way)
            await asyncio.wait({picked_up}, timeout=seconds)
            self._shutdown.unsubscribe(self.give_way)
        if not picked_up.done():
            picked_up.set_result(False)
        return picked_up.result()

    # -- the generation's side --

    async def _run(self, generate: Generate) -> None:
        try:
            end = await generate(self._show)
            if self._store is not None:
                await self._store(end)
            self._event = end
            if self._lingering is not None and self.is_lingering:
                self._lingering.trim()
        finally:
            self._news.set()

    async def _show(self, partial: PartialImage) -> None:
        """Hand a partial image over, and wait until more is wanted. Without a reader it is dropped."""
        if self._is_left:
            return
        self._event = partial
        self._wanted = asyncio.get_running_loop().create_future()
        self._news.set()
        await self._wanted

    # -- between the two --

    def _want_more(self) -> None:
        if self._event is None and self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    # -- the end --

    def _end_overdue(self) -> None:
        if not self._work.done():
            self._lingering = None
            self._close_soon()

    def _close_soon(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
            self._news.set()
        return self._closing

    async def _close(self) -> None:
        self._is_left = True
        if not self._work.done():
            self._event = None  # a partial image
        self._want_more()
        lingering = self._lingering
        if lingering is not None and not self.call.log.summary.costs_nothing and not self._shutdown.has_begun:
            picked_up = await self._linger(lingering)
            if not picked_up:
                self._work.cancel()
            await asyncio.wait({self._work})
            await lingering.remove(self, picked_up=picked_up)
            if picked_up:
                return  # the new reader frees it
        elif self._store is None:
            self._work.cancel()
        await asyncio.wait({self._work})
        self._free()

    def _free(self) -> None:
        """Free what is left, once the generation has ended. A fault that nobody was told of goes into the log."""
        self._timer.cancel()
        self._shutdown.unsubscribe(self._news.set)
        self._event = None
        if not self._fault_is_told and not self._work.cancelled() and (fault := self._work.exception()) is not None:
            write_fault(fault, self.call.event_id)
        self._fault_is_told = True
