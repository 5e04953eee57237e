"""One start of Microsoft's worker with one app: `python -P bench/cold_start.py APP_DIRECTORY [FILE_WITH_A_REQUEST]`.

A process of its own for every start, which does what Azure's host has the worker do, by `azure_functions_runtime`, the
code that runs there: import and index the app, and start the app's HTTP server where it has one. Given a request, it
also sends that, as the host does: an invocation, and beside it the request to the app's server.

It prints one JSON object: what the process had used of CPU and imported when the server served, and when the answer
was there. It imports nothing itself that the worker's library does not import, so that what it counts is the worker's.
"""

from __future__ import annotations

import time

BEGAN = time.process_time()  # before all other imports: so much an empty interpreter takes

import asyncio  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import TYPE_CHECKING, Any, Final  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable

FUNCTION: Final = "http"
ARGUMENT: Final = "req"
PARAMETERS: Final = {"deployment": "gpt-image-1"}
INVOCATION: Final = "the-first"
MARK: Final = "listening"
"""In the report of `-X importtime`, this line separates what was imported before and after."""


class Message(SimpleNamespace):
    """A protobuf message: a field that was not set raises AttributeError, and a oneof knows which it is."""

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 -- protobuf's name
        """Name the field of a oneof that is set."""
        return "data" if group == "rpc_data" else next(iter(vars(self)), None)


class StatusResult(Message):
    """What became of a request to the worker."""

    Failure, Success, Cancelled = 0, 1, 2


class BindingInfo(Message):
    """The direction of a binding."""

    undefined, out, inout = 0, 1, 2


PROTOS: Final = SimpleNamespace(
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


async def main(directory: str, request: bytes | None) -> dict[str, Any]:
    """Start the worker, and have the request answered."""
    import azure_functions_runtime as worker  # type: ignore[import-untyped]  # noqa: PLC0415 -- what is counted begins here

    os.chdir(directory)
    sys.path.insert(0, directory)
    worker.start_threadpool_executor()
    init = Message(capabilities={}, function_app_directory=directory)
    started = await worker.worker_init_request(_to_worker(worker_init_request=init))
    if started.result.status != StatusResult.Success:
        sys.exit(f"The worker did not start: {started.result.exception.message}")
    metadata = await worker.functions_metadata_request(_to_worker())
    functions = {one.name: one.function_id for one in metadata.function_metadata_results}
    address = started.capabilities.get("HttpUri")  # an app without a web extension has no server
    port = int(address.rpartition(":")[2]) if address else 0
    if port:
        await _wait_until_served(port)
    report = {"functions": sorted(functions), MARK: _read_usage()}
    if request is not None:
        if "importtime" in sys._xoptions:  # noqa: SLF001 -- so named, and documented
            sys.stderr.write(f"{MARK}\n")
        invocation = worker.invocation_request(_to_worker(invocation_request=_invocation(functions[FUNCTION])))
        report |= {"answer": await _ask(port, request, invocation), "answered": _read_usage()}
    return report


def _read_usage() -> dict[str, Any]:
    return {"cpu_ms": (time.process_time() - BEGAN) * 1000, "modules": list(sys.modules)}


def _to_worker(**kind: Message) -> Message:
    return Message(request=Message(**kind), properties={"host": "127.0.0.1", "protos": PROTOS})


def _invocation(function_id: str) -> Message:
    http = Message(method="POST", url="", headers={}, body=Message(), params=PARAMETERS, query={})
    return Message(
        invocation_id=INVOCATION,
        function_id=function_id,
        input_data=[Message(name=ARGUMENT, data=Message(http=http))],
        trigger_metadata={},
        trace_context=Message(trace_parent="", trace_state="", attributes={}),
        retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
    )


async def _wait_until_served(port: int) -> None:
    """Return as soon as the app's server answers, if only that a request was not announced by the host.

    A port may take connections before there is anybody to serve them.
    """
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0)
            continue
        writer.write(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        return


async def _ask(port: int, request: bytes, invocation: Awaitable[Any]) -> str:
    """Send the request and give the first line of the answer, once that is there whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line, rest = request.split(b"\r\n", 1)
    writer.write(b"%s\r\nx-ms-invocation-id: %s\r\nconnection: close\r\n%s" % (line, INVOCATION.encode(), rest))
    _, answer = await asyncio.gather(invocation, reader.read())
    writer.close()
    return bytes(answer).split(b"\r\n", 1)[0].decode()


if __name__ == "__main__":
    report = asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes() if sys.argv[2:] else None))
    sys.stdout.write(json.dumps(report))
