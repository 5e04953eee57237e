"""Jobs as callers see them: ordered with `Prefer: respond-async`, looked at, cancelled (RFC 7240 §4.1)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import orjson
from msgspec import Struct

from core.auth.caller import Caller
from core.auth.credentials import read_credential
from core.deployments.costs import NO_COST
from core.domain.errors import Conflict, NotFound, RecordsUnavailable
from core.domain.response import JSON, HttpResponse, json_response
from core.idempotency.replay import StoredBody
from core.jobs.job import JobRequest, JobState
from core.jobs.runner import QUEUE_SECONDS
from core.limits.limiter import Admission
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from core.auth.authenticator import Authenticator
    from core.call import CallContext
    from core.domain.http_request import HttpRequest
    from core.domain.image_json import Buffer
    from core.jobs.job import Job
    from core.jobs.store import JobStore
    from core.limits.limiter import Limiter
    from core.storage.blobs import Content

PREFER: Final = "respond-async"
LOOK_AGAIN_SECONDS: Final = 10
"""When to look again at a job that has not ended: a picture takes 10 to 400 s."""


class JobNotQueued(Conflict):
    """409: a job that has begun or ended is not cancelled."""

    code = "job_not_queued"
    retry_safe = False

    def __init__(self) -> None:
        super().__init__("This job has begun or ended, and cannot be cancelled any more")


def prefers_job(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether a caller would rather have a job than wait."""
    preferences = ",".join(value for name, value in headers if name == "prefer").split(",")
    return PREFER in {preference.partition(";")[0].strip().lower() for preference in preferences}


class JobsApi:
    """Takes orders from callers, and tells them how they stand."""

    def __init__(self, jobs: JobStore, authenticator: Authenticator, limiter: Limiter, *, job_seconds: float) -> None:
        """`job_seconds` is how long a job may take once it has begun."""
        self._jobs = jobs
        self._authenticator = authenticator
        self._limiter = limiter
        self._seconds = job_seconds

    async def submit(self, call: CallContext, *, deployment: str, body: bytes, base_url: str) -> HttpResponse:
        """Accept a job for a resolved call. Raises what `CallContext.reserve` raises, or RecordsUnavailable."""
        if call.caller is None:
            raise AssertionError("a job belongs to a caller")
        await call.reserve(overrun_seconds=self._seconds + QUEUE_SECONDS)
        order = JobRequest(
            caller=call.caller.id,
            is_admin=call.caller.is_admin,
            narrowed_to=call.caller.narrowed_to,
            deployment=deployment,
            api_version=call.api_version,
            request=body,
            event_id=call.event_id,
            base_url=base_url,
            hold=call.hold,
        )
        try:
            job = await self._jobs.submit(order)
        except StoreUnavailable as error:
            if error.perhaps_done:
                call.hand_over()  # whoever runs the job settles, or the lease ends
            raise RecordsUnavailable(perhaps_done=error.perhaps_done) from None
        call.hand_over()
        headers = {
            "location": f"/jobs/{job.id}",
            "preference-applied": PREFER,
            "retry-after": str(LOOK_AGAIN_SECONDS),
        }
        return json_response(202, _shown(job), headers)

    async def show(self, request: HttpRequest) -> HttpResponse:
        """Answer `GET /jobs/{id}`."""
        return _answer(await self._found(request))

    async def cancel(self, request: HttpRequest) -> HttpResponse:
        """Answer `DELETE /jobs/{id}`: what has not begun is not drawn."""
        job = await self._found(request)
        if not await self._jobs.cancel(job.id):
            raise JobNotQueued
        if job.order.hold is not None:  # twice does no harm
            self._limiter.close(Admission.from_hold(Caller(id=job.order.caller), job.order.hold), NO_COST)
        return await self.show(request)

    async def _found(self, request: HttpRequest) -> Job:
        """The job, if it is there and the caller's own, or the caller an admin."""
        caller = await self._authenticator.authenticate(read_credential(request.headers))
        job = await self._jobs.get(request.parameters["id"])
        if job is None or not _may_see(caller, job.order):
            raise NotFound("There is no such job, or no longer", code="job_not_found")
        return job


def _may_see(caller: Caller, order: JobRequest) -> bool:
    if caller.narrowed_to is not None and not caller.may_call(order.deployment):
        return False
    return caller.is_admin or (not order.is_admin and caller.id == order.caller)


def _shown(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.state,
        "deployment": job.order.deployment,
        "event_id": job.order.event_id,
        "created_at": job.created_at.isoformat(),
        "ended_at": None if job.ended_at is None else job.ended_at.isoformat(),
    }


def _answer(job: Job) -> HttpResponse:
    if job.body is None:
        return json_response(200, _shown(job), {} if job.has_ended else {"retry-after": str(LOOK_AGAIN_SECONDS)})
    # Spliced, not parsed: where pictures could not be stored it holds megabytes of base64.
    name = b"answer" if job.state is JobState.SUCCEEDED else b"error"
    before, after = b'%s,"%s":' % (orjson.dumps(_shown(job))[:-1], name), b"}"
    if isinstance(job.body, bytes):
        return HttpResponse(status=200, headers={"content-type": JSON}, body=(b"".join((before, job.body, after)),))
    wrapped = _Wrapped(job.body, before, after)
    headers = {"content-type": JSON, "content-length": str(wrapped.size)}
    return HttpResponse(status=200, headers=headers, body=StoredBody(wrapped))


class _Wrapped(Struct, frozen=True):
    """A stored outcome with what stands around it, as a blob of its own."""

    content: Content
    before: bytes
    after: bytes

    @property
    def size(self) -> int:
        return len(self.before) + self.content.size + len(self.after)

    @property
    def content_type(self) -> str:
        return JSON

    async def pieces(self) -> AsyncGenerator[Buffer]:
        yield self.before
        async with aclosing(self.content.pieces()) as pieces:
            async for piece in pieces:
                yield piece
        yield self.after
