"""The web extension of the Functions worker: Starlette's requests and responses, and nothing in between.

The worker finds a web extension by what it subclasses (`azurefunctions.extensions.base`), starts its
server on a free port, and joins each HTTP request with the invocation that the host announces beside it:
the header `x-ms-invocation-id` names it. This one has no routes of its own, so `/docs` and the like are
requests like any other. Only what annotations need is imported here; uvicorn comes with `serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from azurefunctions.extensions import base
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.types import Receive, Scope, Send

__all__ = ["Request", "Response", "WebApp", "WebServer"]

# The host sends request and invocation in the same moment. A request that nobody has taken after this long
# has an id that the worker was never told (a host that lets a caller's own header through, say).
UNCLAIMED_SECONDS = 30.0

# Longer than the minute that the host's proxy keeps an idle connection for reuse, so that it is always the
# host that closes one: else a request may be sent into a connection that is just being closed.
KEEP_ALIVE_SECONDS = 130


class UnclaimedError(Exception):
    """No invocation came for this request."""


class _RouteParameters(base.RequestSynchronizer):  # type: ignore[misc]  # the package has no types
    """The host matches the route; what it found in the path goes where Starlette keeps it."""

    def sync_route_params(self, request: Request, path_params: Mapping[str, str]) -> None:
        request.scope["path_params"] = dict(path_params)


class _RequestType(metaclass=base.RequestTrackerMeta):  # type: ignore[metaclass]
    request_type = Request
    synchronizer = _RouteParameters()


class _ResponseType(metaclass=base.ResponseTrackerMeta):  # type: ignore[metaclass]
    label = base.ResponseLabels.STANDARD
    response_type = Response


class WebApp(base.WebApp):  # type: ignore[misc]
    """The ASGI app of the worker's server: hands every request to its invocation and sends the answer."""

    _handler: Callable[[Request], Awaitable[Response]]

    def route(self, func: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Take the worker's handler: it waits for the invocation and returns what the function returned."""
        self._handler = func
        coordinator = getattr(func, "__globals__", {}).get("http_coordinator")
        pending = getattr(coordinator, "_context_references", None)
        # Known from azure-functions-runtime 1.3. In a worker that keeps no such table there is nothing to do.
        self._pending: dict[str, Any] = pending if isinstance(pending, dict) else {}
        return func

    def get_app(self) -> WebApp:
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        invocation = request.headers.get("x-ms-invocation-id", "")
        try:
            response = await self._answer(invocation, request)
            try:
                await response(scope, receive, send)
            finally:
                # Starlette does not tell a stream that it is over if that shows between two of its events, or
                # before the first. `aclose` does; to a stream that has run to its end it is nothing.
                if close := getattr(getattr(response, "body_iterator", None), "aclose", None):
                    await close()
        finally:
            # The worker keeps about 2 KB for every request for ever.
            self._pending.pop(invocation, None)

    async def _answer(self, invocation: str, request: Request) -> Response:
        if not invocation:
            return Response(status_code=400)
        patience = asyncio.get_running_loop().call_later(UNCLAIMED_SECONDS, self._give_up, invocation, request)
        try:
            return await self._handler(request)
        except UnclaimedError:
            return Response(status_code=504)
        except Exception:  # noqa: BLE001  # the invocation has failed with it: the host logs it
            return Response(status_code=500)
        finally:
            patience.cancel()

    def _give_up(self, invocation: str, request: Request) -> None:
        entry = self._pending.get(invocation)
        if entry is not None and entry.http_request is request:  # an invocation that takes it sets this to None
            entry.http_response = UnclaimedError()


class WebServer(base.WebServer):  # type: ignore[misc]
    """uvicorn inside the worker, on the loopback port that the worker has chosen."""

    def __init__(self, hostname: str, port: int, web_app: WebApp) -> None:
        """Take the port, before anybody else does: until `serve` the app is imported, a third of a second or more.

        From now on who calls waits and is not refused, until `serve` has ended. Raises OSError where the port is taken,
        which the worker tells the host; uvicorn would end the process.
        """
        super().__init__(hostname, port, web_app)
        self._listener = _listening(hostname, port)

    async def serve(self) -> None:
        try:
            await self._serve()
        finally:
            self._listener.close()  # else nobody would answer, and nobody would be refused

    async def _serve(self) -> None:
        import uvicorn  # noqa: PLC0415  # costs 100 ms, and whoever only indexes does not need it

        from adapters.functions.http_protocol import HttpProtocol  # noqa: PLC0415  # as above

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals are the worker's business

        config = uvicorn.Config(
            self.web_app,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            http=HttpProtocol,
        )
        server = Server(config)
        try:
            await server.serve([self._listener])
        finally:
            for each in getattr(server, "servers", ()):  # uvicorn leaves them open where it is cancelled
                each.close()


def _listening(hostname: str, port: int) -> socket.socket:
    # With its protocol named, asyncio turns Nagle's delay (40 ms for a short answer) off for what it accepts. The name
    # is given as bytes, as text would be looked at as an international one, and what that takes is imported.
    family, kind, protocol, _, address = socket.getaddrinfo(
        hostname.encode("ascii"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let others in, too
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
