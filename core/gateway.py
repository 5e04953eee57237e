"""The walk of a generation: who calls → what for → where, and may they → is it within their limits → draw → answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.auth.credentials import read_credential
from core.call import CallContext
from core.deployments.parameters import gives_url
from core.domain.errors import (
    GatewayError,
    InvalidRequest,
    NotFound,
    RecordsUnavailable,
    Stopping,
)
from core.domain.json_input import parse_object
from core.domain.request import DEPLOYMENT_NAME, parse_api_version, read_request
from core.domain.response import HttpResponse
from core.errors_http import guard
from core.generation_task import GenerationTask, Shutdown
from core.idempotency.replay import StoredBody, release, store_response
from core.images.hosting import NAME, CallHosting
from core.jobs.http_api import prefers_job
from core.responses.json import respond_json
from core.responses.response_builder import ResponseBuilder
from core.responses.sse import respond_stream
from core.tasks import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.auth.authenticator import Authenticator
    from core.call import Accounting
    from core.deployments.catalogue import Catalogue
    from core.domain.http_request import HttpRequest
    from core.idempotency.store import IdempotencyClaim
    from core.images.hosting import ImageHosting
    from core.jobs.http_api import JobsApi
    from core.limits.key_calls import KeyCalls
    from core.repeated_calls import RepeatedCalls
    from core.routing.executor import Executor, TimeLimits


class Gateway:
    """Answers calls. Built once, by `adapters.bootstrap`."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        catalogue: Catalogue,
        accounting: Accounting,
        executor: Executor,
        limits: TimeLimits,
        heartbeat_seconds: float,
        hosting: ImageHosting,
        repeated: RepeatedCalls,
        key_calls: KeyCalls,
        jobs: JobsApi,
        clock: Callable[[], float],
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """`clock` is monotonic, in seconds; `wait` lets seconds go by."""
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._accounting = accounting
        self._executor = executor
        self._limits = limits
        self._heartbeat_seconds = heartbeat_seconds
        self._hosting = hosting
        self._repeated = repeated
        self._key_calls = key_calls
        self._jobs = jobs
        self.clock = clock
        """Monotonic, in seconds; `HttpRequest.arrived_at` is by it."""
        self._wait = wait
        self._shutdown = Shutdown()

    async def generate_image(self, request: HttpRequest) -> HttpResponse:
        """Answer `POST …/images/generations`. Only cancellation is raised: the caller has gone."""
        call = CallContext(
            self._accounting,
            deployment=request.parameters.get("deployment"),
            event_id=request.event_id,
            clock=self.clock,
            began_at=self.clock() if request.arrived_at is None else request.arrived_at,
        )
        try:
            response = await guard(self._answer(request, call), call)
            if response.status >= 400:
                await self._repeated.flush(call)  # what a repeat gets is stored before it can come
            response = call.close_with(response)
        except asyncio.CancelledError:
            call.close(status=None)
            raise
        return response.with_headers({**call.limit_headers, "x-request-id": call.event_id})

    async def _answer(self, request: HttpRequest, call: CallContext) -> HttpResponse:
        call.caller = caller = await self._authenticator.authenticate(read_credential(request.headers))
        self._key_calls.check(caller.scope)
        deployment = request.parameters.get("deployment")
        if deployment is not None and DEPLOYMENT_NAME.fullmatch(deployment) is None:
            raise NotFound("That is not a deployment's name", code="deployment_not_found")
        fields = parse_object(request.content)
        call.note_fields(fields)
        image_request = read_request(fields, deployment)
        api_version = parse_api_version([value for name, value in request.query if name.lower() == "api-version"])
        call.resolve(self._catalogue, image_request, deployment, api_version)
        if prefers_job(request.headers) and not image_request.streams:
            return await self._submit_job(request, call)
        return await self._generate(request, call)

    async def _generate(self, request: HttpRequest, call: CallContext) -> HttpResponse:
        """Generate now; under an idempotency key, once."""
        if self._shutdown.has_begun:
            raise Stopping(retry_safe=True)
        builder = ResponseBuilder(call, self._call_hosting(request, call))
        claim = await self._repeated.claim(call, request.headers, later=False)
        if isinstance(claim, HttpResponse):
            return claim
        if claim is None and (task := await self._repeated.pick_up(call, request.headers)) is not None:
            return await self._respond(task, builder)
        try:
            await call.reserve(overrun_seconds=0.0 if claim is None else self._limits.attempt)
            call.on_close = self._key_calls.take(call.known_caller.scope)
        except BaseException:
            await release(claim, event_id=call.event_id)
            raise
        time = self._limits.time(call.began_at, overruns=claim is not None)
        task = GenerationTask(
            lambda show: call.generate(self._executor, time=time, show=show),
            self._shutdown,
            call,
            seconds=self._seconds_left(call),
            store=None if claim is None else self._repeated.storing(claim, builder),
            lingering=self._repeated.lingering(call) if claim is None else None,
        )
        return await self._respond(task, builder)

    async def _respond(self, task: GenerationTask, builder: ResponseBuilder) -> HttpResponse:
        if builder.call.stream:
            return await respond_stream(task, builder, heartbeat_seconds=self._heartbeat_seconds)
        return await respond_json(task, builder)

    async def _submit_job(self, request: HttpRequest, call: CallContext) -> HttpResponse:
        """Accept a job; under an idempotency key, once. Accepted whole or not at all, whoever leaves meanwhile."""
        base_url = self._base_url(request)
        if base_url is None:
            raise _no_address("Jobs answer with URLs, and this gateway has no address at which", "Prefer")
        claim = await self._repeated.claim(call, request.headers, later=True)
        if isinstance(claim, HttpResponse):
            return claim
        return await uninterrupted(self._accept_job(request, call, base_url, claim))

    async def _accept_job(
        self, request: HttpRequest, call: CallContext, base_url: str, claim: IdempotencyClaim | None
    ) -> HttpResponse:
        try:
            response = await self._jobs.submit(
                call, deployment=call.deployment, body=request.content, base_url=base_url
            )
        except GatewayError as error:
            if error.retry_safe or not isinstance(error, RecordsUnavailable):  # else the job may be carried out
                await release(claim, event_id=call.event_id)
            raise
        call.outcome = "accepted"
        if claim is not None:
            await store_response(claim, response, event_id=call.event_id, wait=self._wait)
        return response

    def _base_url(self, request: HttpRequest) -> str | None:
        return self._hosting.base_url(request.header("host"))

    def _call_hosting(self, request: HttpRequest, call: CallContext) -> CallHosting | None:
        """What gives pictures their URLs, where they are asked for. Raises InvalidRequest where nothing can."""
        if call.request is None or call.plan is None or call.request.response_format != "url" or call.stream:
            return None
        base_url = self._base_url(request)
        if base_url is not None:
            return CallHosting(pictures=self._hosting, base_url=base_url, seconds_left=lambda: self._seconds_left(call))
        if all(step.deployment.family is not None and gives_url(step.deployment.family) for step in call.plan.steps):
            return None
        raise _no_address("This gateway has no address at which", "response_format", "; ask for b64_json")

    def _seconds_left(self, call: CallContext) -> float:
        """What is left of a call's time."""
        return call.began_at + self._limits.call - self.clock()

    async def show_image(self, request: HttpRequest) -> HttpResponse:
        """Answer `GET /images/{name}`: a stored picture, to whoever knows its name."""
        name = request.parameters["name"]
        content = None if self._hosting.own_address or not NAME.fullmatch(name) else await self._hosting.open(name)
        if content is None:
            raise NotFound("There is no such picture, or no longer")
        return HttpResponse(
            status=200,
            headers={
                "content-type": content.content_type,
                "content-length": str(content.size),
                "cache-control": "private, max-age=3600",
                "content-security-policy": "default-src 'none'",
                "x-content-type-options": "nosniff",
            },
            body=StoredBody(content),
        )

    def end_calls(self) -> None:
        """End the calls that are still in flight, because the process ends: each is told so."""
        self._shutdown.begin()

    async def flush(self, seconds: float) -> None:
        """Keep what the calls so far came to, because the process ends; what cannot be kept in time is lost."""
        await self._accounting.flush(seconds)


def _no_address(what: str, param: str, cure: str = "") -> InvalidRequest:
    return InvalidRequest(
        f"{what} pictures could be fetched{cure}; its operator can set AzureWebJobsStorage or GATEWAY_PUBLIC_URL",
        code="url_not_available",
        param=param,
    )
