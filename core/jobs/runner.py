"""Jobs: orders taken at the front door or from a queue, carried out where no caller waits, by the same walk as a call.

What a job is and where it stands, `keeping.jobs` knows; here it is drawn. Whatever goes wrong before the model is asked
is tried again with the message's next delivery; from then on there is one outcome, which is kept.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from core.auth.caller import Caller
from core.deployments.route_plan import make_plan
from core.domain.errors import GatewayError, GatewayFault, InternalFault, RecordsUnavailable
from core.domain.request import parse_request
from core.images.hosting import CallHosting
from core.jobs.job import JobState, StillRunning
from core.jobs.lost_job import JobAbandoned, fate
from core.jobs.store import MAX_TRIES, QUEUE
from core.responses.envelope import Envelope
from core.responses.response_builder import ResponseBuilder
from core.routing.executor import Time
from core.routing.next_attempt import TryTarget
from core.storage.tables import Changed, StoreUnavailable
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from core.auth.authenticator import Authenticator
    from core.azure_openai.response_reader import Patience
    from core.call import Bookkeeping, Books
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
"""How long what a job has reserved is held while it waits in the queue."""
_KEEPING_WAITS: Final = (0.5, 2.0, 5.0, 10.0, 20.0, 30.0)
"""How long it is waited before the store is tried again, in seconds: a picture has been paid for."""
_SLACK: Final = dt.timedelta(seconds=120)
"""For storing pictures and keeping the outcome, and for clocks that differ."""


class JobRunner:
    """Where jobs are carried out."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        authenticator: Authenticator,
        catalogue: Catalogue,
        generator: Executor,
        bookkeeping: Bookkeeping,
        pictures: ImageHosting,
        results: ImageHosting,
        announcer: EventPublisher,
        queues: Queues,
        job_seconds: float,
        patience: Patience,
        clock: Callable[[], float],
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """`results` stores the pictures of who came by a queue. `clock` is monotonic, in seconds."""
        self._jobs = jobs
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._generator = generator
        self._bookkeeping = bookkeeping
        self._pictures = pictures
        self._results = results
        self._announcer = announcer
        self._queues = queues
        self._seconds = job_seconds
        self._patience = patience
        self._clock = clock
        self._wait = wait

    async def carry_out(self, job_id: str, delivery: int) -> None:
        """Carry out the job that a message names; `delivery` counts its deliveries from 1.

        Raises what the message is to be delivered again for.
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
            await self._announcer.announce(job)
            await self._jobs.announced(job)
        except StillRunning as busy:
            # Nobody can tell yet whether its process lives. Whoever comes then will know.
            await self._queues.queue(QUEUE).send(job_id, delay_seconds=busy.seconds + 1)
        except Changed:
            return  # whoever has it now sees to it

    async def _run(self, job: Job, *, tries: int) -> Job:
        """Draw, and keep what came of it. Raises what it may be tried again for, or Changed."""
        run = _Run(self._jobs, job)
        envelope, books = self._opened(job)
        try:
            reply = await self._reply(run, envelope, books, tries)
        except BaseException:
            if run.asked and not envelope.journal.trail.costs_nothing:
                books.close(status=None)
            else:
                await self._put_back(run.job, books)
            raise
        books.close(status=reply.status)
        return await self._kept(run.job, reply)

    def _opened(self, job: Job) -> tuple[Envelope, Books]:
        order = job.order
        envelope = Envelope(event_id=order.event_id, clock=self._clock, began_at=self._clock())
        books = self._bookkeeping.open(order.deployment, envelope)
        if order.result is None or job.asked:  # the key was let through, whatever has become of it
            books.caller = Caller(id=order.caller, is_admin=order.is_admin)
        if order.hold is not None:
            books.take_over(order.hold)
        return envelope, books

    async def _put_back(self, job: Job, books: Books) -> None:
        """Leave a job for which nothing was sent to the next delivery."""
        if job.asked:
            # It was written down, and then it did not come to that: what was reserved has been given back.
            job = replace(job, order=replace(job.order, hold=None))
        if job.order.hold is None:
            books.give_back()
        else:
            books.hand_over()
        await self._jobs.put_back(job)

    async def _reply(self, run: _Run, envelope: Envelope, books: Books, tries: int) -> HttpResponse:
        """What came of it. Raises what it may be tried again for, or Changed."""
        if tries > MAX_TRIES:
            return envelope.refused(JobAbandoned())
        try:
            return await self._drawn(run, envelope, books)
        except Changed:
            raise
        except Exception as fault:
            if isinstance(fault, GatewayError) and not isinstance(fault, GatewayFault):
                return envelope.refused(fault)
            if tries < MAX_TRIES and not run.asked:
                raise
            return envelope.refused(_as_error(fault, run))

    async def _drawn(self, run: _Run, envelope: Envelope, books: Books) -> HttpResponse:
        order = run.job.order
        caller = books.caller = await self._caller(order)
        if order.hold is not None:
            books.take_over(order.hold)
        request = books.request = _wanted(order)
        envelope.model_requested = request.model
        plan = books.plan = make_plan(self._catalogue, request, order.deployment, caller.may_call)
        if order.hold is None:
            await books.admit(overrun_seconds=self._seconds)
        await run.asking(books.hold)
        ends_at = self._clock() + self._seconds
        drawing = self._generator.generate(
            plan,
            envelope.journal,
            images=request.images,
            api_version=order.api_version,
            event_id=order.event_id,
            time=Time(ends_at=ends_at, attempt_seconds=self._seconds, patience=self._patience),
        )
        end = await books.settled(drawing)
        return await ResponseBuilder(envelope, self._hosting(order, ends_at)).compose(end)

    async def _caller(self, order: JobRequest) -> Caller:
        if order.is_admin:
            return Caller(id=order.caller, is_admin=True, narrowed_to=order.narrowed_to)
        return await self._authenticator.holder_of(order.caller, narrowed_to=order.narrowed_to)

    def _hosting(self, order: JobRequest, ends_at: float) -> CallHosting:
        by_queue = order.result is not None
        return CallHosting(
            pictures=self._results if by_queue else self._pictures,
            base_url=order.base_url,
            seconds_left=lambda: ends_at - self._clock(),
            folder=f"{order.result}/" if by_queue else "",
        )

    async def _kept(self, job: Job, reply: HttpResponse) -> Job:
        """Keep an outcome that may have been paid for, if it can be. Raises StoreUnavailable, Changed."""
        for seconds in _KEEPING_WAITS:
            try:
                return await self._jobs.finish(job, status=reply.status, body=reply.whole)
            except StoreUnavailable:
                await self._wait(seconds)
        return await self._jobs.finish(job, status=reply.status, body=reply.whole)

    async def _write_off(self, job: Job) -> None:
        """Write down a job that nobody has carried to its end: what it had asked for may be billed."""
        envelope, books = self._opened(job)
        if job.asked:
            with suppress(GatewayError):  # its key or its deployment may be gone
                caller = books.caller = await self._caller(job.order)
                if job.order.hold is not None:
                    books.take_over(job.order.hold)
                books.request = _wanted(job.order)
                books.plan = make_plan(self._catalogue, books.request, job.order.deployment, caller.may_call)
                first = books.plan.steps[0].deployment
                envelope.journal.begin(books.plan, TryTarget(step=0, target=first.targets[0]))
                envelope.journal.sending()
        books.close(status=envelope.refused(fate(asked=job.asked)).status)


class _Run:
    """One try at a job, which knows whether the model has been asked."""

    def __init__(self, jobs: JobStore, job: Job) -> None:
        self._jobs = jobs
        self.job = job

    @property
    def asked(self) -> bool:
        """Whether it is written down that the model is asked."""
        return self.job.asked

    async def asking(self, hold: Mapping[str, int | str] | None) -> None:
        """Write down that the model is asked, before it is. Raises StoreUnavailable, Changed."""
        self.job = await self._jobs.asking(self.job, hold)


def lease_of(job_seconds: float) -> dt.timedelta:
    """How long a job that has asked may be silent before its process counts as dead."""
    return dt.timedelta(seconds=job_seconds) + _SLACK


def _wanted(order: JobRequest) -> ImageRequest:
    """The request of an order. Nobody is there to see it drawn, so it is no stream. Raises InvalidRequest."""
    request = parse_request(order.request)
    return request.model_copy(update={"stream": None, "partial_images": None})


def _as_error(fault: Exception, run: _Run) -> GatewayError:
    """A fault of ours as it is told where nobody tries again."""
    if isinstance(fault, GatewayError):
        return fault
    if isinstance(fault, StoreUnavailable):
        return RecordsUnavailable(perhaps_done=run.asked)
    write_fault(fault, run.job.order.event_id)
    return InternalFault(retry_safe=not run.asked)
