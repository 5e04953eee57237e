"""One call from its arrival to its end: recorded, validated, then answered with a fault or with pictures.

Facts: Azure OpenAI docs, REST reference: the deployment path needs a dated `api-version`, the v1 path
needs none and takes the deployment's name from the body's `model`.
"""

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from emulator import access, errors
from emulator.access import Credentials
from emulator.calls import Call, Calls, Kind
from emulator.deployment_names import Deployment, NamedFault, parse_deployment, parse_fault
from emulator.errors import HttpResponse, RequestRefused
from emulator.exchange import ClientDisconnected, Exchange, read_body
from emulator.faults import Effect, Failure
from emulator.image_response import Generator, ResponseOptions, send_images
from emulator.managed_identity import answer_token_request
from emulator.pictures import PictureStore
from emulator.validation import ImageRequest, validate

_DATED_VERSION = re.compile(r"20\d\d-[01]\d-[0-3]\d(-preview)?")
_V1_VERSIONS = ("v1", "preview", "latest", None)


@dataclass(frozen=True, kw_only=True)
class Service:
    """What all calls share."""

    credentials: Credentials
    calls: Calls
    store: PictureStore
    picture_seconds: float


class Endpoint:
    """One kind of path, as an ASGI application: any method is recorded, also those that are then refused."""

    def __init__(self, kind: Kind, service: Service) -> None:
        self.kind = kind
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw = await read_body(receive)
        if raw is None:
            return
        request, calls = Request(scope), self.service.calls
        call = self._record(request, _parse(raw))
        exchange = Exchange(scope, receive, send, call=call, calls=calls)
        try:
            await _run_while_connected(exchange, self._answer(exchange, request, call))
        finally:
            if call.state == "open":
                calls.end(call, "left")

    def _record(self, request: Request, body: Any) -> Call:
        connection = request.scope.get("state", {}).get("connection")
        model = body.get("model") if isinstance(body, dict) else None
        model_in_body = model if self.kind == "v1" and isinstance(model, str) else ""
        return self.service.calls.begin(
            kind=self.kind,
            method=request.method,
            deployment=request.path_params.get("deployment", model_in_body),
            connection=connection.number if connection else 0,
            headers=access.mask_secrets(request.headers),
            api_version=request.query_params.get("api-version"),
            query=dict(request.query_params),
            body=body,
            auth=access.authenticate(request.headers, self.kind, self.service.credentials),
        )

    async def _answer(self, exchange: Exchange, request: Request, call: Call) -> None:
        try:
            if call.kind == "identity" and call.method == "GET":
                token = answer_token_request(request.query_params, request.headers, self.service.credentials)
                await exchange.respond(token)
                return
            _check_access(call, request)
            deployment = _find_deployment(call)
            accepted = validate(deployment.family, call.body, model_is_deployment=call.kind == "v1")
            await self._carry_out(exchange, request, call, deployment, accepted)
        except RequestRefused as refused:
            await exchange.respond(_with_headers(refused.response))

    async def _carry_out(
        self, exchange: Exchange, request: Request, call: Call, deployment: Deployment, accepted: ImageRequest
    ) -> None:
        effect: Effect = ResponseOptions()
        if fault := self._find_fault(request, call, deployment):
            call.fault = fault.name
            effect = fault.fault.effect(fault.name, stream=accepted.stream)
        if isinstance(effect, Failure):
            await _fail(exchange, effect)
            return
        if effect.refused_key in call.body:
            raise RequestRefused(errors.unknown_parameter(effect.refused_key))
        generator = Generator(
            seconds=self.service.picture_seconds, store=self.service.store, base_url=str(request.base_url)
        )
        await send_images(exchange, accepted, effect, generator, access.response_headers(200))

    def _find_fault(self, request: Request, call: Call, deployment: Deployment) -> NamedFault | None:
        """Find the fault that this call meets: the header's, else the deployment's."""
        asked = request.headers.get(access.FAULT_HEADER)
        fault = parse_fault(f"fault-{asked}") if asked else deployment.fault
        if asked and not fault:
            message = f"{access.FAULT_HEADER}: there is no fault '{asked}'; GET / lists them."
            raise RequestRefused(errors.bad_request(message, param=None, code="unknown_fault"))
        if fault and self.service.calls.meets_fault(call.deployment, fault.name, fault.times):
            return fault
        return None


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


async def _run_while_connected(exchange: Exchange, answering: Coroutine[Any, Any, None]) -> None:
    """Answer while watching the client; stop at once if it disconnects before the end."""
    work = asyncio.ensure_future(answering)
    disconnect = asyncio.ensure_future(exchange.wait_for_disconnect())
    try:
        await asyncio.wait({work, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() or exchange.call.state == "answered":
            await work
            await disconnect  # if we broke the connection, uvicorn must know of it before it has control again
    except ClientDisconnected:
        return
    finally:
        work.cancel()
        disconnect.cancel()
        await asyncio.gather(work, disconnect, return_exceptions=True)


def _check_access(call: Call, request: Request) -> None:
    if access.count_custom_headers(request.headers) > access.MAX_CUSTOM_HEADERS:
        raise RequestRefused(errors.too_many_headers())
    if call.auth in ("none", "wrong"):
        raise RequestRefused(errors.access_denied())
    version = call.api_version
    known = version in _V1_VERSIONS if call.kind == "v1" else _DATED_VERSION.fullmatch(version or "")
    if call.kind == "identity" or call.method != "POST" or not known:
        raise RequestRefused(errors.resource_not_found())


def _find_deployment(call: Call) -> Deployment:
    if not call.deployment:
        message = "Missing required parameter: 'model'."
        raise RequestRefused(errors.bad_request(message, param="model", code="missing_required_parameter"))
    deployment = parse_deployment(call.deployment)
    if not deployment:
        raise RequestRefused(errors.deployment_not_found())
    call.model = deployment.family.name
    if call.kind == "deployment" and (call.api_version or "") < deployment.family.min_api_version:
        raise RequestRefused(errors.wrong_operation(deployment.family.name))
    return deployment


def _with_headers(response: HttpResponse) -> HttpResponse:
    return replace(response, headers=(*response.headers, *access.response_headers(response.status)))


async def _fail(exchange: Exchange, failure: Failure) -> None:
    await asyncio.sleep(failure.delay_seconds)
    match failure.action:
        case "reset":
            await exchange.reset()
        case "close":
            exchange.close()
        case "hang":
            await asyncio.Event().wait()
        case HttpResponse() as response:
            await exchange.respond(_with_headers(response))
