"""The walk of a call through the house: who → what → where, and may they, and can they still → do it → answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from core.auth.credentials import read_credential
from core.deployments.parameters import gives_url
from core.deployments.route_plan import make_plan
from core.domain.errors import (
    BodyTooLarge,
    BodyTooSlow,
    GatewayError,
    InternalFault,
    InvalidRequest,
    NotFound,
    RecordsUnavailable,
    Stopping,
)
from core.domain.request import DEPLOYMENT_NAME, parse_api_version, parse_request
from core.domain.response import HttpResponse
from core.generation import Wish
from core.idempotency.key import accepts_duplicate, read_idempotency_key
from core.idempotency.replay import StoredBody, release, replay, store_response
from core.idempotency.store import IdempotencyClaim
from core.images.hosting import NAME, CallHosting
from core.jobs.http_api import prefers_job
from core.refusals import refusal, request_id
from core.responses.envelope import Envelope
from core.tasks import uninterrupted
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.auth.authenticator import Authenticator
    from core.auth.caller import Caller
    from core.call import Bookkeeping, Books
    from core.deployments.catalogue import Catalogue
    from core.deployments.route_plan import RoutePlan
    from core.domain.request import ImageRequest
    from core.generation import Studio
    from core.idempotency.store import IdempotencyStore, StoredResponse
    from core.images.hosting import ImageHosting
    from core.jobs.http_api import JobsApi


class Call(Struct, frozen=True, kw_only=True):
    """A call as it came in, before anything about it is believed."""

    deployment: str
    """The deployment named in the path."""
    headers: Sequence[tuple[str, str]]
    """In their order, names in lower case."""
    query: Sequence[tuple[str, str]] = ()
    body: bytes | BodyTooLarge | BodyTooSlow
    """The body, or why it was not read to its end."""
    arrived_at: float | None = None
    """When its head was there, by `Gateway.clock`; None: now."""

    @property
    def whole_body(self) -> bytes:
        """The body. Raises BodyTooLarge (413) or BodyTooSlow (408)."""
        if isinstance(self.body, bytes):
            return self.body
        raise self.body


class _Checked(Struct, frozen=True, kw_only=True):
    """A call that may be made."""

    call: Call
    caller: Caller
    request: ImageRequest
    plan: RoutePlan
    api_version: str | None


class Gateway:
    """Answers calls. Built once, by `bootstrap`."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        catalogue: Catalogue,
        bookkeeping: Bookkeeping,
        studio: Studio,
        pictures: ImageHosting,
        once: IdempotencyStore,
        orders: JobsApi,
    ) -> None:
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._bookkeeping = bookkeeping
        self._studio = studio
        self._pictures = pictures
        self._once = once
        self._orders = orders

    @property
    def clock(self) -> Callable[[], float]:
        """Monotonic, in seconds; `Call.arrived_at` is by it."""
        return self._studio.clock

    async def generate_image(self, call: Call) -> HttpResponse:
        """Answer `POST …/images/generations`. Only cancellation is raised: the caller has gone."""
        began_at = self.clock() if call.arrived_at is None else call.arrived_at
        envelope = Envelope(event_id=request_id(call.headers), clock=self.clock, began_at=began_at)
        books = self._bookkeeping.open(call.deployment, envelope)
        try:
            reply = books.closed_with(await self._reply(call, envelope, books))
        except asyncio.CancelledError:
            books.close(status=None)
            raise
        reply = await books.with_limits(reply)
        return reply.with_headers({"x-request-id": envelope.event_id})

    async def _reply(self, call: Call, envelope: Envelope, books: Books) -> HttpResponse:
        try:
            return await self._answer(call, envelope, books)
        except GatewayError as error:
            return envelope.refused(error)
        except Exception as fault:  # noqa: BLE001 -- the one place where a fault of ours becomes an answer
            write_fault(fault, envelope.event_id)
            return envelope.refused(InternalFault(retry_safe=envelope.journal.trail.costs_nothing))

    async def _answer(self, call: Call, envelope: Envelope, books: Books) -> HttpResponse:
        caller = books.caller = await self._authenticator.caller_of(read_credential(call.headers))
        if DEPLOYMENT_NAME.fullmatch(call.deployment) is None:
            raise NotFound("That is not a deployment's name", code="deployment_not_found")
        request = books.request = parse_request(call.whole_body)
        envelope.model_requested = request.model
        envelope.stream = request.streams
        api_version = parse_api_version([value for name, value in call.query if name.lower() == "api-version"])
        plan = books.plan = make_plan(self._catalogue, request, call.deployment, caller.may_call)
        checked = _Checked(call=call, caller=caller, request=request, plan=plan, api_version=api_version)
        later = prefers_job(call.headers) and not request.streams
        return await (self._order(checked, envelope, books) if later else self._draw(checked, envelope, books))

    async def _draw(self, checked: _Checked, envelope: Envelope, books: Books) -> HttpResponse:
        """Draw now; under a name, once."""
        if self._studio.is_closed:
            raise Stopping(retry_safe=True)
        hosting = self._hosting(checked, envelope)
        claim = await self._claim(checked, envelope, later=False)
        if isinstance(claim, HttpResponse):
            return claim
        try:
            await books.admit(overrun_seconds=0.0 if claim is None else self._studio.overrun_seconds)
        except BaseException:
            await release(claim, event_id=envelope.event_id)
            raise
        wish = Wish(request=checked.request, plan=checked.plan, api_version=checked.api_version, hosting=hosting)
        return await self._studio.draw(wish, envelope, books, claim)

    async def _order(self, checked: _Checked, envelope: Envelope, books: Books) -> HttpResponse:
        """Take an order for a job; under a name, once. It is taken whole or not at all, whoever leaves meanwhile."""
        base_url = self._base_url(checked.call)
        if base_url is None:
            raise _no_address("Jobs answer with URLs, and this gateway has no address at which", "Prefer")
        claim = await self._claim(checked, envelope, later=True)
        if isinstance(claim, HttpResponse):
            return claim
        return await uninterrupted(self._ordered(checked, envelope, books, base_url, claim))

    async def _ordered(
        self, checked: _Checked, envelope: Envelope, books: Books, base_url: str, claim: IdempotencyClaim | None
    ) -> HttpResponse:
        try:
            reply = await self._orders.submit(
                checked.caller,
                books,
                deployment=checked.call.deployment,
                api_version=checked.api_version,
                body=checked.call.whole_body,
                base_url=base_url,
                event_id=envelope.event_id,
            )
        except GatewayError as error:
            if error.retry_safe or not isinstance(error, RecordsUnavailable):  # else the job may be carried out
                await release(claim, event_id=envelope.event_id)
            raise
        envelope.outcome = "accepted"
        if claim is not None:
            await store_response(claim, reply, event_id=envelope.event_id, wait=self._studio.wait)
        return reply

    async def _claim(
        self, checked: _Checked, envelope: Envelope, *, later: bool
    ) -> IdempotencyClaim | HttpResponse | None:
        """Claim the name that a caller gave the call; or the answer that is kept under it. None: it has no name."""
        call = checked.call
        name = read_idempotency_key(
            call.headers,
            checked.caller,
            checked.request,
            deployment=call.deployment,
            api_version=checked.api_version,
            later=later,
        )
        if name is None:
            return None
        event_id = envelope.event_id

        async def give_back(claim: IdempotencyClaim | StoredResponse) -> None:
            if isinstance(claim, IdempotencyClaim):
                await release(claim, event_id=event_id)

        accept_duplicate = accepts_duplicate(call.headers)
        claim = await uninterrupted(
            self._once.claim(name, event_id=event_id, accept_duplicate=accept_duplicate), undo=give_back
        )
        if isinstance(claim, IdempotencyClaim):
            return claim
        envelope.outcome = "replayed"
        return replay(claim)

    def _base_url(self, call: Call) -> str | None:
        return self._pictures.base_url(next((value for name, value in call.headers if name == "host"), None))

    def _hosting(self, checked: _Checked, envelope: Envelope) -> CallHosting | None:
        """What gives pictures their URLs, where they are asked for. Raises InvalidRequest where nothing can."""
        request, plan = checked.request, checked.plan
        if request.response_format != "url" or request.streams:
            return None
        base_url = self._base_url(checked.call)
        if base_url is not None:
            return CallHosting(
                pictures=self._pictures, base_url=base_url, seconds_left=lambda: self._studio.seconds_left(envelope)
            )
        if all(step.deployment.family is not None and gives_url(step.deployment.family) for step in plan.steps):
            return None
        raise _no_address("This gateway has no address at which", "response_format", "; ask for b64_json")

    async def picture(self, name: str, headers: Sequence[tuple[str, str]]) -> HttpResponse:
        """Answer `GET /images/{name}`: a stored picture, to whoever knows its name."""
        content = None if self._pictures.own_address or not NAME.fullmatch(name) else await self._pictures.open(name)
        if content is None:
            return refusal(NotFound("There is no such picture, or no longer"), headers)
        return HttpResponse(
            status=200,
            headers={
                "content-type": content.content_type,
                "content-length": str(content.size),
                "cache-control": "private, max-age=3600",
                "content-security-policy": "default-src 'none'",
                "x-content-type-options": "nosniff",
                "x-request-id": request_id(headers),
            },
            body=StoredBody(content),
        )

    async def job(self, job_id: str, headers: Sequence[tuple[str, str]]) -> HttpResponse:
        """Answer `GET /jobs/{id}`."""
        return await self._orders.show(job_id, headers, request_id(headers))

    async def cancel_job(self, job_id: str, headers: Sequence[tuple[str, str]]) -> HttpResponse:
        """Answer `DELETE /jobs/{id}`."""
        return await self._orders.cancel(job_id, headers, request_id(headers))

    def end_calls(self) -> None:
        """End the calls that are still in flight, because the process ends: each is told so."""
        self._studio.end_calls()

    async def flush(self, seconds: float) -> None:
        """Keep what the calls so far came to, because the process ends; what cannot be kept in time is lost."""
        await self._bookkeeping.flush(seconds)


def _no_address(what: str, param: str, cure: str = "") -> InvalidRequest:
    return InvalidRequest(
        f"{what} pictures could be fetched{cure}; its operator can set AzureWebJobsStorage or GATEWAY_PUBLIC_URL",
        code="url_not_available",
        param=param,
    )
