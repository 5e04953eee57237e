"""The Functions adapter: triggers in, replies out. It decides nothing; `core/` does.

Route templates are ASP.NET's. Which of two matching functions gets a call is decided by the alphabetical order of
their names (azure-functions-host issue 9876), so the one that takes every path has the last name of all. Each takes
every method, because a method that no function takes is the host's own empty 404.
"""

from __future__ import annotations

import gc

gc.disable()  # until all is imported and built: what that makes stays, and looking at it takes 10 ms of a cold start

import logging
import os
from typing import TYPE_CHECKING, Final

import azure.functions as func

from adapters.bootstrap import compose, list_warnings
from adapters.functions.http import body_of, headers_of, query_of, response_of, to_nobody, unless_the_caller_leaves
from adapters.functions.web_extension import Request, Response  # noqa: TC001 -- the worker looks annotations up
from core import refusals as answers
from core.domain.errors import Misconfigured
from core.domain.response import json_response
from core.domain.settings_error import SettingsError
from core.gateway import Call
from core.settings.settings import read_settings
from core.storage.tables import StoreUnavailable
from core.telemetry.call_log import write_to_the_console

if TYPE_CHECKING:
    from adapters.bootstrap import App

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FLUSH_SECONDS: Final = 2.0
"""How long the end of the process waits for the store."""
_log = logging.getLogger(__name__)


def _start() -> tuple[App | None, str]:
    """Build everything, or say what is wrong with the settings: an app that fails to import is no app at all."""
    try:
        settings = read_settings(os.environ)
        built = compose(settings)
    except SettingsError as error:
        _log.critical("The gateway is misconfigured. %s", error)
        return None, f"The gateway is misconfigured. {error}"
    for line in list_warnings(settings):
        _log.warning("%s", line)
    return built, ""


if os.environ.get("FUNCTIONS_WORKER_RUNTIME"):
    write_to_the_console()
_built, startup_error = _start()
_gateway = None if _built is None else _built.gateway

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def end_calls() -> None:
    """End the calls in flight: whoever hosts this app says so when the process ends and they have had their time."""
    if _gateway is not None:
        _gateway.end_calls()


async def flush() -> None:
    """Keep what the calls came to: whoever hosts this app waits for it when the process ends and no call is left."""
    if _gateway is not None:
        await _gateway.flush(FLUSH_SECONDS)


async def check_start() -> str:
    """What is wrong with the settings that only the store can tell; empty: nothing, or that cannot be known now.

    For a host that can still refuse to start. In Azure it shows with the first call.
    """
    if _built is None:
        return startup_error
    try:
        clash = await _built.key_ring.clash()
    except StoreUnavailable as unavailable:
        _log.warning("The store cannot be reached at the start: %s", unavailable)
        return ""
    return "" if clash is None else f"The gateway is misconfigured. {clash}"


@app.function_name("generate_image")
@app.route("openai/openai/deployments/{deployment}/images/generations", methods=METHODS)
async def generate_image(req: Request) -> Response:
    """Draw pictures: the one call that this gateway is for."""
    arrived_at = None if _gateway is None else _gateway.clock()
    body = await body_of(req)
    if body is None:
        return to_nobody()
    headers = headers_of(req)
    if req.method != "POST":
        return response_of(answers.wrong_method(req.method, "POST", headers))
    if _gateway is None:
        return response_of(answers.misconfigured(headers))
    call = Call(
        deployment=req.path_params["deployment"],
        headers=headers,
        query=query_of(req),
        body=body,
        arrived_at=arrived_at,
    )
    return await unless_the_caller_leaves(req, _gateway.generate_image(call))


@app.function_name("governance_key")
@app.route("api/governance/virtual-keys/{id}", methods=METHODS)
async def governance_key(req: Request) -> Response:
    """Show, change or delete a virtual key."""
    return await _administer(req, "key")


@app.function_name("governance_key_rotate")
@app.route("api/governance/virtual-keys/{id}/rotate", methods=METHODS)
async def governance_key_rotate(req: Request) -> Response:
    """Give a virtual key a new secret."""
    return await _administer(req, "rotate")


