"""One call from its arrival to its end: recorded, checked, then a fault or a picture.

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

from emulator import doors, errors, identity, names
from emulator.answers import Manner, Studio, give
from emulator.calls import Call, Calls, Kind
from emulator.doors import Secrets
from emulator.errors import Answer, Refused
from emulator.exchange import ClientLeft, Exchange, read_body
from emulator.families import Engine
from emulator.faults import Instead
from emulator.names import Deployment
from emulator.pictures import Shelf
from emulator.rules import Order, order

_DATED = re.compile(r"20\d\d-[01]\d-[0-3]\d(-preview)?")
_V1_VERSIONS = ("v1", "preview", "latest", None)
_FIRST_WITH_GPT_IMAGE = "2025-04-01"


@dataclass(frozen=True, kw_only=True)
class Service:
    """What all calls share."""

    secrets: Secrets
    calls: Calls
    shelf: Shelf
    thinking: float


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
        call = self._recorded(request, _parsed(raw))
        exchange = Exchange(scope, receive, send, call=call, calls=calls)
        try:
            await _while_there(exchange, self._answer(exchange, request, call))
        finally:
            if call.state == "open":
                calls.end(call, "left")

    def _recorded(self, request: Request, body: Any) -> Call:
        connection = request.scope.get("state", {}).get("connection")
        model = body.get("model") if isinstance(body, dict) else None
        in_body = model if self.kind == "v1" and isinstance(model, str) else ""
        return self.service.calls.begin(
            kind=self.kind,
            method=request.method,
            deployment=request.path_params.get("deployment", in_body),
            connection=connection.number if connection else 0,
            headers=doors.recorded(request.headers),
            api_version=request.query_params.get("api-version"),
            query=dict(request.query_params),
            body=body,
            auth=doors.auth(request.headers, self.kind, self.service.secrets),
        )

    async def _answer(self, exchange: Exchange, request: Request, call: Call) -> None:
        try:
            if call.kind == "identity" and call.method == "GET":
                await exchange.answer(identity.token(request.query_params, request.headers, self.service.secrets))
                return
            _let_in(call, request)
            deployment = _deployment(call)
            accepted = order(deployment.family, call.body, model_is_deployment=call.kind == "v1")
            await self._carry_out(exchange, request, call, deployment, accepted)
        except Refused as refused:
            await exchange.answer(_signed(refused.answer))

    async def _carry_out(
        self, exchange: Exchange, request: Request, call: Call, deployment: Deployment, accepted: Order
    ) -> None:
        fault = self._fault(request, call, deployment)
        if not fault:
            manner: Manner | Instead = Manner()
        else:
            call.fault = fault.name
            manner = fault.row.fault(fault.name, stream=accepted.stream)
        if isinstance(manner, Instead):
            await _do(exchange, manner)
            return
        base_url = str(request.base_url)
        studio = Studio(thinking=self.service.thinking, shelf=self.service.shelf, base_url=base_url)
        await give(exchange, accepted, manner, studio, doors.answer_headers(200))

    def _fault(self, request: Request, call: Call, deployment: Deployment) -> names.Met | None:
        """Find the fault that this call meets: the header's, else the deployment's."""
        asked = request.headers.get(doors.FAULT_HEADER)
        fault = names.fault(f"fault-{asked}") if asked else deployment.fault
        if asked and not fault:
            message = f"{doors.FAULT_HEADER}: there is no fault '{asked}'; GET / lists them."
            raise Refused(errors.bad_request(message, param=None, code="unknown_fault"))
        if fault and self.service.calls.meets(call.deployment, fault.name, fault.times):
            return fault
        return None


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


async def _while_there(exchange: Exchange, answering: Coroutine[Any, Any, None]) -> None:
    """Answer while watching the client; stop at once if it leaves before the end."""
    work = asyncio.ensure_future(answering)
    leaving = asyncio.ensure_future(exchange.left())
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() or exchange.call.state == "answered":
            await work
            await leaving  # if we broke off ourselves, the server may only be returned to when it knows
    except ClientLeft:
        return
    finally:
        work.cancel()
        leaving.cancel()
        await asyncio.gather(work, leaving, return_exceptions=True)


def _let_in(call: Call, request: Request) -> None:
    if doors.custom_headers(request.headers) > doors.MOST_CUSTOM_HEADERS:
        raise Refused(errors.too_many_headers())
    if call.auth in ("none", "wrong"):
        raise Refused(errors.access_denied())
    version = call.api_version
    known = version in _V1_VERSIONS if call.kind == "v1" else _DATED.fullmatch(version or "")
    if call.kind == "identity" or call.method != "POST" or not known:
        raise Refused(errors.resource_not_found())


def _deployment(call: Call) -> Deployment:
    if not call.deployment:
        message = "Missing required parameter: 'model'."
        raise Refused(errors.bad_request(message, param="model", code="missing_required_parameter"))
    deployment = names.deployment(call.deployment)
    if not deployment:
        raise Refused(errors.deployment_not_found())
    call.model = deployment.family.name
    too_old = call.kind == "deployment" and (call.api_version or "") < _FIRST_WITH_GPT_IMAGE
    if too_old and deployment.family.engine is not Engine.DALL_E:
        raise Refused(errors.wrong_operation(deployment.family.name))
    return deployment


def _signed(answer: Answer) -> Answer:
    return replace(answer, headers=(*answer.headers, *doors.answer_headers(answer.status)))


async def _do(exchange: Exchange, instead: Instead) -> None:
    await asyncio.sleep(instead.wait)
    match instead.does:
        case "reset":
            await exchange.reset()
        case "close":
            exchange.close()
        case "hang":
            await asyncio.Event().wait()
        case Answer() as answer:
            await exchange.answer(_signed(answer))
