"""The host itself: finds the app's functions, routes each call to one, sends what it returns.

What Azure's host does before and after the worker is kept as it is there, so that what works here works
there: empty 404s, reserved paths, the host's own page, a function's context that ends with its return.
Only HTTP triggers are served; the function must take Starlette's request and return Starlette's response.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import logging
import os
import signal
import sys
import uuid
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bounded_head import BoundedHead
from localhost.routes import Route, Table, decoded, http_trigger

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10
"""How long open calls may go on once the host is told to end."""
GOODBYE_SECONDS = 2
"""How long they then have to say so."""
# As Kestrel: longer than any client keeps an idle connection for reuse.
KEEP_ALIVE_SECONDS = 130
RESERVED = {"admin", "runtime"}
HOME = "<!doctype html><title>Functions host</title><p>The Functions host is running.</p>"


class StartError(Exception):
    """The host cannot start, and the message says why."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, `{}` if there is no such file."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise StartError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise StartError(f"{path.name} is not a JSON object")
    return content


def apply_local_settings(directory: Path) -> None:
    """Put the `Values` of local.settings.json into the environment, where they are not set already."""
    for name, value in read_json(directory / "local.settings.json").get("Values", {}).items():
        os.environ.setdefault(name, value if isinstance(value, str) else json.dumps(value))


def route_prefix(directory: Path) -> str:
    http = read_json(directory / "host.json").get("extensions", {}).get("http", {})
    return str(http.get("routePrefix", "api"))


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
        self.not_served: list[str] = []
        self._functions: dict[str, Callable[[Request], Coroutine[Any, Any, Response]]] = {}
        routes = []
        for function in app.get_functions():
            name = function.get_function_name()
            trigger = http_trigger(json.loads(binding) for binding in function.get_raw_bindings())
            if not trigger:
                self.not_served.append(name)
                continue
            taken, bound = set(inspect.signature(function.get_user_function()).parameters), trigger["name"]
            if taken != {bound}:
                given = ", ".join(sorted(taken)) or "none"
                raise StartError(
                    f"function {name} has the parameter {given}, but its trigger gives {bound!r} "
                    "(trigger_arg_name): Azure would find no function in this app"
                )
            try:
                routes.append(Route.of(name, trigger, prefix))
            except ValueError as error:
                raise StartError(f"function {name}: {error}") from error
            self._functions[name] = _caller(function.get_user_function(), bound)
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
            if _is_being_cancelled():
                raise
            logger.exception("Function %s let a CancelledError out: in Azure its caller waits for ever", name)
        except Exception:
            logger.exception("Function %s failed", name)
        return Response(status_code=500)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _caller(function: Callable[..., Any], parameter: str) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    if inspect.iscoroutinefunction(function):
        return lambda request: function(**{parameter: request})
    return lambda request: asyncio.to_thread(function, **{parameter: request})


class Server(uvicorn.Server):
    """uvicorn that says when it listens and ends with status 0 when it is told to."""

    def __init__(
        self,
        host: Host,
        announce: Callable[[], None],
        end_calls: Callable[[], None] | None = None,
        check_start: Callable[[], Awaitable[str]] | None = None,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`end_calls`, `check_start` and `flush` are the app's own, if it has them.

        The first is called when the grace is over, so that it can say goodbye; the second before anything listens, in
        the loop that will serve, and what it says is why the host does not start; the last when no call is left.
        """
        config = uvicorn.Config(
            host,
            http=BoundedHead,
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._check_start is not None and (error := await self._check_start()):
            raise StartError(error)
        try:
            await super().startup(sockets)
        except OSError as error:
            raise StartError(f"cannot listen: {error.strerror}") from error
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._end_calls is not None:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._end_calls)
        await super().shutdown(sockets)
        if self._flush is not None:
            await self._flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which then is the exit status.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield
