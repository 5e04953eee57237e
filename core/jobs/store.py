"""Jobs: generations that are ordered now and carried out by whoever takes them from a queue.

A queue delivers at least once, and a process may die anywhere. So a job's row says how far it has come, and every step
is a change guarded by the row's ETag:

    queued ──► running ──► running, asked ──► succeeded | failed
       └─────► cancelled

*Asked* is written before the model is. A running job whose lease is over has lost its process: one that had asked is
failed, its outcome unknown, for a picture may have been bought; one that had not is carried out by the next who takes
it, as long as it was not begun too often. Where a job stands is told by its row and the clock alone: nobody has to
come by for it to end.

Whoever takes a job puts its own mark on the row. A step whose answer was lost can be made once more: a row that has
changed meanwhile and still has that mark was changed by that very step.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING, Final

import orjson
from msgspec.structs import replace

from core.errors_http import error_body
from core.jobs.job import ID, Job, JobRequest, JobState, StillRunning, read, written
from core.jobs.lost_job import fate
from core.storage.stored_body import get_body, put_body, whole
from core.storage.tables import Changed, Exists, Insert, Replace, Row, StoreUnavailable, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.domain.errors import GatewayError
    from core.domain.image_json import Buffer
    from core.storage.blobs import Container
    from core.storage.queues import Queue
    from core.storage.tables import Table, Value

TABLE: Final = "GatewayJobs"
CONTAINER: Final = "gateway-jobs"
QUEUE: Final = "image-jobs"

STARTING: Final = dt.timedelta(seconds=60)
"""How long it may take from being taken to asking the model."""
MAX_TRIES: Final = 5
"""How often a job is begun: as often as the Functions host delivers a message (host.json, queues.maxDequeueCount)."""
LIFETIME: Final = dt.timedelta(hours=24)
"""How long a job can be asked for: while it waits, and again from its end."""
_KEY: Final = "job"
_JSON: Final = "application/json"
_NOBODY: Final = ""


class JobStore:
    """Takes orders, and keeps how far they have come. Every method raises StoreUnavailable."""

    def __init__(
        self, table: Table, container: Container, queue: Queue, *, now: Callable[[], dt.datetime], lease: dt.timedelta
    ) -> None:
        """`lease` is how long carrying out may take at most, once the model is asked."""
        self._table = table
        self._container = container
        self._queue = queue
        self._now = now
        self._lease = lease

    async def submit(self, order: JobRequest) -> Job:
        """Take an order and put it into the queue.

        Where it raises StoreUnavailable with `perhaps_done`, the job may be carried out all the same.
        """
        try:
            job = await self._inserted(secrets.token_hex(16), order)
        except StoreUnavailable as failure:  # with no message it is nothing, even if it is there
            raise StoreUnavailable(str(failure), perhaps_done=False) from None
        try:
            await self._queue.send(job.id)
        except StoreUnavailable as failure:
            if not failure.perhaps_done:
                raise
            return await self._withdrawn(job, failure)
        return job

    async def _withdrawn(self, job: Job, failure: StoreUnavailable) -> Job:
        """Cancel a job whose message may have been sent; where it has begun, it was."""
        try:
            is_cancelled = await self.cancel(job.id)
        except StoreUnavailable:
            raise failure from None
        if is_cancelled:
            raise StoreUnavailable(str(failure), perhaps_done=False) from None
        return job

    async def accept(self, job_id: str, order: JobRequest, *, refused: GatewayError | None = None) -> Job:
        """Take an order that came by a queue; one that came before under this id is the same job.

        `refused`: it is not to be carried out, and this is why.
        """
        try:
            return await self._inserted(job_id, order, refused=refused)
        except Exists:
            row = await self._table.get(safe(job_id), _KEY)
        if row is not None and _time(row, "expires_at") > self._now():
            return await self._job(row)
        return await self._inserted(job_id, order, refused=refused, in_place_of=row)

    async def get(self, job_id: str) -> Job | None:
        """A job as it stands now; None: there is none, or no longer."""
        row = await self._table.get(safe(job_id), _KEY) if ID.fullmatch(job_id) else None
        return None if row is None or _time(row, "expires_at") <= self._now() else await self._job(row)

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job that has not begun; False: it has, or there is none."""
        while (job := await self.get(job_id)) is not None and job.state is JobState.QUEUED:
            try:
                await self._change(job.row, state=JobState.CANCELLED, holder=_NOBODY, **self._ending())
            except Changed:
                continue
            return True
        return job is not None and job.state is JobState.CANCELLED

    async def take(self, job_id: str) -> Job | None:
        """Begin to carry a job out: a running one is the taker's, an ended one is still to be announced.

        None: there is nothing to do. Raises StillRunning.
        """
        while (job := await self.get(job_id)) is not None:
            if job.has_ended:
                return None if job.announced else job
            if job.state is JobState.RUNNING and _time(job.row, "lease_until") > self._now():
                raise StillRunning((_time(job.row, "lease_until") - self._now()).total_seconds())
            try:
                row = await self._change(
                    job.row,
                    state=JobState.RUNNING,
                    holder=secrets.token_hex(8),
                    tries=job.tries + 1,
                    lease_until=self._now() + STARTING,
                )
            except Changed:
                continue
            return await self._job(row)
        return None

    async def put_back(self, job: Job) -> None:
        """Let somebody else begin, because nothing was asked. Raises Changed: the job is somebody else's by now."""
        await self._step(job, state=JobState.QUEUED, asked=False, holder=_NOBODY, order=written(job.order))

    async def asking(self, job: Job, hold: Mapping[str, int | str] | None) -> Job:
        """Write down that the model is about to be asked, and what is reserved for that.

        Raises Changed: the job is somebody else's by now.
        """
        order = replace(job.order, hold=hold)
        row = await self._step(job, asked=True, order=written(order), lease_until=self._now() + self._lease)
        return replace(job, asked=True, order=order, row=row)

    async def finish(self, job: Job, *, status: int, body: Sequence[Buffer]) -> Job:
        """Keep what came of it. Raises Changed: the job is somebody else's by now."""
        ending = self._ending()
        values = await put_body(self._container, "body", body, content_type=_JSON, expires_at=ending["expires_at"])
        state = JobState.SUCCEEDED if status // 100 == 2 else JobState.FAILED
        return await self._job(await self._step(job, state=state, status=status, **ending, **values))

    async def given_up(self, job: Job) -> Job:
        """Write down that a job has failed because nobody carries it out. Raises Changed: somebody else has."""
        values: dict[str, Value] = {
            "state": JobState.FAILED,
            "holder": _NOBODY,
            "ended_at": job.ended_at or self._now(),
        }
        if job.status is not None and isinstance(job.body, bytes):
            values |= {"status": job.status, "body": job.body}
        return await self._job(await self._change(job.row, **values))

    async def announced(self, job: Job) -> None:
        """Write down that those who wait have been told. Who was faster has told them, too."""
        try:
            await self._change(job.row, announced=True)
        except Changed:
            return

    async def _inserted(
        self, job_id: str, order: JobRequest, *, refused: GatewayError | None = None, in_place_of: Row | None = None
    ) -> Job:
        now = self._now()
        expires_at = now + LIFETIME
        values: dict[str, Value] = {
            "id": job_id,
            "state": JobState.QUEUED,
            "order": written(order),
            "created_at": now,
            "expires_at": expires_at,
            **await put_body(self._container, "request", [order.request], content_type=_JSON, expires_at=expires_at),
        }
        if refused is not None:
            values |= {
                "state": JobState.FAILED,
                "status": refused.status,
                "ended_at": now,
                "body": _told(refused, order),
            }
        row = Row(partition=safe(job_id), key=_KEY, values=values)
        change = Insert(row=row) if in_place_of is None else Replace(row=replace(row, etag=in_place_of.etag))
        (row,) = await self._table.change(change)
        return await self._job(row)

    async def _step(self, job: Job, **values: Value) -> Row:
        """Change the row of a job that its taker holds."""
        row = job.row
        while True:
            try:
                return await self._change(row, **values)
            except Changed:
                found = await self._table.get(row.partition, row.key)
                if found is None or found.etag == row.etag or found.values.get("holder") != job.row.values["holder"]:
                    raise
                row = found  # changed by a step of ours whose answer was lost

    async def _change(self, row: Row, **values: Value) -> Row:
        (changed,) = await self._table.change(Replace(row=replace(row, values={**row.values, **values})))
        return changed

    def _ending(self) -> dict[str, dt.datetime]:
        now = self._now()
        return {"ended_at": now, "expires_at": now + LIFETIME}

    async def _job(self, row: Row) -> Job:
        values = row.values
        tries = values.get("tries")
        job = Job(
            id=str(values["id"]),
            state=JobState(str(values["state"])),
            order=read(str(values["order"]), await self._request(row)),
            created_at=_time(row, "created_at"),
            ended_at=_time(row, "ended_at") if "ended_at" in values else None,
            status=int(str(values["status"])) if "status" in values else None,
            body=await get_body(self._container, "body", values),
            asked=values.get("asked") is True,
            tries=tries if isinstance(tries, int) else 0,
            abandoned=False,
            announced=values.get("announced") is True,
            row=row,
        )
        is_told = job.body is not None or job.state in {JobState.QUEUED, JobState.CANCELLED}
        return job if is_told else self._abandoned(job)

    def _abandoned(self, job: Job) -> Job:
        """A job without an outcome as it stands by the clock: running, queued again, or failed for want of anybody."""
        if job.state is JobState.RUNNING:
            if _time(job.row, "lease_until") > self._now():
                return job
            if not job.asked and job.tries < MAX_TRIES:
                return replace(job, state=JobState.QUEUED)  # nothing has begun: it waits for the next delivery
            job = replace(job, abandoned=True, ended_at=_time(job.row, "lease_until"))
        error = fate(asked=job.asked)
        return replace(job, state=JobState.FAILED, status=error.status, body=_told(error, job.order))

    async def _request(self, row: Row) -> bytes:
        body = await get_body(self._container, "request", row.values)
        return b"" if body is None else await whole(body)


def _told(error: GatewayError, order: JobRequest) -> bytes:
    return orjson.dumps(error_body(error, event_id=order.event_id, model_requested=None, stream=False))


def _time(row: Row, name: str) -> dt.datetime:
    value = row.values[name]
    if isinstance(value, dt.datetime):
        return value
    raise AssertionError(f"{name} was written as a time")
