"""A Functions host around Microsoft's own worker library: `python -m tests.worker.host APP_DIRECTORY`.

It does what Azure's host does with a Python app whose HTTP is streamed: tells the worker to index the app,
and for each call matches the route, sends the invocation with the route parameters, and at the same moment
proxies the request to the worker's HTTP server with the header that joins the two. The messages are plain
objects shaped like the protobuf ones. The worker's state is global, so there is one host to a process.

Under `/_host/` it tells the tests what it knows: what was indexed, what each invocation came to, what was
logged, how much the worker keeps.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import tracemalloc
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from localhost.__main__ import bound
from localhost.routes import Route, Table, decoded, http_trigger
from localhost.settings import route_prefix

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import Receive, Scope, Send

HOP_BY_HOP = {b"connection", b"host", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"}
INVOCATION = b"x-ms-invocation-id"


class Message(SimpleNamespace):
    """A protobuf message: a field that was not set raises AttributeError, and a oneof knows which it is."""

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802  # protobuf's name
        return "data" if group == "rpc_data" else next(iter(vars(self)), None)


class StatusResult(Message):
    Failure, Success, Cancelled = 0, 1, 2


class BindingInfo(Message):
    out, inout = 1, 2
    undefined = 0


PROTOS = SimpleNamespace(
    BindingInfo=BindingInfo,
    FunctionMetadataResponse=Message,
    InvocationResponse=Message,
    ParameterBinding=Message,
    RpcException=Message,
    RpcFunctionMetadata=Message,
    StatusResult=StatusResult,
    TypedData=Message,
    WorkerInitResponse=Message,
    WorkerMetadata=Message,
)


class Log(logging.Handler):
    """Keeps the last lines, each with the name of its logger."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: collections.deque[str] = collections.deque(maxlen=200)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


class Worker:
    """Microsoft's worker with one app in it."""

    def __init__(self) -> None:
        import azure_functions_runtime  # noqa: PLC0415  # Python 3.13 and later

        self._library = azure_functions_runtime
        self._library.start_threadpool_executor()
        self.results: collections.deque[dict[str, Any]] = collections.deque(maxlen=100)
        self.functions: dict[str, Message] = {}
        self.http_uri = ""

    async def start(self, directory: Path) -> None:
        """Index the app; SystemExit with the worker's words if it cannot."""
        init = Message(capabilities={}, function_app_directory=str(directory))
        started = await self._library.worker_init_request(_request(worker_init_request=init))
        if started.result.status != StatusResult.Success:
            sys.exit(f"The worker did not start: {started.result.exception.message}")
        self.http_uri = started.capabilities.get("HttpUri", "")
        answer = await self._library.functions_metadata_request(_request())
        self.functions = {one.name: one for one in answer.function_metadata_results or ()}

    async def invoke(self, name: str, invocation: str, argument: str, data: Message, **metadata: str) -> None:
        """Send one invocation and note what it came to."""
        answer = await self._library.invocation_request(
            _request(
                invocation_request=Message(
                    invocation_id=invocation,
                    function_id=self.functions[name].function_id,
                    input_data=[Message(name=argument, data=data)],
                    trigger_metadata={key: Message(string=value) for key, value in metadata.items()},
                    trace_context=Message(trace_parent="", trace_state="", attributes={}),
                    retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
                )
            )
        )
        succeeded = answer.result.status == StatusResult.Success
        exception = "" if succeeded else answer.result.exception.message
        self.results.append({"function": name, "succeeded": succeeded, "exception": exception})

    def bindings(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(binding) for binding in self.functions[name].raw_bindings]

    def kept(self) -> int:
        """Count the requests that the worker still has an entry for."""
        from azure_functions_runtime.http_v2 import http_coordinator  # noqa: PLC0415

        return len(http_coordinator._context_references)


def _request(**kind: Message) -> Message:
    return Message(request=Message(**kind), properties={"host": "127.0.0.1", "protos": PROTOS})


