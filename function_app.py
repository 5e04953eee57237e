"""The Functions adapter: triggers in, replies out. It decides nothing; `core/` does.

Route templates are ASP.NET's. Which of two matching functions gets a call is decided by the alphabetical order of
their names (azure-functions-host issue 9876), so the one that takes every path has the last name of all. Each takes
every method, because a method that no function takes is the host's own empty 404.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

import azure.functions as func
from starlette.requests import ClientDisconnect

from core import refusals as answers
from core.bootstrap import construct, report
from core.contract.errors import Misconfigured
from core.contract.reply import json_reply
from core.contract.request import MAX_BODY_BYTES
from core.environment import SettingsError
from core.gateway import Call
from core.logs import write_to_the_console
from core.settings import read_settings
from core.storage.tables import StoreUnavailable
from web_extension import Request, Response, StreamingResponse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from core.bootstrap import Built
    from core.contract.document import Buffer
    from core.contract.errors import BodyTooLarge, BodyTooSlow
    from core.contract.reply import Reply, Stream
    from core.gateway import Gateway

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BODY_SECONDS: Final = 30.0
"""How long a request's body may take to arrive."""
MOST_DRAINED_BYTES: Final = 8 << 20
"""How much of a body that is too large is read and thrown away: an answer given earlier breaks the host's proxy."""
FLUSH_SECONDS: Final = 2.0
"""How long the end of the process waits for the store."""
CLIENT_CLOSED_REQUEST: Final = 499
"""What is returned to a caller that has gone. Nobody sees it but the host's log (nginx's status for that)."""

_log = logging.getLogger(__name__)


def _start() -> tuple[Built | None, str]:
    """Build everything, or say what is wrong with the settings: an app that fails to import is no app at all."""
    try:
        settings = read_settings(os.environ)
        built = construct(settings)
    except SettingsError as error:
        _log.critical("The gateway is misconfigured. %s", error)
        return None, f"The gateway is misconfigured. {error}"
    for line in report(settings):
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
    body = await _body(req)
    if body is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    headers = _headers(req)
    if req.method != "POST":
        return _response(answers.wrong_method(req.method, "POST", headers))
    if _gateway is None:
        return _response(answers.misconfigured(headers))
    call = Call(
        deployment=req.path_params["deployment"],
        headers=headers,
        query=req.query_params.multi_items(),
        body=body,
        arrived_at=arrived_at,
    )
    reply = await _unless_the_caller_leaves(req, _gateway, call)
    return Response(status_code=CLIENT_CLOSED_REQUEST) if reply is None else _response(reply)


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
    await _body(req)
    headers = _headers(req)
    if req.method not in {"GET", "HEAD"}:
        return _response(answers.wrong_method(req.method, "GET, HEAD", headers))
    status = "misconfigured" if startup_error else "ok"
    return _response(json_reply(200, {"status": status}, {"x-request-id": answers.request_id(headers)}))


@app.function_name("image")
@app.route("images/{name}", methods=METHODS)
async def image(req: Request) -> Response:
    """Show a stored picture to whoever knows its name, where the store has no address of its own."""
    await _body(req)
    headers = _headers(req)
    if req.method not in {"GET", "HEAD"}:
        return _response(answers.wrong_method(req.method, "GET, HEAD", headers))
    if _gateway is None:
        return _response(answers.misconfigured(headers))
    return _response(await _gateway.picture(req.path_params["name"], headers))


@app.function_name("job")
@app.route("jobs/{id}", methods=METHODS)
async def job(req: Request) -> Response:
    """Show a job, or cancel it."""
    await _body(req)
    headers = _headers(req)
    if req.method not in {"GET", "HEAD", "DELETE"}:
        return _response(answers.wrong_method(req.method, "GET, HEAD, DELETE", headers))
    if _gateway is None:
        return _response(answers.misconfigured(headers))
    answer = _gateway.cancel_job if req.method == "DELETE" else _gateway.job
    return _response(await answer(req.path_params["id"], headers))


@app.function_name("openapi")
@app.route("openapi.json", methods=METHODS)
async def openapi(req: Request) -> Response:
    """Describe this API (OpenAPI 3.1)."""
    from core.openapi.document import answer  # noqa: PLC0415 -- few ask, and it takes a while

    await _body(req)
    headers = _headers(req)
    if req.method not in {"GET", "HEAD"}:
        return _response(answers.wrong_method(req.method, "GET, HEAD", headers))
    return _response(answer(headers))


@app.function_name("zz_unknown_path")
@app.route("{*path}", methods=METHODS)
async def unknown_path(req: Request) -> Response:
    """Answer every other path with the error body, `/docs` and the like included."""
    await _body(req)
    return _response(answers.unknown_path(_headers(req)))


def _working() -> Built:
    if _built is None:
        raise AssertionError("queues are listened to only where the settings are right")
    return _built


if _built is not None and _built.takes_messages:  # without storage a queue trigger would keep the host from starting
    from queue_functions import queue_functions

    app.register_functions(queue_functions(_working))


async def _administer(request: Request, route: str) -> Response:
    """Hand a call to the administration. It goes on where the caller leaves: a change is made, or it is not."""
    from core.administration.call import AdminCall, refusal  # noqa: PLC0415 -- with the first call of an operator

    body = await _body(request)
    if body is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    headers = _headers(request)
    if _built is None:
        return _response(refusal(Misconfigured(), headers))
    call = AdminCall(
        route=route,
        method=request.method,
        headers=headers,
        query=request.query_params.multi_items(),
        body=body,
        key_id=request.path_params.get("id", ""),
    )
    return _response(await _built.administration().answer(call))


def _headers(request: Request) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]


async def _body(request: Request) -> bytes | BodyTooLarge | BodyTooSlow | None:
    """Read the body within its bounds; None: the caller has gone."""
    kept = bytearray()
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                size += len(piece)
                if size <= MAX_BODY_BYTES:
                    kept += piece
                elif size > MOST_DRAINED_BYTES:
                    break
    except TimeoutError:
        return answers.too_slow()
    except ClientDisconnect:
        return None
    return bytes(kept) if size <= MAX_BODY_BYTES else answers.too_large()


async def _unless_the_caller_leaves(request: Request, gateway: Gateway, call: Call) -> Reply | None:
    """Answer a call, or stop at once where the caller has gone: every second of waiting may be paid for.

    The function itself must not raise CancelledError: the worker would let the host wait for ever.
    """
    answer = asyncio.create_task(gateway.generate_image(call))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not answer.done():
            answer.cancel()
            await asyncio.wait({answer})
    return None if answer.cancelled() else answer.result()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _InPieces(Response):
    """An answer that is there whole, in pieces that are not joined; each is sent when there is room for it.

    Starlette's StreamingResponse would do, with a task more for each call, and anyio's loop at the first.
    """

    def __init__(self, reply: Reply, pieces: tuple[Buffer, ...]) -> None:
        length = str(sum(len(piece) for piece in pieces))
        super().__init__(status_code=reply.status, headers={**reply.headers, "content-length": length})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's
        """Send it (ASGI)."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Streamed(StreamingResponse):
    """A stream that is closed however it ends, also where nobody began to read it."""

    def __init__(self, reply: Reply, stream: Stream) -> None:
        super().__init__(stream, status_code=reply.status, headers=dict(reply.headers))
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.aclose()


def _response(reply: Reply) -> Response:
    if not isinstance(reply.body, tuple):
        return _Streamed(reply, reply.body)
    if len(reply.body) == 1:
        return Response(bytes(reply.body[0]), status_code=reply.status, headers=dict(reply.headers))
    return _InPieces(reply, reply.body)
