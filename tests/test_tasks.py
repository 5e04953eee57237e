"""Tasks that run to their end, whoever leaves meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.tasks import uninterrupted
from tests.jobs.running import settled


async def test_work_is_done_to_its_end_and_undone_where_nobody_waits_for_it() -> None:
    """Whoever asked for it is told afterwards that it was cancelled."""
    gate, undone = asyncio.Event(), []

    async def work() -> str:
        await gate.wait()
        return "done"

    async def undo(what: str) -> None:
        undone.append(what)

    waiting = asyncio.ensure_future(uninterrupted(work(), undo=undo))
    await settled()
    waiting.cancel()
    await settled()
    assert not waiting.done()
    gate.set()
    await asyncio.wait({waiting})
    assert (True, ["done"]) == (waiting.cancelled(), undone)


async def test_work_that_fails_is_not_undone() -> None:
    """There is nothing of it; and it fails where somebody waits."""

    async def work() -> str:
        raise ValueError("broken")

    undone: list[Any] = []
    with pytest.raises(ValueError, match="broken"):
        await uninterrupted(work(), undo=undone.append)
    assert [] == undone


async def cancelled(gate: asyncio.Event, waiting: asyncio.Future[Any]) -> None:
    """Cancel whoever waits for some work, and then let the work go on to its end."""
    await settled()
    waiting.cancel()
    await settled()
    gate.set()
    await asyncio.wait({waiting})
    assert waiting.cancelled()


async def test_work_that_fails_once_nobody_waits_is_not_undone() -> None:
    """Whoever was cancelled gets its cancellation, and not the failure."""
    gate, undone = asyncio.Event(), []

    async def work() -> str:
        await gate.wait()
        raise ValueError("broken")

    async def undo(what: str) -> None:
        undone.append(what)

    await cancelled(gate, asyncio.ensure_future(uninterrupted(work(), undo=undo)))
    assert [] == undone


async def test_work_that_cannot_be_undone_is_done() -> None:
    """Without a way to take it back it stays."""
    gate, done = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append("it")

    await cancelled(gate, asyncio.ensure_future(uninterrupted(work())))
    assert ["it"] == done
