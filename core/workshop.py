"""Jobs: orders taken at the front door or from a queue, carried out where no caller waits, by the same walk as a call.

What a job is and where it stands, `keeping.jobs` knows; here it is drawn. Whatever goes wrong before the model is asked
is tried again with the message's next delivery; from then on there is one outcome, which is kept.
"""

from __future__ import annotations

import datetime as dt
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from core.access.caller import Caller
from core.catalogue.plan import make_plan
from core.contract.errors import GatewayError, GatewayFault, InternalFault
from core.contract.request import parse_request
from core.delivery.composing import Composer
from core.delivery.envelope import Envelope
from core.generation import Drawn, GaveUp, Time
from core.keeping.jobs import QUEUE, State, StillRunning
from core.keeping.pictures import HostingOfACall
from core.logs import write_fault
from core.storage.tables import Changed, StoreUnavailable
from core.upstream.receiving import Patience

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.access.authenticator import Authenticator
    from core.announcing import Announcer
    from core.bookkeeping import Bookkeeping, Books
    from core.catalogue.deployments import Catalogue
    from core.contract.reply import Reply
    from core.generation import Generator
    from core.keeping.jobs import Job, Jobs, Order
    from core.keeping.pictures import Pictures
    from core.storage.queues import Queues

MOST_TRIES: Final = 5
"""How often the Functions host delivers a message (Azure Functions docs, "host.json", queues.maxDequeueCount)."""
QUEUE_SECONDS: Final = 3600.0
"""How long what a job has reserved is held while it waits in the queue."""
SILENCE_SECONDS: Final = 90.0
"""How long a stream may say nothing. Azure ends one after 60 s (a report)."""
_KEEPING_WAITS: Final = (0.5, 2.0, 5.0)
"""How long it is waited before the store is tried again, in seconds."""


class Workshop:
    """Where jobs are carried out."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        authenticator: Authenticator,
        catalogue: Catalogue,
        generator: Generator,
        bookkeeping: Bookkeeping,
        pictures: Pictures,
        results: Pictures,
        announcer: Announcer,
        queues: Queues,
        job_seconds: float,
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
        self._clock = clock
        self._wait = wait

    async def carry_out(self, job_id: str, delivery: int) -> None:
        """Carry out the job that a message names; `delivery` counts its deliveries from 1.

        Raises what the message is to be delivered again for.
        """
        try:
            job = await self._jobs.take(job_id)
            if job is not None and job.state is State.RUNNING:
                job = await self._run(job, last=delivery >= MOST_TRIES)
            if job is not None:
                await self._announcer.announce(job)
                await self._jobs.announced(job)
        except StillRunning as busy:
            # Nobody can tell yet whether its process lives. Whoever comes then will know.
            await self._queues.queue(QUEUE).send(job_id, delay_seconds=busy.seconds + 1)
        except Changed:
            return  # whoever has it now sees to it

    async def _run(self, job: Job, *, last: bool) -> Job:
        """Draw, and keep what came of it. Raises GatewayFault or StoreUnavailable: it may be tried again."""
        order = job.order
        envelope = Envelope(event_id=order.event_id, clock=self._clock, began_at=self._clock())
        books = self._bookkeeping.open(order.deployment, envelope)
        run = _Run(self._jobs, job)
        status: int | None = None
        try:
            reply = await self._reply(run, envelope, books, last=last)
            status = reply.status
        finally:
            if status is None and not run.asked:
                books.hand_over()  # the next delivery takes what was reserved
                await self._jobs.put_back(run.job)
            else:
                books.close(status=status)
        return await self._kept(run.job, reply)

    async def _reply(self, run: _Run, envelope: Envelope, books: Books, *, last: bool) -> Reply:
        try:
            return await self._drawn(run, envelope, books)
        except (GatewayFault, StoreUnavailable) as fault:
            if not run.asked and not last:
                raise
            error = fault if isinstance(fault, GatewayError) else InternalFault(retry_safe=not run.asked)
            return envelope.refused(error)
        except GatewayError as error:
            return envelope.refused(error)
        except Changed:
            raise
        except Exception as fault:
            if not run.asked and not last:
                raise
            write_fault(fault, envelope.event_id)
            return envelope.refused(InternalFault(retry_safe=not run.asked))

    async def _drawn(self, run: _Run, envelope: Envelope, books: Books) -> Reply:
        order = run.job.order
        caller = books.caller = await self._caller(order)
        if order.hold is not None:
            books.take_over(order.hold)
        request = books.request = parse_request(order.request)
        envelope.model_requested = request.model
        plan = books.plan = make_plan(self._catalogue, request, order.deployment, caller.may_call)
        if order.hold is None:
            await books.admit(overrun_seconds=self._seconds)
        ends_at = self._clock() + self._seconds
        events = self._generator.generate(
            plan,
            envelope.journal,
            images=request.images,
            partials=0,
            api_version=order.api_version,
            event_id=order.event_id,
            time=Time(
                ends_at=ends_at,
                attempt_seconds=self._seconds,
                patience=Patience(first_byte=self._seconds, idle=SILENCE_SECONDS),
            ),
            before_asking=run.asking,
        )
        composer = Composer(envelope, self._hosting(order, ends_at))
        async with aclosing(books.settled(events)) as progress:
            async for event in progress:
                if isinstance(event, Drawn | GaveUp):
                    return await composer.compose(event)
        raise AssertionError("a generation ended without an end")

    async def _caller(self, order: Order) -> Caller:
        if order.is_admin:
            return Caller(id=order.caller, is_admin=True, narrowed_to=order.narrowed_to)
        return await self._authenticator.holder_of(order.caller, narrowed_to=order.narrowed_to)

    def _hosting(self, order: Order, ends_at: float) -> HostingOfACall:
        by_queue = order.result is not None
        return HostingOfACall(
            pictures=self._results if by_queue else self._pictures,
            base_url=order.base_url,
            seconds_left=lambda: ends_at - self._clock(),
            folder=f"{order.result}/" if by_queue else "",
        )

    async def _kept(self, job: Job, reply: Reply) -> Job:
        """Keep an outcome that may have been paid for, if it can be. Raises StoreUnavailable, Changed."""
        for seconds in _KEEPING_WAITS:
            try:
                return await self._jobs.finish(job, status=reply.status, body=reply.whole)
            except StoreUnavailable:
                await self._wait(seconds)
                found = await self._jobs.get(job.id)
                if found is not None and found.state not in {State.QUEUED, State.RUNNING}:
                    return found  # it was kept, and the answer to that was lost
        return await self._jobs.finish(job, status=reply.status, body=reply.whole)


class _Run:
    """One try at a job, which knows whether the model has been asked."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self._jobs = jobs
        self.job = job
        self.asked = False

    async def asking(self) -> None:
        """Write down that the model is asked, before it is. Raises StoreUnavailable, Changed."""
        if not self.asked:
            self.job = await self._jobs.asking(self.job)
            self.asked = True


def lease_of(job_seconds: float) -> dt.timedelta:
    """How long a job that has asked may be silent before its process counts as dead."""
    return dt.timedelta(seconds=job_seconds + 60)