class Host:
    """The ASGI app in front of the worker."""

    def __init__(self, worker: Worker, prefix: str, log: Log) -> None:
        self._worker, self._log = worker, log
        self._tasks: set[asyncio.Task[None]] = set()
        self._client = httpx2.AsyncClient(timeout=None, trust_env=False, limits=httpx2.Limits())
        triggers = {name: http_trigger(worker.bindings(name)) for name in worker.functions}
        self._arguments = {name: trigger["name"] for name, trigger in triggers.items() if trigger}
        self._table = Table.of(Route.of(name, trigger, prefix) for name, trigger in triggers.items() if trigger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        path = decoded(scope["raw_path"])
        if path.startswith("/_host/"):
            response = await self._tell(path.removeprefix("/_host/"), request)
        elif found := self._table.find(scope["method"], path):
            response = await self._call(*found, request)
        else:
            response = Response(status_code=404)
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await response(scope, receive, send)
            finally:
                if isinstance(response, StreamingResponse):
                    await response.body_iterator.aclose()

    async def _tell(self, what: str, request: Request) -> Response:
        match what.split("/"):
            case ["functions"]:
                found: Any = {name: self._worker.bindings(name) for name in self._worker.functions}
            case ["uri"]:
                found = self._worker.http_uri
            case ["results"]:
                found = list(self._worker.results)
            case ["log"]:
                found = list(self._log.lines)
            case ["kept"]:
                found = self._worker.kept()
            case ["memory"]:
                tracemalloc.is_tracing() or tracemalloc.start()
                gc.collect()
                found = tracemalloc.get_traced_memory()[0]
            case ["queue", name]:
                text = Message(string=(await request.body()).decode())
                argument = self._worker.bindings(name)[0]["name"]
                await self._worker.invoke(name, str(uuid.uuid4()), argument, text, Id="7", DequeueCount="1")
                found = self._worker.results[-1]
            case _:
                return Response(status_code=404)
        return JSONResponse(found)

    async def _call(self, name: str, parameters: dict[str, str], request: Request) -> Response:
        """Send the invocation and the request, in the same moment, as the host does."""
        invocation = str(uuid.uuid4())
        http = Message(method=request.method, url="", headers={}, body=Message(), params=parameters, query={})
        task = asyncio.create_task(self._worker.invoke(name, invocation, self._arguments[name], Message(http=http)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await self._forward(request, invocation)

    async def _forward(self, request: Request, invocation: str) -> Response:
        uploaded = asyncio.Event()

        async def upload() -> AsyncIterator[bytes]:
            async for chunk in request.stream():
                yield chunk
            uploaded.set()

        async def client_left() -> None:
            await uploaded.wait()
            while (await request.receive())["type"] != "http.disconnect":
                pass

        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        if not has_body:
            uploaded.set()
        target = (request.scope["raw_path"] + b"?" + request.scope["query_string"]).removesuffix(b"?")
        headers = [header for header in request.headers.raw if header[0] not in {*HOP_BY_HOP, INVOCATION}]
        headers.append((INVOCATION, invocation.encode()))
        outgoing = self._client.build_request(
            request.method,
            httpx2.URL(self._worker.http_uri).copy_with(raw_path=target),
            headers=headers,
            content=upload() if has_body else None,
        )
        sending = asyncio.create_task(self._client.send(outgoing, stream=True))
        leaving = asyncio.create_task(client_left())
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not sending.done():
            sending.cancel()
            return Response(status_code=499)
        answer = sending.result()
        response = StreamingResponse(_relay(answer), answer.status_code)
        response.raw_headers = [header for header in answer.headers.raw if header[0].lower() not in HOP_BY_HOP]
        return response


async def _relay(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"Worker host on http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield


async def main(directory: Path) -> None:
    log = Log()
    logging.basicConfig(handlers=[log], level=logging.INFO)
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    worker = Worker()
    await worker.start(directory)
    listener = bound("127.0.0.1", 0)
    config = uvicorn.Config(
        Host(worker, route_prefix(directory), log),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
    )
    await Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve()))
