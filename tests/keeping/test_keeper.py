"""A generation that is carried to its end, whoever still listens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from core.keeping.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Generation:
    """Events that come when they are let come; a text in capitals is the end."""

    def __init__(self, *events: str, breaks: bool = False) -> None:
        self.asked = 0
        self.kept: list[str] = []
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.keeper = Keeper(
            self._events(events, breaks=breaks), is_end=str.isupper, keep=self._keep, event_id="the-event"
        )

    async def _events(self, events: tuple[str, ...], *, breaks: bool) -> AsyncGenerator[str]:
        try:
            for event in events:
                await self.gate.wait()
                self.asked += 1
                yield event
            if breaks:
                raise ConnectionError("broken")
        finally:
            self.closed = True

    async def _keep(self, event: str) -> None:
        await asyncio.sleep(0)
        self.kept.append(event)


async def turns() -> None:
    """Let everything go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_reads_on_gets_every_event_and_the_end_once_it_is_kept() -> None:
    """Nothing is lost, and what was seen can be asked for again."""
    generation = Generation("a", "b", "END")
    async with aclosing(generation.keeper.read()) as events:
        seen = [(event, list(generation.kept)) async for event in events]
    assert [("a", []), ("b", []), ("END", ["END"])] == seen
    await generation.keeper.finished()
    assert generation.closed


async def test_nothing_is_asked_for_far_ahead_of_the_reader() -> None:
    """A slow reader holds upstream up, as without a keeper."""
    generation = Generation("a", "b", "c", "d", "END")
    async with aclosing(generation.keeper.read()) as events:
        assert "a" == await anext(events)
        await turns()
        assert 3 >= generation.asked


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_who_leaves_leaves_the_rest_to_be_kept(read: int) -> None:
    """At any time."""
    generation = Generation("a", "b", "c", "END")
    async with aclosing(generation.keeper.read()) as events:
        for _ in range(read):
            await anext(events)
    await generation.keeper.finished()
    assert (["END"], 4, True) == (generation.kept, generation.asked, generation.closed)


async def test_a_reader_that_is_cancelled_while_it_waits_leaves_the_rest_to_be_kept() -> None:
    """It was the caller who went, not the generation."""
    generation = Generation("a", "END")
    generation.gate.clear()
    events = generation.keeper.read()
    waiting = asyncio.ensure_future(anext(events))
    await turns()
    waiting.cancel()
    await asyncio.wait({waiting})
    await events.aclose()
    generation.gate.set()
    await generation.keeper.finished()
    assert ["END"] == generation.kept


async def test_what_goes_wrong_is_told_to_the_reader() -> None:
    """As without a keeper."""
    generation = Generation("a", breaks=True)
    async with aclosing(generation.keeper.read()) as events:
        assert "a" == await anext(events)
        with pytest.raises(ConnectionError):
            await anext(events)
    await generation.keeper.finished()


async def test_what_goes_wrong_when_nobody_reads_is_written_down(caplog: pytest.LogCaptureFixture) -> None:
    """With the event's id; it is raised nowhere."""
    generation = Generation("a", breaks=True)
    async with aclosing(generation.keeper.read()) as events:
        await anext(events)
    await generation.keeper.finished()
    assert "the-event" in caplog.text
