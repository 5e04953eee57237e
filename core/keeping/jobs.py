"""Jobs: generations that are ordered now and carried out by whoever takes them from a queue.

A queue delivers at least once, and a process may die anywhere. So a job's row says how far it has come, and every step
is a change guarded by the row's ETag:

    queued ──► running ──► running, asked ──► succeeded | failed
       └─────► cancelled

*Asked* is written before the model is. A running job whose lease is over has lost its process: one that had asked is
failed, its outcome unknown, for a picture may have been bought; one that had not is carried out by the next who takes
it. Where a job stands is told by its row and the clock alone: nobody has to come by for it to end.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import orjson

from core.keeping.bodies import get_body, put_body
from core.storage.tables import Changed, Exists, Insert, Replace, Row, StoreUnavailable, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.contract.document import Buffer
    from core.storage.blobs import Container, Content
    from core.storage.queues import Queue
    from core.storage.tables import Table, Value

TABLE: Final = "GatewayJobs"
CONTAINER: Final = "gateway-jobs"
QUEUE: Final = "image-jobs"

STARTING: Final = dt.timedelta(seconds=60)
"""How long it may take from being taken to asking the model."""
LIFETIME: Final = dt.timedelta(hours=24)
"""How long a job can be asked for; also how long it may wait in the queue."""
_KEY: Final = "job"
_JSON: Final = "application/json"


class State(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be carried out, and for whom."""

    caller: str
    """The caller's id."""
    is_admin: bool = False
    narrowed_to: frozenset[str] | None = None
    deployment: str
    api_version: str | None = None
    request: bytes
    """The request's body, as it came."""
    event_id: str
    base_url: str = ""
    """Where the gateway serves pictures itself, if it does."""
    hold: Mapping[str, int | str] | None = None
    """What is reserved for it of its key's limits (see Admission.hold)."""
    result: str | None = None
    """The name under which the outcome is put for those who came by a queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands."""

    id: str
    state: State
    order: Order
    created_at: dt.datetime
    ended_at: dt.datetime | None
    status: int | None
    """The status that a call would have been answered with; None while there is none, or where it is unknown."""
    body: Content | bytes | None
    """The answer, or the error's body."""
    announced: bool
    """Whether those who wait for its end have been told."""
    row: Row


class StillRunning(Exception):
    """Another process carries the job out, or has died less than its lease ago: ask again later."""

    def __init__(self, seconds: float) -> None:
        """`seconds` from now it is known which."""
        super().__init__(f"still running; ask again in {seconds:.0f} s")
        self.seconds = seconds


