"""One generation and its reader: either can leave, and a generation whose end is to be kept goes on."""

from __future__ import annotations

import asyncio

import pytest

from core.domain.errors import Overdue, Stopping
from core.generation_task import GenerationTask, Shutdown
from tests.responses.scripted import EVENT_ID, Generation, a_call, drawn, showing

FIRST, SECOND, END = showing(0), showing(1), drawn()


class Kept:
    """A reader whose generation's end is kept, and what was kept."""

    def __init__(self, *script, grace=None) -> None:
        self.generation = Generation(*script)
        self.kept = []
        self.reader = GenerationTask(self.generation.draw, grace or Shutdown(), a_call(), seconds=60, store=self._keep)

    async def _keep(self, end) -> None:
        await asyncio.sleep(0)
        self.kept.append(end)


async def turns() -> None:
    """Let everything go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_reads_on_gets_every_event_and_the_end_once_it_is_kept():
    """Nothing is lost, and what was seen can be asked for again."""
    kept = Kept(FIRST, SECOND, END)

    seen = [(await kept.reader.next_event(), list(kept.kept)) for _ in range(3)]
    await kept.reader.aclose()

    assert [(FIRST, []), (SECOND, []), (END, [END])] == seen
    assert kept.generation.closed


async def test_nothing_is_drawn_ahead_of_the_reader():
    """A slow reader holds upstream up, whether the end is kept or not."""
    for reader, generation in [
        ((kept := Kept(FIRST, SECOND, END)).reader, kept.generation),
        (GenerationTask((own := Generation(FIRST, SECOND, END)).draw, Shutdown(), a_call(), seconds=60), own),
    ]:
        assert FIRST is await reader.next_event()
        await turns()
        assert generation.produced == 1
        await reader.aclose()


@pytest.mark.parametrize("read", [0, 1, 2, 3])
async def test_who_leaves_leaves_the_rest_to_be_kept(read):
    """At any time; nobody is shown anything, and the end is kept once."""
    kept = Kept(FIRST, SECOND, END)
    for _ in range(read):
        await kept.reader.next_event()

    await kept.reader.aclose()
    await kept.reader.aclose()

    assert ([END], 3, True) == (kept.kept, kept.generation.produced, kept.generation.closed)


async def test_a_reader_that_is_cancelled_while_it_waits_leaves_the_rest_to_be_kept():
    """It was the caller who went, not the generation."""
    gate = asyncio.Event()
    kept = Kept(gate, END)
    waiting = asyncio.ensure_future(kept.reader.next_event())
    await turns()
    waiting.cancel()
    await asyncio.wait({waiting})
    gate.set()

    await kept.reader.aclose()

    assert [END] == kept.kept


async def test_an_event_is_not_lost_by_waiting_too_short():
    """Who finds nothing in time gets it the next time."""
    gate = asyncio.Event()
    reader = GenerationTask(Generation(gate, FIRST, END).draw, Shutdown(), a_call(), seconds=60)

    assert await reader.next_event(0) is None
    gate.set()

    assert [FIRST, END] == [await reader.next_event(5), await reader.next_event(5)]
    await reader.aclose()


async def test_an_event_that_comes_with_the_end_of_the_wait():
    """An event that is there in the very turn in which the wait ends, or the process, is handed over first."""
    gate, grace = asyncio.Event(), Shutdown()
    reader = GenerationTask(Generation(gate, FIRST, asyncio.Event()).draw, grace, a_call(), seconds=60)
    waiting = asyncio.ensure_future(reader.next_event(5))
    await turns()
    gate.set()
    await asyncio.sleep(0)
    grace.begin()

    assert FIRST is await waiting
    with pytest.raises(Stopping):
        await reader.next_event(5)
    await reader.aclose()


@pytest.mark.parametrize("keeps", [False, True])
async def test_what_goes_wrong_is_told_to_the_reader(caplog, keeps):
    """It is raised, once, and then it is not in the log."""
    script = FIRST, ConnectionError("broken")
    reader = (
        Kept(*script).reader if keeps else GenerationTask(Generation(*script).draw, Shutdown(), a_call(), seconds=60)
    )
    await reader.next_event()
    with pytest.raises(ConnectionError):
        await reader.next_event()

    await reader.aclose()

    assert caplog.text == ""


async def test_what_goes_wrong_when_nobody_reads_is_written_down(caplog):
    """With the call's id; it is raised nowhere."""
    kept = Kept(FIRST, ConnectionError("broken"))
    await kept.reader.next_event()

    await kept.reader.aclose()

    assert EVENT_ID in caplog.text


async def test_a_generation_that_ends_at_once():
    """One that waits for nothing has ended before it is read; nothing of it is lost."""
    reader = GenerationTask(Generation(END).draw, Shutdown(), a_call(), seconds=0)
    await turns()

    assert END is await reader.next_event()
    await reader.aclose()


async def test_the_time_of_a_call_whose_end_is_kept():
    """When it is over the reader is told, and the generation goes on until its end is kept."""
    gate = asyncio.Event()
    generation, kept = Generation(gate, END), []

    async def keep(end):
        kept.append(end)

    reader = GenerationTask(generation.draw, Shutdown(), a_call(), seconds=0.0, store=keep)
    with pytest.raises(Overdue):
        await reader.next_event()
    assert not generation.closed
    gate.set()

    await reader.aclose()

    assert [END] == kept


async def test_nobody_listens_for_the_end_of_the_process_any_more():
    """A call that has ended leaves nothing behind with those that go on."""
    grace = Shutdown()
    readers = [GenerationTask(Generation(END).draw, grace, a_call(), seconds=60) for _ in range(3)]
    for reader in readers:
        await reader.next_event()
        await reader.aclose()

    assert not grace._listeners


async def test_a_generation_that_ends_cancelled():
    """Whoever reads it is told that its time is over: the cancellation was not theirs."""
    reader = GenerationTask(Generation(asyncio.CancelledError()).draw, Shutdown(), a_call(), seconds=60)
    with pytest.raises(Overdue):
        await reader.next_event()
    await reader.aclose()
