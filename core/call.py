"""What is known of one call: ids, times, caller, plan, admission, attempts. And its one closing, whichever way it ends.

A call's reservation is settled when its generation has ended, which is bounded in time, and not when its answer has
been read, which is not. Its log line and its ledger row are written when it is closed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from core.deployments.costs import NO_COST, Bill, make_bill
from core.deployments.route_plan import make_plan
from core.domain.request import DEPLOYMENT_NAME, MAX_MODEL_CHARACTERS
from core.errors_http import error_body
from core.ledger.entry import make_entry
from core.limits.limiter import Admission
from core.routing.attempt_log import AttemptLog
from core.storage.row_keys import BilledParty
from core.telemetry.call_log import CallRecord

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Mapping

    from core.auth.caller import Caller
    from core.deployments.catalogue import Catalogue
    from core.deployments.route_plan import RoutePlan
    from core.domain.errors import GatewayError
    from core.domain.image_json import Buffer
    from core.domain.request import ImageRequest
    from core.domain.response import HttpResponse, Stream
    from core.idempotency.repeats import RepeatKey
    from core.ledger.writer import LedgerWriter
    from core.limits.limiter import Limiter
    from core.routing.executor import End, Executor, GenerationTime, Show

LEFT = "left"
"""The outcome of a call whose caller went away before it was answered."""


class Accounting(Struct, frozen=True, kw_only=True):
    """What every call is reserved, settled and written down with."""

    limiter: Limiter
    ledger: LedgerWriter
    now: Callable[[], dt.datetime]
    """The wall clock, in UTC."""

    async def flush(self, seconds: float) -> None:
        """Settle and write what waits, because the process ends. What takes longer than `seconds` is lost."""
        await asyncio.gather(self.limiter.flush(seconds), self.ledger.flush(seconds))


class CallContext:
    """One call, filled in as it is understood, and closed once."""

    def __init__(
        self,
        accounting: Accounting,
        *,
        deployment: str | None,
        event_id: str,
        clock: Callable[[], float],
        began_at: float,
    ) -> None:
        """`deployment` is the one in the path, unchecked; `clock` is monotonic, in seconds, as is `began_at`."""
        named = deployment if deployment is not None and DEPLOYMENT_NAME.fullmatch(deployment) else None
        self.deployment = named or "(not a name)"
        """The one that was asked for."""
        self.event_id = event_id
        self.clock = clock
        self.began_at = began_at
        self.caller: Caller | None = None
        self.request: ImageRequest | None = None
        self.plan: RoutePlan | None = None
        self.api_version: str | None = None
        """The dated version that the caller asked for."""
        self.model_requested = named
        self.stream = False
        self.log = AttemptLog()
        self.outcome = LEFT
        """`picture`, `accepted`, `replayed`, or the code of the error that was answered."""
        self.deployment_used: str | None = None
        """The deployment that drew."""
        self.first_event_ms: int | None = None
        """Milliseconds until a stream's caller was sent the first image, finished or not."""
        self.repeat_key: RepeatKey | None = None
        """What identical requests are known by, where they are looked for."""
        self.on_billed_error: Callable[[GatewayError], None] | None = None
        """Told of the error that the caller gets, where it may have been billed."""
        self.on_close: Callable[[], None] | None = None
        self.limit_headers: Mapping[str, str] = {}
        """What the key had left when the call was admitted; empty where nobody asked."""
        self._accounting = accounting
        self._admission: Admission | None = None
        self._bill: Bill | None = None
        self._is_closed = False
        self._is_handed_over = False

    @property
    def latency_ms(self) -> int:
        """Milliseconds since the call came in."""
        return round((self.clock() - self.began_at) * 1000)

    @property
    def is_retry_safe(self) -> bool:
        """Whether the call may be made again after a fault: nothing was sent that may be paid for."""
        return self.log.summary.costs_nothing

    @property
    def known_caller(self) -> Caller:
        """The caller of a call that has been authenticated."""
        if self.caller is None:
            raise AssertionError("the call has not been authenticated")
        return self.caller

    @property
    def known_request(self) -> ImageRequest:
        """The request of a call that has been resolved."""
        if self.request is None:
            raise AssertionError("the call has not been resolved")
        return self.request

    def note_first_event(self) -> None:
        """Note that an image is sent as an event."""
        if self.first_event_ms is None:
            self.first_event_ms = self.latency_ms

    # -- resolve and reserve --

    def note_fields(self, fields: Mapping[str, Any]) -> None:
        """Note what an error is to say of the request, before it is known whether that is valid."""
        model = fields.get("model")
        if isinstance(model, str) and 1 <= len(model) <= MAX_MODEL_CHARACTERS:
            self.model_requested = model
        self.stream = fields.get("stream") is True

    def resolve(
        self,
        catalogue: Catalogue,
        request: ImageRequest,
        deployment: str | None,
        api_version: str | None,
    ) -> RoutePlan:
        """Make the plan of a request: what is authorised, counted, logged and called. Raises GatewayError.

        `deployment` is the one in the path; None: the request's `model` names it.
        """
        self.model_requested = request.model
        self.stream = request.streams
        self.api_version = api_version
        self.deployment = request.model if deployment is None else deployment
        known = catalogue.find(self.deployment)
        if known is not None and request.response_format is None and known.overrides.response_format is not None:
            request = request.model_copy(update={"response_format": known.overrides.response_format})
        self.request = request
        self.plan = make_plan(
            catalogue,
            request,
            self.deployment,
            self.known_caller.may_call,
            param="model" if deployment is None else None,
            api_version=api_version,
        )
        return self.plan

    async def reserve(self, *, overrun_seconds: float = 0.0) -> None:
        """Reserve what the call may use; `overrun_seconds` is how much longer than other calls it may take.

        Raises Forbidden, RateLimited, BudgetExceeded or LimitsUnavailable.
        """
        if self.plan is None:
            raise AssertionError("a call reserves once it is resolved")
        self._admission = await self._accounting.limiter.admit(
            self.known_caller, self.plan, self.known_request.images, overrun_seconds=overrun_seconds
        )
        if self._admission is not None and self._admission.status is not None:
            self.limit_headers = self._admission.status.headers()

    @property
    def hold(self) -> Mapping[str, int | str] | None:
        """What was reserved, as JSON for the process that will carry the call out. None: nothing was."""
        return None if self._admission is None else self._admission.hold

    def hand_over(self) -> None:
        """Leave the reservation and the ledger row to the process that carries the call out and has its `hold`."""
        self._admission = None
        self._is_handed_over = True

    def take_over(self, hold: Mapping[str, int | str]) -> None:
        """Take the reservation that another process made."""
        self._admission = Admission.from_hold(self.known_caller, hold)

    async def reserve_anew_unless_held(self, hold: Mapping[str, int | str] | None, *, seconds: float) -> None:
        """Take over `hold` if it lasts for so many `seconds` more; else give it back, and reserve as a new call does.

        A reservation whose lease ends counts no longer against its key, so nothing may be drawn for it.
        Raises what `reserve` raises.
        """
        if hold is not None:
            self.take_over(hold)
            if self._admission is not None and self._admission.lasts(self._accounting.now(), seconds):
                return
            if self._admission is not None:
                self._accounting.limiter.close(self._admission, NO_COST)
            self._admission = None
        await self.reserve(overrun_seconds=seconds)

    def share(self, other: CallContext) -> None:
        """Take part in the generation of a call whose caller has left, which pays for it."""
        self.log = other.log
        self._bill = NO_COST

    async def generate(self, executor: Executor, *, time: GenerationTime, show: Show | None = None) -> End:
        """Generate, and settle what that came to, whichever way it ends. Without `show` nobody sees partial images."""
        if self.caller is None or self.plan is None:
            raise AssertionError("a call generates once it is resolved")
        try:
            return await executor.generate(
                self.plan,
                self.log,
                images=self.known_request.images,
                partials=self.known_request.partials,
                api_version=self.api_version,
                event_id=self.event_id,
                key=self.caller.id,
                time=time,
                show=show,
            )
        finally:
            self.settle()

    # -- settle and close --

    def settle(self) -> Bill:
        """Settle the reservation, once. A generation that goes on all the same counts as if it drew."""
        if self._bill is None:
            self._bill = NO_COST if self.plan is None else make_bill(self.plan, self.log)
            if self._admission is not None:
                self._accounting.limiter.close(self._admission, self._bill)
        return self._bill

    def close(self, *, status: int | None) -> None:
        """Write the call down, once. `status` None: the caller had gone before it was answered."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.on_close is not None:
            self.on_close()
        bill = self.settle()
        record = self._record(status)
        record.write()
        if self.caller is None or self._is_handed_over:
            return
        self._accounting.ledger.note(
            make_entry(
                record,
                billed_party=BilledParty(id=self.caller.id, is_admin=self.caller.is_admin),
                ended_at=self._accounting.now(),
                request=self.request,
                plan=self.plan,
                bill=bill,
                first_event_ms=self.first_event_ms,
            )
        )

    def close_with(self, response: HttpResponse) -> HttpResponse:
        """Close with the answer: now if all of it is there, else when its stream is closed."""
        if isinstance(response.body, tuple):
            self.close(status=response.status)
            return response
        return replace(response, body=_ClosingStream(response.body, lambda: self.close(status=response.status)))

    def error_json(self, error: GatewayError) -> dict[str, Any]:
        """Build the error body of contract §5, with the attempts where upstream was called."""
        self.outcome = error.code
        summary = self.log.summary
        if self.on_billed_error is not None and not error.retry_safe and not summary.costs_nothing:
            self.on_billed_error(error)
        return error_body(
            error,
            event_id=self.event_id,
            model_requested=self.model_requested,
            stream=self.stream,
            attempts=summary.as_json() if summary.entries or summary.calls else None,
        )

    def _record(self, status: int | None) -> CallRecord:
        summary = self.log.summary
        is_lost = self.outcome == LEFT and not summary.costs_nothing
        return CallRecord(
            event_id=self.event_id,
            caller=None if self.caller is None else self.caller.id,
            deployment=self.deployment,
            deployment_used=self.deployment_used,
            stream=self.stream,
            outcome=self.outcome,
            attempts=summary.calls,
            tried=tuple(f"{entry.deployment} {entry.outcome} {entry.status or '-'}" for entry in summary.lines),
            status=status,
            latency_ms=self.latency_ms,
            perhaps_billed=summary.perhaps_billed or is_lost,
        )


class _ClosingStream:
    """A stream that runs something once it has been closed."""

    def __init__(self, stream: Stream, on_close: Callable[[], None]) -> None:
        self._stream = stream
        self._on_close = on_close

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._on_close()
