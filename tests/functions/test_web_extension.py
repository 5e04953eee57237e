"""The worker's web extension, asked as the worker asks it. How the real worker fares: tests/worker."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import types
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from azurefunctions.extensions import base
from starlette.responses import JSONResponse, StreamingResponse

from adapters.functions import web_extension
from adapters.functions.web_extension import Request, Response, WebApp, WebServer
from tests.loopback import NO_CERTIFICATES
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.types import Message

ROOT = Path(__file__).parents[2]
NAMED = {"x-ms-invocation-id": "seven"}


class Coordinator:
    """The worker's own table of requests that wait, as small as it can be."""

    def __init__(self) -> None:
        self._context_references: dict[str, Any] = {}
        self.answered = asyncio.Event()

    def put(self, request: Request) -> None:
        coordinator = self

        class Entry(types.SimpleNamespace):
            def __setattr__(self, name: str, value: object) -> None:
                super().__setattr__(name, value)
                if name == "http_response":
                    coordinator.answered.set()

        self._context_references["seven"] = Entry(http_request=request)


def app_of(function: Callable[[Request], Awaitable[Response]], coordinator: object = None) -> httpx2.AsyncClient:
    """Make a client of the extension, with the function as the worker's handler."""
    names = {"__name__": "worker", "http_coordinator": coordinator, **function.__globals__}
    handler = types.FunctionType(function.__code__, names, closure=function.__closure__)
    app = WebApp()
    app.route(handler)
    transport = httpx2.ASGITransport(app.get_app())
    return httpx2.AsyncClient(transport=transport, base_url="http://worker", headers=NAMED)


async def test_answer_of_the_invocation_is_sent() -> None:
    """The response that the function returned is what the caller gets."""

    async def handler(request: Request) -> Response:
        return JSONResponse({"got": (await request.body()).decode()}, status_code=201)

    async with app_of(handler) as client:
        answer = await client.post("/any/path", content="this")
    assert (answer.status_code, answer.json()) == (201, {"got": "this"})


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/"])
async def test_no_path_is_special(path: str) -> None:
    """Every path goes to the invocation."""

    async def handler(request: Request) -> Response:
        return Response(request.url.path)

    async with app_of(handler) as client:
        assert (await client.get(path)).text == path


async def test_failed_invocation() -> None:
    """An invocation that failed is an empty 500: the host has its exception already."""

    async def handler(_: Request) -> Response:
        raise LookupError("a secret")

    async with app_of(handler) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content) == (500, b"")


async def test_request_without_invocation() -> None:
    """A request that names no invocation is a 400, and the worker does not hear of it."""

    async def handler(_: Request) -> Response:
        raise AssertionError("asked")

    async with app_of(handler) as client:
        del client.headers["x-ms-invocation-id"]
        assert (await client.get("/")).status_code == 400


async def test_entry_is_dropped() -> None:
    """When the answer has been sent the worker has no entry for its request any more, but still others."""
    coordinator = Coordinator()
    coordinator._context_references["eight"] = object()

    async def handler(request: Request) -> Response:
        coordinator.put(request)
        return StreamingResponse(iter(["while it streams: ", *coordinator._context_references]))

    async with app_of(handler, coordinator) as client:
        assert (await client.get("/")).text == "while it streams: eightseven"
    assert list(coordinator._context_references) == ["eight"]


async def test_request_that_no_invocation_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that no invocation takes in time is a 504."""
    monkeypatch.setattr(web_extension, "UNCLAIMED_SECONDS", 0)
    coordinator = Coordinator()

    async def handler(request: Request) -> Response:
        coordinator.put(request)
        await coordinator.answered.wait()
        raise coordinator._context_references["seven"].http_response

    async with app_of(handler, coordinator) as client:
        assert (await client.get("/")).status_code == 504
    assert coordinator._context_references == {}


async def test_other_worker() -> None:
    """In a worker that keeps its requests another way, requests are answered all the same."""

    async def handler(_: Request) -> Response:
        return Response("here")

    async with app_of(handler, types.SimpleNamespace(_context_references=None)) as client:
        assert (await client.get("/")).text == "here"


def test_route_parameters() -> None:
    """The host's route parameters are where Starlette looks for them."""
    request = Request({"type": "http", "path_params": {"stale": "1"}})
    base.RequestTrackerMeta.get_synchronizer().sync_route_params(request, {"id": "7"})
    assert request.path_params == {"id": "7"}


def test_annotations() -> None:
    """Functions may be annotated with Starlette's request, its response and every kind of it."""
    assert base.RequestTrackerMeta.check_type(Request)
    assert all(map(base.ResponseTrackerMeta.check_type, (Response, StreamingResponse, JSONResponse)))
    assert not base.ResponseTrackerMeta.check_type(str)


