"""A generation that is carried to its end, whoever still listens: its caller may ask again for what came of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

from core.logs import write_fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

_Event = TypeVar("_Event")


class Keeper(Generic[_Event]):
    """Reads the events of a generation in a task of its own, and sees to it that its end is kept.

    While somebody reads on, the next event is asked for only when the last one was taken: back-pressure reaches
    upstream. Once nobody does, the rest is read and dropped. The end is handed on only after it has been kept, so that
    whoever has seen it can ask for it again.
    """

    def __init__(
        self,
        events: AsyncGenerator[_Event],
        *,
        is_end: Callable[[_Event], bool],
        keep: Callable[[_Event], Awaitable[None]],
        event_id: str,
    ) -> None:
        self._events = events
        self._is_end = is_end
        self._keep = keep
        self._event_id = event_id
        self._told = False
        self._left = asyncio.Event()
        self._handed: asyncio.Queue[_Event] = asyncio.Queue(maxsize=1)
        self._task = asyncio.ensure_future(self._carry())

    async def read(self) -> AsyncGenerator[_Event]:
        """The events as they come. Whoever has read enough goes on with `finished`."""
        while True:
            taken = asyncio.ensure_future(self._handed.get())
            try:
                await asyncio.wait({taken, self._task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not taken.done():
                    taken.cancel()
            if not taken.done():
                self._told = True
                self._task.result()  # raises what went wrong
                return
            event = taken.result()
            yield event
            if self._is_end(event):
                return
            del event  # megabytes, and the next one may be long in coming

    async def finished(self) -> None:
        """Let the generation go on by itself, and wait until its end is kept.

        What the reader was not told goes into the log.
        """
        self._left.set()
        await asyncio.wait({self._task})
        if not self._told and not self._task.cancelled() and (fault := self._task.exception()) is not None:
            write_fault(fault, self._event_id)

    async def _carry(self) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                if self._is_end(event):
                    await self._keep(event)
                await self._hand(event)
                del event

    async def _hand(self, event: _Event) -> None:
        """Hand an event to whoever reads; drop it where nobody does."""
        putting = asyncio.ensure_future(self._handed.put(event))
        leaving = asyncio.ensure_future(self._left.wait())
        await asyncio.wait({putting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (putting, leaving):
            waiting.cancel()
