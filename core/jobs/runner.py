"""Runs jobs: generations that no caller waits for, by the same steps as a call.

What a job is and where it stands, `jobs.store` knows. Whatever goes wrong before the model is asked is tried again with
the message's next delivery; from then on there is one outcome, which is stored.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from core.auth.caller import Caller
from core.call import CallContext
from core.domain.errors import GatewayError, GatewayFault, InternalFault, RecordsUnavailable, Unauthenticated
from core.domain.request import parse_request
from core.errors_http import error_response
from core.images.hosting import CallHosting
from core.jobs.job import JobState, StillRunning
from core.jobs.lost_job import JobAbandoned, fate
from core.jobs.store import MAX_TRIES, QUEUE
from core.responses.response_builder import ResponseBuilder
from core.routing.executor import GenerationTime
from core.routing.next_attempt import TryTarget
from core.storage.tables import Changed, StoreUnavailable
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from core.auth.authenticator import Authenticator
    from core.azure_openai.response_reader import Timeouts
    from core.call import Accounting
    from core.deployments.catalogue import Catalogue
    from core.domain.request import ImageRequest
    from core.domain.response import HttpResponse
    from core.images.hosting import ImageHosting
    from core.jobs.events import EventPublisher
    from core.jobs.job import Job, JobRequest
    from core.jobs.store import JobStore
    from core.routing.executor import Executor
    from core.storage.queues import Queues

POISON_DELIVERY: Final = MAX_TRIES + 1
"""The delivery of a message that the queue has set aside: its job ends now, and is not drawn."""
QUEUE_SECONDS: Final = 3600.0
"""How long the reservation of a job is held while it waits in the queue. One that waits longer reserves anew."""
_STORE_WAITS: Final = (0.5, 2.0, 5.0, 10.0, 20.0, 30.0)
"""The pauses before the store is tried again, in seconds: a picture has been paid for."""
_SLACK: Final = dt.timedelta(seconds=120)
"""For storing pictures and the outcome, and for clocks that differ."""


class JobRunner:
    """Runs jobs."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        authenticator: Authenticator,
        catalogue: Catalogue,
        executor: Executor,
        accounting: Accounting,
        hosting: ImageHosting,
        results: ImageHosting,
        events: EventPublisher,
        queues: Queues,
        job_seconds: float,
        timeouts: Timeouts,
        clock: Callable[[], float],
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """`results` stores the pictures of jobs from a queue message. `clock` is monotonic, in seconds."""
        self._jobs = jobs
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._executor = executor
        self._accounting = accounting
        self._hosting = hosting
        self._results = results
        self._events = events
        self._queues = queues
        self._seconds = job_seconds
        self._timeouts = timeouts
        self._clock = clock
        self._wait = wait

    async def run(self, job_id: str, delivery: int) -> None:
        """Run the job that a message names; `delivery` counts the message's deliveries from 1.

        Raises the error for which the message is to be delivered again.
        """
        try:
            job = await self._jobs.take(job_id)
            if job is None:
                return
            if job.abandoned:
                job = await self._jobs.given_up(job)
                await self._write_off(job)
            elif job.state is JobState.RUNNING:
                job = await self._run(job, tries=max(delivery, job.tries))
            await self._events.publish(job)
            await self._jobs.announced(job)
        except StillRunning as busy:
            # Nobody can tell yet whether its process lives. The next delivery will know.
            await self._queues.queue(QUEUE).send(job_id, delay_seconds=busy.seconds + 1)
        except Changed:
            return  # another process has it now

    async def _run(self, job: Job, *, tries: int) -> Job:
        """Generate, and store the outcome. Raises the error for which it may be tried again, or Changed."""
        attempt = _Try(self._jobs, job)
        call = self._open_call(job)
        try:
            response = await self._respond(attempt, call, tries)
        except BaseException:
            if attempt.asked and not call.log.summary.costs_nothing:
                call.close(status=None)
            else:
                await self._put_back(attempt.job, call)
            raise
        call.close(status=response.status)
        return await self._store(attempt.job, response)

    def _open_call(self, job: Job) -> CallContext:
        order = job.order
        now = self._clock()
        call = CallContext(
            self._accounting, deployment=order.deployment, event_id=order.event_id, clock=self._clock, began_at=now
        )
        if order.result is None or job.asked:  # the key was let through, whatever has become of it
            call.caller = Caller(id=order.caller, is_admin=order.is_admin)
            if order.hold is not None:
                call.take_over(order.hold)
        return call

    async def _put_back(self, job: Job, call: CallContext) -> None:
        """Leave a job for which nothing was sent to the next delivery."""
        if job.asked:
            # It was noted as asked, and then it did not come to that: the reservation has been given back.
            job = replace(job, order=replace(job.order, hold=None))
        if job.order.hold is None:
            call.settle()
        else:
            call.hand_over()
        await self._jobs.put_back(job)

    async def _respond(self, attempt: _Try, call: CallContext, tries: int) -> HttpResponse:
        """Give the outcome as a response. Raises the error for which it may be tried again, or Changed."""
        if tries > MAX_TRIES:
            return error_response(call, JobAbandoned())
        try:
            return await self._generate(attempt, call)
        except Changed:
            raise
        except Exception as fault:
            if isinstance(fault, GatewayError) and not isinstance(fault, GatewayFault):
                return error_response(call, fault)
            if tries < MAX_TRIES and not attempt.asked:
                raise
            return error_response(call, _as_error(fault, attempt))

    async def _generate(self, attempt: _Try, call: CallContext) -> HttpResponse:
        order = attempt.job.order
        call.caller = await self._find_caller(order)
        call.resolve(self._catalogue, _parse(order), order.deployment, order.api_version)
        await call.reserve_anew_unless_held(order.hold, seconds=self._seconds)
        await attempt.note_asked(call.hold)
        ends_at = self._clock() + self._seconds
        time = GenerationTime(ends_at=ends_at, attempt_seconds=self._seconds, timeouts=self._timeouts)
        end = await call.generate(self._executor, time=time)
        return await ResponseBuilder(call, self._call_hosting(order, ends_at)).build(end)

    async def _find_caller(self, order: JobRequest) -> Caller:
        if order.is_admin:
            return Caller(id=order.caller, is_admin=True, narrowed_to=order.narrowed_to)
        try:
            return await self._authenticator.find_caller(order.caller, narrowed_to=order.narrowed_to)
        except Unauthenticated as refused:
            if order.result is None or refused.code != Unauthenticated.code:
                raise
            # A queue message names its key by the id, and only who may write to the queue reads the outcome.
            raise Unauthenticated(
                "virtual_key_id: there is no virtual key with this id", param="virtual_key_id"
            ) from None

    def _call_hosting(self, order: JobRequest, ends_at: float) -> CallHosting:
        by_queue = order.result is not None
        return CallHosting(
            pictures=self._results if by_queue else self._hosting,
            base_url=order.base_url,
            seconds_left=lambda: ends_at - self._clock(),
            folder=f"{order.result}/" if by_queue else "",
        )

    async def _store(self, job: Job, response: HttpResponse) -> Job:
        """Store an outcome that may have been paid for. Raises StoreUnavailable, Changed."""
        for seconds in _STORE_WAITS:
            try:
                return await self._jobs.finish(job, status=response.status, body=response.whole)
            except StoreUnavailable:
                await self._wait(seconds)
        return await self._jobs.finish(job, status=response.status, body=response.whole)

    async def _write_off(self, job: Job) -> None:
        """Write down a job whose process died: what it had asked for may be billed."""
        call = self._open_call(job)
        if job.asked:
            with suppress(GatewayError):  # its key or its deployment may be gone
                order = job.order
                call.caller = await self._find_caller(order)
                if order.hold is not None:
                    call.take_over(order.hold)  # now with the key's limits, which count what was drawn
                plan = call.resolve(self._catalogue, _parse(order), order.deployment, order.api_version)
                call.log.begin(plan, TryTarget(step=0, target=plan.steps[0].deployment.targets[0]))
                call.log.sending()
        call.close(status=error_response(call, fate(asked=job.asked)).status)