@app.function_name("governance_key_usage")
@app.route("api/governance/virtual-keys/{id}/usage", methods=METHODS)
async def governance_key_usage(req: Request) -> Response:
    """Show what a virtual key has used."""
    return await _administer(req, "key_usage")


@app.function_name("governance_keys")
@app.route("api/governance/virtual-keys", methods=METHODS)
async def governance_keys(req: Request) -> Response:
    """List the virtual keys, or make one."""
    return await _administer(req, "keys")


@app.function_name("governance_usage")
@app.route("api/governance/usage", methods=METHODS)
async def governance_usage(req: Request) -> Response:
    """Show what all callers have used."""
    return await _administer(req, "usage")


@app.function_name("health")
@app.route("health", methods=METHODS)
async def health(req: Request) -> Response:
    """Say that the process lives. It touches nothing."""
    await body_of(req)
    headers = headers_of(req)
    if req.method not in {"GET", "HEAD"}:
        return response_of(answers.wrong_method(req.method, "GET, HEAD", headers))
    status = "misconfigured" if startup_error else "ok"
    return response_of(json_response(200, {"status": status}, {"x-request-id": answers.request_id(headers)}))


@app.function_name("image")
@app.route("images/{name}", methods=METHODS)
async def image(req: Request) -> Response:
    """Show a stored picture to whoever knows its name, where the store has no address of its own."""
    await body_of(req)
    headers = headers_of(req)
    if req.method not in {"GET", "HEAD"}:
        return response_of(answers.wrong_method(req.method, "GET, HEAD", headers))
    if _gateway is None:
        return response_of(answers.misconfigured(headers))
    return response_of(await _gateway.picture(req.path_params["name"], headers))


@app.function_name("job")
@app.route("jobs/{id}", methods=METHODS)
async def job(req: Request) -> Response:
    """Show a job, or cancel it."""
    await body_of(req)
    headers = headers_of(req)
    if req.method not in {"GET", "HEAD", "DELETE"}:
        return response_of(answers.wrong_method(req.method, "GET, HEAD, DELETE", headers))
    if _gateway is None:
        return response_of(answers.misconfigured(headers))
    answer = _gateway.cancel_job if req.method == "DELETE" else _gateway.job
    return response_of(await answer(req.path_params["id"], headers))


@app.function_name("openapi")
@app.route("openapi.json", methods=METHODS)
async def openapi(req: Request) -> Response:
    """Describe this API (OpenAPI 3.1)."""
    from core.openapi.document import answer  # noqa: PLC0415 -- few ask, and it takes a while

    await body_of(req)
    headers = headers_of(req)
    if req.method not in {"GET", "HEAD"}:
        return response_of(answers.wrong_method(req.method, "GET, HEAD", headers))
    return response_of(answer(headers))


@app.function_name("zz_unknown_path")
@app.route("{*path}", methods=METHODS)
async def unknown_path(req: Request) -> Response:
    """Answer every other path with the error body, `/docs` and the like included."""
    await body_of(req)
    return response_of(answers.unknown_path(headers_of(req)))


def _working() -> App:
    if _built is None:
        raise AssertionError("queues are listened to only where the settings are right")
    return _built


async def _administer(request: Request, route: str) -> Response:
    """Hand a call to the administration. It goes on where the caller leaves: a change is made, or it is not."""
    from core.admin.call import AdminCall, refusal  # noqa: PLC0415 -- with the first call of an operator

    body = await body_of(request)
    if body is None:
        return to_nobody()
    headers = headers_of(request)
    if _built is None:
        return response_of(refusal(Misconfigured(), headers))
    call = AdminCall(
        route=route,
        method=request.method,
        headers=headers,
        query=query_of(request),
        body=body,
        key_id=request.path_params.get("id", ""),
    )
    return response_of(await _built.administration().answer(call))


if _built is not None and _built.takes_messages:  # without storage a queue trigger would keep the host from starting
    from adapters.functions.queue_triggers import queue_functions

    app.register_functions(queue_functions(_working))

gc.enable()
gc.freeze()  # and need not be looked at later, either
