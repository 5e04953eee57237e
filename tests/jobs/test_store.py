"""Jobs: how far each has come, whoever carries it out and wherever that one dies."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import orjson
import pytest

from core.domain.errors import InvalidRequest
from core.jobs.job import Job, JobRequest, JobState, StillRunning
from core.jobs.store import LIFETIME, MAX_TRIES, STARTING, JobStore
from core.storage.memory import MemoryBlobs
from core.storage.stored_body import whole
from core.storage.tables import Changed, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.storage.tables import Tables

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LEASE = dt.timedelta(minutes=16)
LETTER = f"letter-{'0' * 32}"
ORDER = JobRequest(caller="team-a", deployment="gpt-image-2", request=b'{"prompt":"a fox"}', event_id="e1")


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


class Letters:
    """A queue that keeps what was sent, and fails as it is told."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failing: list[StoreUnavailable] = []
        self.delivered: Callable[[str], Awaitable[None]] | None = None
        """What happens before the queue answers."""

    async def send(self, text: str, *, delay_seconds: float = 0.0) -> None:
        """Keep a message; where the queue fails it may have come all the same."""
        assert delay_seconds == 0
        self.sent.append(text)
        if self.delivered is not None:
            await self.delivered(text)
        if self.failing:
            raise self.failing.pop()


class Works:
    """Two instances of the gateway over one store."""

    def __init__(self, tables: Tables) -> None:
        self.clock = Clock()
        self.queue = Letters()
        self._container = MemoryBlobs(self.clock).container("gateway-jobs")
        self._table = tables.table("GatewayJobs")
        self.one, self.other = self._instance(), self._instance()

    def _instance(self) -> JobStore:
        return JobStore(self._table, self._container, self.queue, now=self.clock, lease=LEASE)

    async def state(self, job: Job) -> JobState | None:
        """Where a job stands, asked of the other instance."""
        found = await self.other.get(job.id)
        return None if found is None else found.state


@pytest.fixture
def works(tables: Tables) -> Works:
    """Nothing has been ordered."""
    return Works(tables)


async def taken(jobs: JobStore, job: Job) -> Job:
    """Begin to carry a job out."""
    found = await jobs.take(job.id)
    assert found is not None
    return found


def code(job: Job) -> str:
    """The code of the error that a job has ended with."""
    assert isinstance(job.body, bytes)
    return str(orjson.loads(job.body)["error"]["code"])