class _Try:
    """One try at a job, which knows whether the model has been asked."""

    def __init__(self, jobs: JobStore, job: Job) -> None:
        self._jobs = jobs
        self.job = job

    @property
    def asked(self) -> bool:
        """Whether it is noted that the model is asked."""
        return self.job.asked

    async def note_asked(self, hold: Mapping[str, int | str] | None) -> None:
        """Note that the model is asked, before it is. Raises StoreUnavailable, Changed."""
        self.job = await self._jobs.asking(self.job, hold)


def lease_of(job_seconds: float) -> dt.timedelta:
    """How long a job that has asked may be silent before its process counts as dead."""
    return dt.timedelta(seconds=job_seconds) + _SLACK


def _parse(order: JobRequest) -> ImageRequest:
    """The request of a job. Nobody is there to see it drawn, so it is no stream. Raises InvalidRequest."""
    request = parse_request(order.request, order.deployment)
    return request.model_copy(update={"stream": None, "partial_images": None})


def _as_error(fault: Exception, attempt: _Try) -> GatewayError:
    """A fault of ours as it is told where nobody tries again."""
    if isinstance(fault, GatewayError):
        return fault
    if isinstance(fault, StoreUnavailable):
        return RecordsUnavailable(perhaps_done=attempt.asked)
    write_fault(fault, attempt.job.order.event_id)
    return InternalFault(retry_safe=not attempt.asked)
