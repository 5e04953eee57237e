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

from core import gateway as answers
from core.bootstrap import build, report
from core.contract.reply import Stream, json_reply
from core.contract.request import MAX_BODY_BYTES
from core.environment import SettingsError
from core.logs import write_to_the_console
from core.settings import read_settings
from web_extension import Request, Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from core.contract.document import Buffer
    from core.contract.errors import BodyTooLarge, BodyTooSlow
    from core.contract.reply import Reply
    from core.gateway import Call, Gateway

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BODY_SECONDS: Final = 30.0
"""How long a request's body may take to arrive."""
MOST_DRAINED_BYTES: Final = 8 << 20
"""How much of a body that is too large is read and thrown away: an answer given earlier breaks the host's proxy."""
CLIENT_CLOSED_REQUEST: Final = 499
"""What is returned to a caller that has gone. Nobody sees it but the host's log (nginx's status for that)."""

_log = logging.getLogger(__name__)


def _start() -> tuple[Gateway | None, str]:
    """Build the gateway, or say what is wrong with the settings: an app that fails to import is no app at all."""
    try:
        settings = read_settings(os.environ)
        built = build(settings)
    except SettingsError as error:
        _log.critical("The gateway is misconfigured. %s", error)
        return None, f"The gateway is misconfigured. {error}"
    for line in report(settings):
        _log.warning("%s", line)
    return built, ""


if os.environ.get("FUNCTIONS_WORKER_RUNTIME"):
    write_to_the_console()
_gateway, startup_error = _start()

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def end_calls() -> None:
    """End the calls in flight: whoever hosts this app says so when the process ends and they have had their time."""
    if _gateway is not None:
        _gateway.end_calls()


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
    call = answers.Call(
        deployment=req.path_params["deployment"],
        headers=headers,
        query=req.query_params.multi_items(),
        body=body,
        arrived_at=arrived_at,
    )
    reply = await _unless_the_caller_leaves(req, _gateway, call)
    return Response(status_code=CLIENT_CLOSED_REQUEST) if reply is None else _response(reply)


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


@app.function_name("zz_unknown_path")
@app.route("{*path}", methods=METHODS)
async def unknown_path(req: Request) -> Response:
    """Answer every other path with the error body, `/docs` and the like included."""
    await _body(req)
    return _response(answers.unknown_path(_headers(req)))


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
    headers = dict(reply.headers)
    if isinstance(reply.body, Stream):
        return _Streamed(reply, reply.body)
    if len(reply.body) == 1:
        return Response(bytes(reply.body[0]), status_code=reply.status, headers=headers)
    return StreamingResponse(_each(reply.body), status_code=reply.status, headers=headers)


async def _each(pieces: tuple[Buffer, ...]) -> AsyncIterator[Buffer]:
    for piece in pieces:
        yield piece