class Jobs:
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

    async def submit(self, order: Order) -> Job:
        """Take an order and put it into the queue. Where the queue is out of reach the job is cancelled."""
        job = await self._inserted(secrets.token_hex(16), order)
        try:
            await self._queue.send(job.id)
        except StoreUnavailable:
            await self.cancel(job.id)  # its message may come all the same, and nobody knows of the job
            raise
        return job

    async def accept(self, job_id: str, order: Order) -> Job:
        """Take an order that came by a queue; one that came before is the same job."""
        try:
            return await self._inserted(job_id, order)
        except Exists:
            found = await self.get(job_id)
            if found is None:
                raise StillRunning(1.0) from None  # its time was just over: the next delivery is a new order
            return found

    async def get(self, job_id: str) -> Job | None:
        """A job as it stands now; None: there is none, or no longer."""
        row = await self._table.get(safe(job_id), _KEY)
        return None if row is None or _time(row, "expires_at") <= self._now() else await self._job(row)

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job that has not begun; False: it has."""
        while (job := await self.get(job_id)) is not None and job.state is State.QUEUED:
            try:
                await self._change(job.row, state=State.CANCELLED, ended_at=self._now())
            except Changed:
                continue
            return True
        return job is not None and job.state is State.CANCELLED

    async def take(self, job_id: str) -> Job | None:
        """Begin to carry a job out: a running one is the taker's, an ended one is still to be announced.

        None: there is nothing to do. Raises StillRunning.
        """
        while (job := await self.get(job_id)) is not None:
            if job.state is State.RUNNING and _time(job.row, "lease_until") > self._now():
                raise StillRunning((_time(job.row, "lease_until") - self._now()).total_seconds())
            if job.state not in {State.QUEUED, State.RUNNING}:
                return None if job.announced else job
            try:
                row = await self._change(job.row, state=State.RUNNING, lease_until=self._now() + STARTING)
            except Changed:
                continue
            return await self._job(row)
        return None

    async def put_back(self, job: Job) -> None:
        """Let somebody else begin, because nothing was asked. Raises Changed: the job is somebody else's by now."""
        await self._change(job.row, state=State.QUEUED)

    async def asking(self, job: Job) -> Job:
        """Write down that the model is about to be asked. Raises Changed: the job is somebody else's by now."""
        return replace(job, row=await self._change(job.row, asked=True, lease_until=self._now() + self._lease))

    async def finish(self, job: Job, *, status: int, body: Sequence[Buffer]) -> Job:
        """Keep what came of it. Raises Changed: the job is somebody else's by now."""
        values = await put_body(
            self._container, "body", body, content_type=_JSON, expires_at=_time(job.row, "expires_at")
        )
        row = await self._change(
            job.row,
            state=State.SUCCEEDED if status // 100 == 2 else State.FAILED,
            status=status,
            ended_at=self._now(),
            **values,
        )
        return await self._job(row)

    async def announced(self, job: Job) -> None:
        """Write down that those who wait have been told. Who was faster has told them, too."""
        row = job.row
        if row.values["state"] == State.RUNNING:  # it was lost, which is known by its lease alone
            row = replace(row, values={**row.values, "state": State.FAILED, "ended_at": _time(row, "lease_until")})
        try:
            await self._change(row, announced=True)
        except Changed:
            return

    async def _inserted(self, job_id: str, order: Order) -> Job:
        now = self._now()
        expires_at = now + LIFETIME
        values: dict[str, Value] = {
            "id": job_id,
            "state": State.QUEUED,
            "order": orjson.dumps(_written(order)).decode(),
            "created_at": now,
            "expires_at": expires_at,
            **await put_body(self._container, "request", [order.request], content_type=_JSON, expires_at=expires_at),
        }
        (row,) = await self._table.change(Insert(row=Row(partition=safe(job_id), key=_KEY, values=values)))
        return await self._job(row)

    async def _change(self, row: Row, **values: Value) -> Row:
        (changed,) = await self._table.change(Replace(row=replace(row, values={**row.values, **values})))
        return changed

    async def _job(self, row: Row) -> Job:
        values = row.values
        state = State(str(values["state"]))
        ended_at = _time(row, "ended_at") if "ended_at" in values else None
        if state is State.RUNNING and values.get("asked") is True and _time(row, "lease_until") <= self._now():
            state, ended_at = State.FAILED, _time(row, "lease_until")
        status = values.get("status")
        return Job(
            id=str(values["id"]),
            state=state,
            order=_read(orjson.loads(str(values["order"])), await self._request(row)),
            created_at=_time(row, "created_at"),
            ended_at=ended_at,
            status=status if isinstance(status, int) else None,
            body=await get_body(self._container, "body", values),
            announced=values.get("announced") is True,
            row=row,
        )

    async def _request(self, row: Row) -> bytes:
        body = await get_body(self._container, "request", row.values)
        if isinstance(body, bytes):
            return body
        return b"" if body is None else b"".join([bytes(piece) async for piece in body.pieces()])


def _written(order: Order) -> Mapping[str, object]:
    return {
        "caller": order.caller,
        "is_admin": order.is_admin,
        "narrowed_to": None if order.narrowed_to is None else sorted(order.narrowed_to),
        "deployment": order.deployment,
        "api_version": order.api_version,
        "event_id": order.event_id,
        "base_url": order.base_url,
        "hold": order.hold,
        "result": order.result,
    }


def _read(written: dict[str, object], request: bytes) -> Order:
    narrowed = written.pop("narrowed_to")
    narrowed_to = frozenset(narrowed) if isinstance(narrowed, list) else None
    return Order(**written, narrowed_to=narrowed_to, request=request)  # type: ignore[arg-type]  # as `_written`


def _time(row: Row, name: str) -> dt.datetime:
    value = row.values[name]
    if isinstance(value, dt.datetime):
        return value
    raise AssertionError(f"{name} was written as a time")
