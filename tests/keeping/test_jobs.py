"""Jobs: how far each has come, whoever carries it out and wherever that one dies."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import pytest

from core.keeping.bodies import whole
from core.keeping.jobs import LIFETIME, STARTING, Job, Jobs, Order, State, StillRunning
from core.storage.memory_blobs import MemoryBlobs
from core.storage.tables import Changed, StoreUnavailable

if TYPE_CHECKING:
    from core.storage.tables import Tables

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LEASE = dt.timedelta(minutes=16)
ORDER = Order(caller="team-a", deployment="gpt-image-2", request=b'{"prompt":"a fox"}', event_id="e1")


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


class Letters:
    """A queue that keeps what was sent, or is out of reach."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.is_down = False

    async def send(self, text: str) -> None:
        """Keep a message; where the queue is down it may have come all the same."""
        self.sent.append(text)
        if self.is_down:
            raise StoreUnavailable("no answer", perhaps_done=True)


class Works:
    """Two instances of the gateway over one store."""

    def __init__(self, tables: Tables) -> None:
        self.clock = Clock()
        self.queue = Letters()
        self._container = MemoryBlobs(self.clock).container("gateway-jobs")
        self._table = tables.table("GatewayJobs")
        self.one, self.other = self._instance(), self._instance()

    def _instance(self) -> Jobs:
        return Jobs(self._table, self._container, self.queue, now=self.clock, lease=LEASE)

    async def state(self, job: Job) -> State | None:
        """Where a job stands, asked of the other instance."""
        found = await self.other.get(job.id)
        return None if found is None else found.state


@pytest.fixture
def works(tables: Tables) -> Works:
    """Nothing has been ordered."""
    return Works(tables)


async def taken(jobs: Jobs, job: Job) -> Job:
    """Begin to carry a job out."""
    found = await jobs.take(job.id)
    assert found is not None
    return found


@pytest.mark.parametrize("size", [20, 200_000])
async def test_an_order_is_kept_whole_and_its_message_names_the_job_and_nothing_more(works: Works, size: int) -> None:
    """A request may be too large for a message, and a prompt is nobody's business there."""
    order = Order(
        caller="boss",
        is_admin=True,
        narrowed_to=frozenset({"b", "a"}),
        deployment="gpt-image-2",
        api_version="2025-04-01-preview",
        request=b"x" * size,
        event_id="e1",
        base_url="http://127.0.0.1:7071",
        result="r1",
    )
    job = await works.one.submit(order)
    assert [job.id] == works.queue.sent
    found = await works.other.get(job.id)
    assert found is not None
    assert (State.QUEUED, order, NOW) == (found.state, found.order, found.created_at)


@pytest.mark.parametrize(("status", "state"), [(200, State.SUCCEEDED), (400, State.FAILED), (502, State.FAILED)])
async def test_a_job_goes_its_way_to_the_end(works: Works, status: int, state: State) -> None:
    """Queued, running, and then what came of it, kept with its body."""
    job = await works.one.submit(ORDER)
    running = await works.one.asking(await taken(works.one, job))
    assert await works.state(job) is State.RUNNING
    works.clock.now += dt.timedelta(minutes=5)
    await works.one.finish(running, status=status, body=[b'{"a":', b"1}"])
    found = await works.other.get(job.id)
    assert found is not None
    assert found.body is not None
    assert (state, status, b'{"a":1}') == (found.state, found.status, await whole(found.body))
    assert works.clock.now == found.ended_at


async def test_of_many_who_take_a_job_one_gets_it(works: Works) -> None:
    """A message may be delivered twice at once."""
    job = await works.one.submit(ORDER)
    ends = await asyncio.gather(*(each.take(job.id) for each in [works.one, works.other] * 5), return_exceptions=True)
    assert [1, 9] == [sum(isinstance(end, kind) for end in ends) for kind in (Job, StillRunning)]


async def test_a_process_that_dies_before_it_asks_has_bought_nothing(works: Works) -> None:
    """Within a minute nobody can tell; then the next one carries the job out."""
    job = await works.one.submit(ORDER)
    dead = await taken(works.one, job)
    works.clock.now += STARTING - dt.timedelta(microseconds=1)
    with pytest.raises(StillRunning):
        await works.other.take(job.id)
    works.clock.now = NOW + STARTING
    assert await taken(works.other, job)
    with pytest.raises(Changed):
        await works.one.asking(dead)


async def test_a_process_that_dies_after_it_asked_leaves_a_job_that_failed_and_is_not_drawn_again(works: Works) -> None:
    """Nobody has to come by for that: the job is failed when its lease is over."""
    job = await works.one.submit(ORDER)
    dead = await works.one.asking(await taken(works.one, job))
    works.clock.now += LEASE - dt.timedelta(microseconds=1)
    assert await works.state(job) is State.RUNNING
    works.clock.now += dt.timedelta(microseconds=1)
    assert await works.state(job) is State.FAILED
    lost = await taken(works.other, job)
    assert (State.FAILED, None, None) == (lost.state, lost.status, lost.body)
    await works.other.announced(lost)
    assert await works.other.take(job.id) is None
    with pytest.raises(Changed):
        await works.one.finish(dead, status=200, body=[b"{}"])


async def test_the_end_of_a_job_is_announced_also_by_whoever_comes_after_a_death(works: Works) -> None:
    """A process may die between keeping the outcome and telling of it."""
    job = await works.one.submit(ORDER)
    ended = await works.one.finish(await taken(works.one, job), status=200, body=[b"{}"])
    again = await taken(works.other, job)
    assert (State.SUCCEEDED, False) == (again.state, again.announced)
    await works.other.announced(again)
    await works.one.announced(ended)
    assert await works.one.take(job.id) is None


async def test_a_job_that_has_not_begun_can_be_cancelled(works: Works) -> None:
    """Again and again; and it is not carried out."""
    job = await works.one.submit(ORDER)
    assert await works.one.cancel(job.id)
    assert await works.other.cancel(job.id)
    assert await works.state(job) is State.CANCELLED
    cancelled = await taken(works.other, job)
    assert State.CANCELLED is cancelled.state


async def test_a_job_that_has_begun_is_not_cancelled(works: Works) -> None:
    """It may have been paid for."""
    job = await works.one.submit(ORDER)
    await taken(works.one, job)
    assert not await works.other.cancel(job.id)
    assert not await works.other.cancel("no such job")


async def test_an_order_that_cannot_be_queued_is_cancelled(works: Works) -> None:
    """Its message may come all the same, and who ordered it was told that it failed."""
    works.queue.is_down = True
    with pytest.raises(StoreUnavailable):
        await works.one.submit(ORDER)
    cancelled = await works.other.get(works.queue.sent[0])
    assert cancelled is not None
    assert cancelled.state is State.CANCELLED


async def test_the_same_id_twice_is_one_job(works: Works) -> None:
    """The first order counts."""
    first = await works.one.accept("evt-1", ORDER)
    second = await works.other.accept("evt-1", Order(caller="x", deployment="y", request=b"", event_id="e2"))
    assert (first.id, ORDER) == (second.id, second.order)
    assert [] == works.queue.sent


async def test_a_job_is_forgotten_after_a_day(works: Works) -> None:
    """From then on there is no such job, ended or not."""
    job = await works.one.submit(ORDER)
    works.clock.now += LIFETIME - dt.timedelta(microseconds=1)
    assert await works.state(job) is State.QUEUED
    works.clock.now += dt.timedelta(microseconds=1)
    assert await works.state(job) is None
    assert await works.one.take(job.id) is None
