"""Jobs as callers see them: ordered with `Prefer: respond-async`, looked at, cancelled (RFC 7240 §4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from core.access.credentials import credential_of
from core.announcing import outcome_of
from core.contract.errors import Conflict, GatewayError, NotFound, RecordsUnavailable, error_body
from core.contract.reply import JSON, Reply, json_reply
from core.governance.costs import NOTHING
from core.governance.governor import Admission
from core.keeping.jobs import Order, State
from core.storage.tables import StoreUnavailable
from core.workshop import QUEUE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.access.authenticator import Authenticator
    from core.access.caller import Caller
    from core.bookkeeping import Books
    from core.governance.governor import Governor
    from core.keeping.jobs import Job, Jobs

PREFER: Final = "respond-async"
REQUEST_TYPE: Final = "image_generation_job"
LOOK_AGAIN_SECONDS: Final = 10
"""When to look again at a job that has not ended: a picture takes 10 to 400 s."""


def prefers_job(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether a caller would rather have a job than wait."""
    preferences = ",".join(value for name, value in headers if name == "prefer").split(",")
    return PREFER in {preference.partition(";")[0].strip().lower() for preference in preferences}


class Orders:
    """Takes orders from callers, and tells them how they stand."""

    def __init__(self, jobs: Jobs, authenticator: Authenticator, governor: Governor, *, job_seconds: float) -> None:
        """`job_seconds` is how long a job may take once it has begun."""
        self._jobs = jobs
        self._authenticator = authenticator
        self._governor = governor
        self._seconds = job_seconds

    async def submit(
        self,
        caller: Caller,
        books: Books,
        *,
        deployment: str,
        api_version: str | None,
        body: bytes,
        base_url: str,
        event_id: str,
    ) -> Reply:
        """Take an order whose request has been checked. Raises what `Books.admit` raises, or RecordsUnavailable."""
        await books.admit(overrun_seconds=self._seconds + QUEUE_SECONDS)
        order = Order(
            caller=caller.id,
            is_admin=caller.is_admin,
            narrowed_to=caller.narrowed_to,
            deployment=deployment,
            api_version=api_version,
            request=body,
            event_id=event_id,
            base_url=base_url,
            hold=books.hold,
        )
        try:
            job = await self._jobs.submit(order)
        except StoreUnavailable as error:
            raise RecordsUnavailable(perhaps_done=error.perhaps_done) from None
        books.hand_over()
        return json_reply(
            202,
            _shown(job),
            {
                "location": f"/jobs/{job.id}",
                "preference-applied": PREFER,
                "retry-after": str(LOOK_AGAIN_SECONDS),
            },
        )

    async def show(self, job_id: str, headers: Sequence[tuple[str, str]], event_id: str) -> Reply:
        """Answer `GET /jobs/{id}`."""
        try:
            job = await self._found(job_id, headers)
            return await _answer(job)
        except GatewayError as error:
            return refused(error, event_id)
        except StoreUnavailable as error:
            return refused(RecordsUnavailable(perhaps_done=error.perhaps_done), event_id)

    async def cancel(self, job_id: str, headers: Sequence[tuple[str, str]], event_id: str) -> Reply:
        """Answer `DELETE /jobs/{id}`: what has not begun is not drawn."""
        try:
            job = await self._found(job_id, headers)
            if not await self._jobs.cancel(job.id):
                raise Conflict("This job has begun or ended, and cannot be cancelled any more", code="job_not_queued")
            if job.state is State.QUEUED and job.order.hold is not None:
                holder = await self._authenticator.holder_of(job.order.caller)
                self._governor.close(Admission.of(holder, job.order.hold), NOTHING)
            return await self.show(job_id, headers, event_id)
        except GatewayError as error:
            return refused(error, event_id)
        except StoreUnavailable as error:
            return refused(RecordsUnavailable(perhaps_done=error.perhaps_done), event_id)

    async def _found(self, job_id: str, headers: Sequence[tuple[str, str]]) -> Job:
        """The job, if it is there and the caller's own, or the caller an admin."""
        caller = await self._authenticator.caller_of(credential_of(headers))
        job = await self._jobs.get(job_id)
        if job is None or not _may_see(caller, job.order):
            raise NotFound("There is no such job, or no longer", code="job_not_found")
        return job


def refused(error: GatewayError, event_id: str) -> Reply:
    """An error, in the one shape."""
    value = error_body(error, event_id=event_id, model_requested=None, stream=False, request_type=REQUEST_TYPE)
    return json_reply(error.status, value, {**error.headers, "x-request-id": event_id})


def _may_see(caller: Caller, order: Order) -> bool:
    if caller.is_admin:
        return caller.narrowed_to is None or caller.may_call(order.deployment)
    return not order.is_admin and caller.id == order.caller


def _shown(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "status": job.state,
        "deployment": job.order.deployment,
        "event_id": job.order.event_id,
        "created_at": job.created_at.isoformat(),
        "ended_at": None if job.ended_at is None else job.ended_at.isoformat(),
    }


async def _answer(job: Job) -> Reply:
    headers: Mapping[str, str] = {"content-type": JSON, "cache-control": "no-store"}
    shown = orjson.dumps(_shown(job))
    if job.state not in {State.SUCCEEDED, State.FAILED}:
        if job.state is not State.CANCELLED:
            headers = {**headers, "retry-after": str(LOOK_AGAIN_SECONDS)}
        return Reply(status=200, headers=headers, body=(shown,))
    name = b"answer" if job.state is State.SUCCEEDED else b"error"
    outcome = await outcome_of(job)
    # Spliced, not parsed: where hosting failed it holds megabytes of base64.
    return Reply(status=200, headers=headers, body=(b'%s,"%s":' % (shown[:-1], name), outcome, b"}"))
