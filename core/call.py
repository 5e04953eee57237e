"""The books of one call: let through, settled, told, and written down once, whichever way it ends.

A call's reservation is settled when its generation has ended, which is bounded in time, and not when its answer has
been read, which is not. Its line in the log and its entry in the ledger are written at the very end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from core.deployments.costs import NO_COST, Bill, make_bill
from core.domain.request import DEPLOYMENT_NAME
from core.domain.response import Stream
from core.ledger.entry import entry_of
from core.limits.limiter import Admission
from core.responses.headers import limit_headers
from core.storage.row_keys import BilledParty
from core.telemetry.call_log import CallRecord

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from core.auth.caller import Caller
    from core.deployments.route_plan import RoutePlan
    from core.domain.image_json import Buffer
    from core.domain.request import ImageRequest
    from core.domain.response import HttpResponse
    from core.ledger.writer import LedgerWriter
    from core.limits.limit_status import LimitStatus
    from core.limits.limiter import Limiter
    from core.responses.envelope import Envelope
    from core.routing.executor import End


class Bookkeeping(Struct, frozen=True, kw_only=True):
    """What the books of all calls are kept with."""

    governor: Limiter
    ledger: LedgerWriter
    now: Callable[[], dt.datetime]
    """The wall clock, in UTC."""

    def open(self, deployment: str, envelope: Envelope) -> Books:
        """Open the books of a call for a deployment, by the name in its path."""
        return Books(self, deployment, envelope)

    async def flush(self, seconds: float) -> None:
        """Settle and write what waits, because the process ends; what cannot be within so many seconds is lost."""
        await asyncio.gather(self.governor.flush(seconds), self.ledger.flush(seconds))


class Books:
    """The books of one call. Filled in as the call is understood; to be closed, or left to the stream's closing."""

    def __init__(self, parts: Bookkeeping, deployment: str, envelope: Envelope) -> None:
        self.caller: Caller | None = None
        self.request: ImageRequest | None = None
        self.plan: RoutePlan | None = None
        self._parts = parts
        self._deployment = deployment if DEPLOYMENT_NAME.fullmatch(deployment) else "(not a name)"
        self._envelope = envelope
        self._admission: Admission | None = None
        self._bill: Bill | None = None
        self._closed = False
        self._is_handed_over = False

    async def admit(self, *, overrun_seconds: float = 0.0) -> None:
        """Reserve what the call may use; `overrun_seconds` is how much longer than other calls it may take.

        Raises Forbidden, RateLimited, BudgetExceeded or LimitsUnavailable.
        """
        if self.caller is None or self.request is None or self.plan is None:
            raise AssertionError("a call is let through once it has been understood")
        self._admission = await self._parts.governor.admit(
            self.caller, self.plan, self.request.images, overrun_seconds=overrun_seconds
        )

    @property
    def hold(self) -> Mapping[str, int | str] | None:
        """What was reserved, for whoever will carry the call out; None: nothing was."""
        return None if self._admission is None else self._admission.hold

    def hand_over(self) -> None:
        """Leave what was reserved, and the entry in the ledger, to whoever carries the call out and has its `hold`."""
        self._admission = None
        self._is_handed_over = True

    def give_back(self) -> None:
        """Give back what was reserved: nothing was asked, and whoever goes on will reserve anew."""
        self._settle()

    def take_over(self, hold: Mapping[str, int | str]) -> None:
        """Take what was reserved when the order was taken."""
        if self.caller is None:
            raise AssertionError("a call is let through once it is known whose it is")
        self._admission = Admission.of(self.caller, hold)

    async def settled(self, generation: Awaitable[End]) -> End:
        """Wait for the end of a generation, and settle what it came to, whichever way it ends."""
        try:
            return await generation
        finally:
            self._settle()

    def closed_with(self, reply: HttpResponse) -> HttpResponse:
        """Close with the answer: now if all of it is there, else when its stream is closed."""
        if isinstance(reply.body, tuple):
            self.close(status=reply.status)
            return reply
        return replace(reply, body=_Recorded(reply.body, lambda: self.close(status=reply.status)))

    async def with_limits(self, reply: HttpResponse) -> HttpResponse:
        """The answer with what is left of the key's limits. Where the caller leaves meanwhile, its stream is closed."""
        try:
            return reply.with_headers(limit_headers(await self._standing()))
        except asyncio.CancelledError:
            if isinstance(reply.body, Stream):
                await reply.body.aclose()
            raise

    def close(self, *, status: int | None) -> None:
        """Write the call down, once; `status` None: the caller had gone before it was answered."""
        if self._closed:
            return
        self._closed = True
        bill = self._settle()
        record = self._record(status)
        record.write()
        if self.caller is not None and not self._is_handed_over:
            self._parts.ledger.note(
                entry_of(
                    record,
                    payer=BilledParty(id=self.caller.id, is_admin=self.caller.is_admin),
                    ended_at=self._parts.now(),
                    request=self.request,
                    plan=self.plan,
                    bill=bill,
                    first_event_ms=self._envelope.first_event_ms,
                )
            )

    async def _standing(self) -> LimitStatus | None:
        """How the key stood when the call was let through; or how it stands now, where it was not."""
        if self._admission is not None:
            return self._admission.standing
        return None if self.caller is None else await self._parts.governor.standing(self.caller)

    def _settle(self) -> Bill:
        """Settle the reservation, once. A generation that goes on all the same counts as if it drew."""
        if self._bill is None:
            self._bill = NO_COST if self.plan is None else make_bill(self.plan, self._envelope.journal)
            if self._admission is not None:
                self._parts.governor.close(self._admission, self._bill)
        return self._bill

    def _record(self, status: int | None) -> CallRecord:
        envelope, trail = self._envelope, self._envelope.journal.trail
        is_lost = envelope.outcome == "left" and not trail.costs_nothing
        return CallRecord(
            event_id=envelope.event_id,
            caller=None if self.caller is None else self.caller.id,
            deployment=self._deployment,
            deployment_used=envelope.deployment_used,
            stream=envelope.stream,
            outcome=envelope.outcome,
            attempts=trail.calls,
            tried=tuple(f"{trace.deployment} {trace.outcome} {trace.status or '-'}" for trace in trail.lines),
            status=status,
            latency_ms=envelope.latency_ms,
            perhaps_billed=trail.perhaps_billed or is_lost,
        )


class _Recorded:
    """A stream, with the books closed once it has been closed."""

    def __init__(self, stream: Stream, at_the_end: Callable[[], None]) -> None:
        self._stream = stream
        self._at_the_end = at_the_end

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._at_the_end()
