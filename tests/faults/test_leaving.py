"""Callers that leave: nothing of theirs stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from tests.house import House, house
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from emulator.calls import Calls

LEAVINGS = 200
MOST_BYTES_LEFT = 2000
"""What one leaving may leave in memory, the emulator's own record of the call included."""

NAMES = ("gpt-image-1--fault-hang", "gpt-image-1--fault-stream-hang-after-1")
CATALOGUE = {"deployments": {name: {"family": "gpt-image-1"} for name in NAMES}}


async def _leave(running: House, name: str, *, stream: bool) -> None:
    """Begin a call and leave as soon as upstream has got it."""
    before = len(running.calls.to(name))
    call = asyncio.create_task(running.draw(name, stream=stream, partial_images=1))
    await running.calls.until(lambda calls: len(calls.to(name)) > before)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call


def _all_left(calls: Calls) -> bool:
    return calls.open_now == 0


def _lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The lines of calls in the log."""
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.calls"]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("name", NAMES, ids=["before-an-answer", "in-the-middle"])
async def test_a_caller_that_leaves_frees_upstream(name: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    """As soon as a caller leaves, upstream is free, and one line in the log says that it left."""
    caplog.set_level("INFO", "gateway.calls")
    async with house(GATEWAY_CATALOGUE=CATALOGUE) as running:
        await _leave(running, name, stream=stream)
        async with asyncio.timeout(HANGS_SECONDS):
            await running.calls.until(_all_left)
            while not _lines(caplog):  # noqa: ASYNC110 -- logging has no event to wait for
                await asyncio.sleep(0)
        assert ["left"] == [call.state for call in running.calls.to(name)]
        (line,) = _lines(caplog)
        assert ("left", 1, True) == (line["outcome"], line["attempts"], line["perhaps_billed"])


@pytest.mark.slow
async def test_many_leavings_leave_nothing() -> None:
    """Two hundred callers that leave, one by one, leave no task, no connection and no memory behind."""
    async with house(GATEWAY_CATALOGUE=CATALOGUE) as running:

        async def leave(count: int) -> None:
            for number in range(count):
                await _leave(running, NAMES[number % 2], stream=number % 4 < 2)
            await running.calls.until(_all_left)
            while len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110 -- nor has the end of a task of somebody else
                await asyncio.sleep(0)

        answer = await running.draw("gpt-image-1--fault-hang", n=99)  # warm: everything is imported
        assert answer.status_code == 400
        tasks = len(asyncio.all_tasks())
        await leave(20)
        tracemalloc.start()
        try:
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            await leave(LEAVINGS)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert {"left"} == {call.state for call in running.calls}
        assert (after - before) / LEAVINGS < MOST_BYTES_LEFT + _kept_by_the_emulator(running.calls)


def _kept_by_the_emulator(calls: Calls) -> float:
    """About what the emulator's record of a call takes."""
    return sum(len(repr(call)) for call in calls) / max(1, len(calls)) * 4
