"""A process that is slow, not dead: what it does too late counts for nothing."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from core.jobs.job import JobRequest, JobState
from core.jobs.store import STARTING, JobStore
from core.storage.memory import MemoryBlobs, MemoryQueues
from core.storage.tables import Changed
from tests.fakes import Clock

if TYPE_CHECKING:
    from core.storage.tables import Tables

ORDER = JobRequest(caller="team-a", deployment="gpt-image-2", request=b'{"prompt":"a fox"}', event_id="e1")


async def test_a_job_whose_taker_says_nothing_can_be_cancelled_and_is_then_not_drawn(tables: Tables) -> None:
    """Its lease is over and the model was not asked: it waits again, and whoever took it may not ask any more."""
    clock = Clock()
    jobs = JobStore(
        tables.table("GatewayJobs"),
        MemoryBlobs(lambda: _time(clock)).container("gateway-jobs"),
        MemoryQueues(clock.wait).queue("image-jobs"),
        now=lambda: _time(clock),
        lease=dt.timedelta(minutes=16),
    )
    slow = await jobs.take((await jobs.submit(ORDER)).id)
    assert slow is not None
    clock.pass_by(STARTING.total_seconds() - 1)
    assert not await jobs.cancel(slow.id)
    clock.pass_by(1)
    waiting = await jobs.get(slow.id)
    assert waiting is not None
    assert JobState.QUEUED is waiting.state
    assert await jobs.cancel(slow.id)
    with pytest.raises(Changed):
        await jobs.asking(slow, None)


def _time(clock: Clock) -> dt.datetime:
    return dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC) + dt.timedelta(seconds=clock())