@pytest.mark.parametrize("size", [20, 200_000])
async def test_an_order_is_kept_whole_and_its_message_names_the_job_and_nothing_more(works: Works, size: int) -> None:
    """A request may be too large for a message, and a prompt is nobody's business there."""
    order = JobRequest(
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
    assert (JobState.QUEUED, order, NOW) == (found.state, found.order, found.created_at)


@pytest.mark.parametrize(
    ("status", "state"), [(200, JobState.SUCCEEDED), (400, JobState.FAILED), (502, JobState.FAILED)]
)
async def test_a_job_goes_its_way_to_the_end(works: Works, status: int, state: JobState) -> None:
    """Queued, running, and then what came of it, kept with its body."""
    job = await works.one.submit(ORDER)
    running = await works.one.asking(await taken(works.one, job), None)
    assert await works.state(job) is JobState.RUNNING
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
        await works.one.asking(dead, None)


async def test_a_process_that_dies_after_it_asked_leaves_a_job_that_failed_and_is_not_drawn_again(works: Works) -> None:
    """Nobody has to come by for that: the job is failed when its lease is over."""
    job = await works.one.submit(ORDER)
    dead = await works.one.asking(await taken(works.one, job), None)
    works.clock.now += LEASE - dt.timedelta(microseconds=1)
    assert await works.state(job) is JobState.RUNNING
    works.clock.now += dt.timedelta(microseconds=1)
    assert await works.state(job) is JobState.FAILED
    lost = await taken(works.other, job)
    assert (JobState.FAILED, 409, True, "outcome_unknown") == (lost.state, lost.status, lost.abandoned, code(lost))
    works.clock.now += dt.timedelta(minutes=1)
    lost = await works.other.given_up(lost)
    assert (JobState.FAILED, 409, False, "outcome_unknown") == (lost.state, lost.status, lost.abandoned, code(lost))
    assert NOW + LEASE == lost.ended_at
    await works.other.announced(lost)
    assert await works.other.take(job.id) is None
    with pytest.raises(Changed):
        await works.one.finish(dead, status=200, body=[b"{}"])


async def test_the_end_of_a_job_is_announced_also_by_whoever_comes_after_a_death(works: Works) -> None:
    """A process may die between keeping the outcome and telling of it."""
    job = await works.one.submit(ORDER)
    ended = await works.one.finish(await taken(works.one, job), status=200, body=[b"{}"])
    again = await taken(works.other, job)
    assert (JobState.SUCCEEDED, False) == (again.state, again.announced)
    await works.other.announced(again)
    await works.one.announced(ended)
    assert await works.one.take(job.id) is None


async def test_a_job_that_has_not_begun_can_be_cancelled(works: Works) -> None:
    """Again and again; and it is not carried out."""
    job = await works.one.submit(ORDER)
    assert await works.one.cancel(job.id)
    assert await works.other.cancel(job.id)
    assert await works.state(job) is JobState.CANCELLED
    cancelled = await taken(works.other, job)
    assert JobState.CANCELLED is cancelled.state


async def test_a_job_that_has_begun_is_not_cancelled(works: Works) -> None:
    """It may have been paid for."""
    job = await works.one.submit(ORDER)
    await taken(works.one, job)
    assert not await works.other.cancel(job.id)
    assert not await works.other.cancel("no such job")


@pytest.mark.parametrize("perhaps_sent", [False, True])
async def test_an_order_that_cannot_be_queued_is_not_carried_out(works: Works, perhaps_sent: bool) -> None:
    """Its message may come all the same: then it is cancelled, and who ordered it can order again."""
    works.queue.failing = [StoreUnavailable("no answer", perhaps_done=perhaps_sent)]
    with pytest.raises(StoreUnavailable) as failure:
        await works.one.submit(ORDER)
    assert not failure.value.perhaps_done
    job = await works.other.get(works.queue.sent[0])
    assert job is not None
    assert (JobState.CANCELLED if perhaps_sent else JobState.QUEUED) is job.state


async def test_an_order_whose_message_came_though_nobody_said_so_is_taken(works: Works) -> None:
    """It has begun: it is a job like any other."""

    async def begin(text: str) -> None:
        await works.other.take(text)

    works.queue.failing = [StoreUnavailable("no answer", perhaps_done=True)]
    works.queue.delivered = begin
    job = await works.one.submit(ORDER)
    assert await works.state(job) is JobState.RUNNING


async def test_the_same_id_twice_is_one_job(works: Works) -> None:
    """The first order counts, also before one that is refused."""
    first = await works.one.accept(LETTER, ORDER)
    other = JobRequest(caller="x", deployment="y", request=b"", event_id="e2")
    second = await works.other.accept(LETTER, other)
    third = await works.other.accept(LETTER, other, refused=InvalidRequest("no"))
    assert (first.id, ORDER, ORDER) == (second.id, second.order, third.order)
    assert [] == works.queue.sent


async def test_the_same_id_after_a_day_is_another_job(works: Works) -> None:
    """The first is forgotten, though its row is still there."""
    await works.one.accept(LETTER, ORDER)
    works.clock.now += LIFETIME
    other = JobRequest(caller="x", deployment="y", request=b"", event_id="e2")
    second = await works.other.accept(LETTER, other)
    assert (other, JobState.QUEUED) == (second.order, second.state)
    assert "y" == (await taken(works.one, second)).order.deployment


async def test_an_order_that_is_refused_has_failed_from_its_beginning(works: Works) -> None:
    """It is not carried out, but announced."""
    job = await works.one.accept(LETTER, ORDER, refused=InvalidRequest("no", code="invalid_json"))
    found = await taken(works.other, job)
    assert (JobState.FAILED, 400, "invalid_json", False) == (found.state, found.status, code(found), found.announced)


async def test_a_job_that_is_begun_in_vain_five_times_has_failed(works: Works) -> None:
    """Each time its process dies before it asks; when the last lease is over it has failed, and nothing was bought."""
    job = await works.one.submit(ORDER)
    for number in range(1, MAX_TRIES + 1):
        assert number == (await taken(works.one, job)).tries
        assert await works.state(job) is JobState.RUNNING
        works.clock.now += STARTING
    failed = await taken(works.other, job)
    assert (JobState.FAILED, 500, "job_abandoned") == (failed.state, failed.status, code(failed))


async def test_a_job_that_nobody_could_begin_has_failed_when_it_is_given_up(works: Works) -> None:
    """Its message came too often; until then it stood as it was."""
    job = await works.one.submit(ORDER)
    works.clock.now += dt.timedelta(minutes=5)
    failed = await works.other.given_up(job)
    assert (JobState.FAILED, works.clock.now) == (failed.state, failed.ended_at)
    assert (500, "job_abandoned") == (failed.status, code(failed))


async def test_a_job_that_is_put_back_can_be_taken_at_once(works: Works) -> None:
    """By anybody; what was written down of asking is undone."""
    job = await works.one.submit(ORDER)
    first = await taken(works.one, job)
    await works.one.asking(first, {"id": "r1", "at": 1})
    await works.one.put_back(first)  # it was never told that asking was written down
    second = await taken(works.other, job)
    assert (False, 2, None) == (second.asked, second.tries, second.order.hold)
    with pytest.raises(Changed):
        await works.one.put_back(first)


async def test_a_step_whose_answer_was_lost_can_be_made_again(works: Works) -> None:
    """The row still has the mark of who took it, so nobody else can have changed it."""
    job = await works.one.submit(ORDER)
    running = await taken(works.one, job)
    await works.one.asking(running, None)
    asked = await works.one.asking(running, None)
    await works.one.finish(asked, status=200, body=[b"{}"])
    again = await works.one.finish(asked, status=200, body=[b"{}"])
    assert JobState.SUCCEEDED is again.state


async def test_what_is_no_id_is_no_job(works: Works) -> None:
    """Anybody can ask for anything."""
    for odd in ("", "x", "../x", "A" * 32, "a" * 5000, "letter-", "\x00"):
        assert await works.one.get(odd) is None
        assert await works.one.take(odd) is None
        assert not await works.one.cancel(odd)


async def test_an_outcome_is_kept_for_a_day_from_its_end(works: Works) -> None:
    """However long the job waited."""
    job = await works.one.submit(ORDER)
    works.clock.now += dt.timedelta(hours=23)
    await works.one.finish(await taken(works.one, job), status=200, body=[b"{}"])
    works.clock.now += LIFETIME - dt.timedelta(microseconds=1)
    assert await works.state(job) is JobState.SUCCEEDED
    works.clock.now += dt.timedelta(microseconds=1)
    assert await works.state(job) is None


async def test_a_job_is_forgotten_after_a_day(works: Works) -> None:
    """From then on there is no such job, ended or not."""
    job = await works.one.submit(ORDER)
    works.clock.now += LIFETIME - dt.timedelta(microseconds=1)
    assert await works.state(job) is JobState.QUEUED
    works.clock.now += dt.timedelta(microseconds=1)
    assert await works.state(job) is None
    assert await works.one.take(job.id) is None


async def test_who_was_too_slow_to_begin_does_not_ask_for_a_job_that_was_cancelled_meanwhile(works: Works) -> None:
    """Its lease was over, so it counted as not begun."""
    job = await works.one.submit(ORDER)
    slow = await taken(works.one, job)
    works.clock.now += STARTING
    assert await works.other.cancel(job.id)
    with pytest.raises(Changed):
        await works.one.asking(slow, None)
    assert await works.state(job) is JobState.CANCELLED