def test_worker_finds_the_extension() -> None:
    """The worker finds this module and in it the two classes that it starts."""
    assert base.ModuleTrackerMeta.get_module() == "adapters.functions.web_extension"
    assert base.HttpV2FeatureChecker.http_v2_enabled()


def test_idle_connections_outlive_the_hosts_pool() -> None:
    """An idle connection is closed by the host, after its minute, never by the worker in the same moment."""
    assert web_extension.KEEP_ALIVE_SECONDS > 2 * 60


def test_import_is_cheap() -> None:
    """The import brings no web server and no router: they would be part of every cold start."""
    script = "import sys, adapters.functions.web_extension; print({'uvicorn', 'starlette.routing'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


async def stream(body: AsyncIterator[str], *, broken_at: str) -> None:
    """Serve a stream to a caller to whom this kind of message cannot be sent."""
    response = StreamingResponse(body)

    async def handler(_: Request) -> Response:
        return response

    async def receive() -> Message:
        return await asyncio.Future()

    async def send(message: Message) -> None:
        if message["type"] == broken_at:
            raise ConnectionResetError

    app = WebApp()
    app.route(handler)
    scope = {"type": "http", "headers": [(b"x-ms-invocation-id", b"seven")], "asgi": {"spec_version": "2.3"}}
    with pytest.raises(ConnectionResetError):
        await app(scope, receive, send)


async def test_stream_that_ends_between_events() -> None:
    """A stream whose event could not be sent is closed before the request ends, not when memory is tidied."""
    seen: list[str] = []

    async def events() -> AsyncIterator[str]:
        try:
            yield "one"
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    await stream(events(), broken_at="http.response.body")
    assert seen == ["closed"]


async def test_stream_that_does_not_begin() -> None:
    """A stream that does not come to its first event is closed all the same: what must know has an `aclose`."""
    seen: list[str] = []

    class Events:
        def __aiter__(self) -> Events:
            return self

        async def __anext__(self) -> str:
            seen.append("begun")
            return "one"

        async def aclose(self) -> None:
            seen.append("closed")

    await stream(Events(), broken_at="http.response.start")
    assert seen == ["closed"]


# -- the server -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that was free a moment ago, chosen as the worker does."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        return int(taken.getsockname()[1])


async def health(_: Request) -> Response:
    """Say that all is well."""
    return JSONResponse({"status": "ok"})


@asynccontextmanager
async def served(server: WebServer) -> AsyncIterator[None]:
    """Serve, as the worker does, until the block ends."""
    serving = asyncio.ensure_future(server.serve())
    yield
    serving.cancel()
    await asyncio.wait({serving})


@pytest.mark.parametrize("hostname", ["127.0.0.1", "localhost"])
async def test_a_call_before_the_server_has_started(hostname: str) -> None:
    """Whoever calls after the worker has chosen the port is answered: a cold start refuses nobody."""
    app = WebApp()
    app.route(health)
    port = free_port()
    server = WebServer(hostname, port, app)
    async with httpx2.AsyncClient(
        base_url=f"http://{hostname}:{port}", headers=NAMED, trust_env=False, verify=NO_CERTIFICATES
    ) as client:
        called = asyncio.ensure_future(client.get("/", timeout=HANGS_SECONDS))
        async with served(server):
            assert 200 == (await called).status_code


async def test_a_port_that_is_taken() -> None:
    """Nobody else gets the port once it is chosen, and who comes second is told so: the worker has words for that."""
    port = free_port()
    first = WebServer("127.0.0.1", port, WebApp())
    with pytest.raises(OSError, match="in use"):
        WebServer("127.0.0.1", port, WebApp())
    first._listener.close()


async def test_a_server_that_ends() -> None:
    """However the server ends, who calls then is refused, and does not wait for nobody."""
    app = WebApp()
    app.route(health)
    port = free_port()
    async with (
        served(WebServer("127.0.0.1", port, app)),
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=NAMED, trust_env=False, verify=NO_CERTIFICATES
        ) as client,
    ):
        assert 200 == (await client.get("/", timeout=HANGS_SECONDS)).status_code
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does who calls a server that could not start."""
    monkeypatch.setitem(sys.modules, "adapters.functions.http_protocol", None)
    port = free_port()
    server = WebServer("127.0.0.1", port, WebApp())
    with pytest.raises(ModuleNotFoundError):
        await server.serve()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_short_answers_are_not_delayed() -> None:
    """The listener names its protocol: only then asyncio sets TCP_NODELAY on what it accepts."""
    server = WebServer("127.0.0.1", free_port(), WebApp())
    assert socket.IPPROTO_TCP == server._listener.proto
    server._listener.close()
