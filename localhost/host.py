"""The host itself: finds the app's functions, routes each call to one, sends what it returns.

What Azure's host does before and after the worker is kept as it is there, so that what works here works
there: empty 404s, reserved paths, the host's own page, a function's context that ends with its return.
Here are the HTTP functions; each must take Starlette's request and return Starlette's response. Those that a queue
starts are in queues.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import sys
import uuid
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from adapters.functions.http_protocol import HttpProtocol
from localhost.functions import Function, functions_of, is_being_cancelled
from localhost.routes import Route, Table, decoded
from localhost.settings import StartError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

    from starlette.types import Receive, Scope, Send

    from localhost.queues import Queues

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10
"""How long open calls, and messages in hand, may go on once the host is told to end."""
GOODBYE_SECONDS = 2
"""How long they then have to say so."""
# As Kestrel: longer than any client keeps an idle connection for reuse.
KEEP_ALIVE_SECONDS = 130
RESERVED = {"admin", "runtime"}
HOME = "<!doctype html><title>Functions host</title><p>The Functions host is running.</p>"


def load(directory: Path) -> ModuleType:
    """Import `function_app` from the directory; StartError if it says that its settings are wrong."""
    if not (directory / "function_app.py").exists():
        raise StartError(f"there is no function_app.py in {directory}")
    sys.path.insert(0, str(directory))
    module = importlib.import_module("function_app")
    error = getattr(module, "startup_error", None)
    if isinstance(error, str) and error:
        raise StartError(error)
    if not hasattr(module, "app"):
        raise StartError("function_app.py has no FunctionApp by the name of app")
    return module


class Host:
    """An ASGI app over the HTTP functions of a FunctionApp."""

    def __init__(self, app: Any, prefix: str, environment: Mapping[str, str]) -> None:
        self.others: list[Function] = []
        """Functions that something else triggers."""
        self._functions: dict[str, Callable[[Request], Coroutine[Any, Any, Response]]] = {}
        routes = []
        for function in functions_of(app):
            trigger = function.trigger("httpTrigger")
            if trigger is None:
                self.others.append(function)
                continue
            self._functions[function.name] = function.caller(
                trigger["name"], "(trigger_arg_name): Azure would find no function in this app"
            )
            try:
                routes.append(Route.of(function.name, trigger, prefix))
            except ValueError as error:
                raise StartError(f"function {function.name}: {error}") from error
        self._table = Table.of(routes)
        self._has_homepage = environment.get("AzureWebJobsDisableHomepage", "").lower() != "true"

    def __len__(self) -> int:
        return len(self._functions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the host stops, and the grace is over
            response = await self._answer(Request(scope, receive, send))
            try:
                await response(scope, receive, send)
            finally:  # as web_extension does in the worker
                if close := getattr(getattr(response, "body_iterator", None), "aclose", None):
                    await close()

    async def _answer(self, request: Request) -> Response:
        path = decoded(request.scope["raw_path"])
        if path == "/" and self._has_homepage:
            return HTMLResponse(HOME)
        if path.strip("/").split("/")[0].lower() in RESERVED:
            return Response(status_code=404)
        if found := self._table.find(request.method, path):
            return await self._invoke(*found, request)
        return Response(status_code=204 if path == "/" else 404)

    async def _invoke(self, name: str, parameters: dict[str, str], request: Request) -> Response:
        headers = [header for header in request.scope["headers"] if header[0] != b"x-ms-invocation-id"]
        headers.append((b"x-ms-invocation-id", str(uuid.uuid4()).encode()))
        request.scope.update(headers=headers, path_params=parameters)
        # In a task of its own, as in the worker: what the function sets in its context is gone when the
        # response is sent.
        invocation = asyncio.create_task(self._functions[name](request))
        try:
            return await invocation
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            logger.exception("Function %s let a CancelledError out: in Azure its caller waits for ever", name)
        except Exception:
            logger.exception("Function %s failed", name)
        return Response(status_code=500)


class Server(uvicorn.Server):
    """uvicorn that says when it listens and ends with status 0 when it is told to."""

    def __init__(
        self,
        host: Host,
        announce: Callable[[], None],
        *,
        queues: Queues | None = None,
        end_calls: Callable[[], None] | None = None,
        check_start: Callable[[], Awaitable[str]] | None = None,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`queues` are polled while it serves. The others are the app's own, if it has them.

        `end_calls` is called when the grace is over, so that the app can say goodbye; `check_start` before anything
        listens, in the loop that will serve, and what it says is why the host does not start; `flush` when no call is
        left.
        """
        config = uvicorn.Config(
            host,
            http=HttpProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS + GOODBYE_SECONDS,
        )
        super().__init__(config)
        self._announce = announce
        self._end_calls = end_calls
        self._check_start = check_start
        self._flush = flush
        self._queues = queues

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._check_start is not None and (error := await self._check_start()):
            raise StartError(error)
        try:
            await super().startup(sockets)
        except OSError as error:
            raise StartError(f"cannot listen: {error.strerror}") from error
        if self._queues is not None:
            self._queues.start()
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._end_calls is not None:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._end_calls)
        calls = asyncio.create_task(super().shutdown(sockets))
        if self._queues is not None:
            await self._queues.stop(GRACE_SECONDS + GOODBYE_SECONDS)
        await calls
        if self._flush is not None:
            await self._flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which then is the exit status.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield
