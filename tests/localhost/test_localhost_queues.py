"""Queue functions as a developer meets them: a host, an app of its own, and Azurite."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import httpx2
import pytest
from azure.storage.queue import QueueClient

from tests.waiting import HANGS_SECONDS
from tests.worker.processes import environment, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.worker.processes import Running

    Start = Callable[..., AbstractContextManager[Running]]

APP = """
import asyncio, json, os, signal, socket
import azure.functions as func
from adapters.functions.web_extension import Request, Response
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
QUEUE, CONNECTION = os.environ.get("QUEUE", "orders"), "AzureWebJobsStorage"
seen = asyncio.Queue()

@app.route("seen", trigger_arg_name="request")
async def show(request: Request) -> Response:
    return Response(json.dumps(await seen.get()))
"""
TAKE = """
@app.queue_trigger(arg_name="order", queue_name=QUEUE, connection=CONNECTION)
async def take(order: func.QueueMessage) -> None:
    seen.put_nowait([order.get_body().decode(), order.dequeue_count])
    if order.get_body() == b"fail":
        raise LookupError("no such order")

@app.queue_trigger(arg_name="order", queue_name=QUEUE + "-poison", connection=CONNECTION)
def take_poison(order: func.QueueMessage) -> None:
    seen.put_nowait(["poison " + order.get_body().decode(), order.dequeue_count])
"""


@pytest.fixture
def queue(azurite: str, prefix: str) -> QueueClient:
    """The queue of the app. Its poison queue, the host makes."""
    client = QueueClient.from_connection_string(azurite, f"{prefix}-orders")
    client.create_queue()
    return client


@pytest.fixture
def start(azurite: str, queue: QueueClient, tmp_path: Path) -> Start:
    """Start a host with an app that has queue functions."""

    def begin(code: str = TAKE, *, port: str = "0", **env: str) -> AbstractContextManager[Running]:
        (tmp_path / "function_app.py").write_text(APP + textwrap.dedent(code))
        settings = {"AzureWebJobsStorage": azurite, "QUEUE": queue.queue_name, **env}
        return running("localhost", "--port", port, cwd=tmp_path, env=settings)

    return begin


def put(queue: QueueClient, text: str) -> None:
    queue.send_message(base64.b64encode(text.encode()).decode())


def seen(host: Running) -> list[object]:
    """What a function of the app has seen next."""
    found: list[object] = httpx2.get(f"{host.url}/api/seen", timeout=HANGS_SECONDS).json()
    return found


def ended(host: Running) -> int:
    """Tell a host to end, and say how it did."""
    host.process.terminate()
    return host.process.wait(20)


def test_a_message(start: Start, queue: QueueClient) -> None:
    """A message starts its function, and then it is gone; the host says nothing of it."""
    put(queue, "eine Möwe")
    with start() as host:
        assert f"Functions host on {host.url} (3 functions)\n" == host.said
        assert ["eine Möwe", 1] == seen(host)
        put(queue, "noch eine")
        assert ["noch eine", 1] == seen(host)
        assert (0, "") == (ended(host), host.complained())
    assert 0 == queue.get_queue_properties().approximate_message_count


def test_five_tries(start: Start, queue: QueueClient) -> None:
    """A message that fails five times goes to the poison queue, which may start a function itself."""
    put(queue, "fail")
    with start() as host:
        assert [["fail", tries] for tries in range(1, 6)] == [seen(host) for _ in range(5)]
        assert ["poison fail", 1] == seen(host)
        log = host.complained().splitlines()
    assert 5 == log.count("LookupError: no such order")
    assert any(
        line.endswith(f"goes from queue {queue.queue_name} to {queue.queue_name}-poison, at try 5 of 5") for line in log
    )


def test_stopping(start: Start, queue: QueueClient) -> None:
    """Told to end, the host lets a function end that has a message in hand; the message is deleted, others stay."""
    code = """
    @app.queue_trigger(arg_name="order", queue_name=QUEUE, connection=CONNECTION)
    async def take(order: func.QueueMessage) -> None:
        seen.put_nowait(order.get_body().decode())
        while listens():
            await asyncio.sleep(0.01)
        print("took", order.get_body().decode(), flush=True)

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(os.environ["PORT"]))) == 0
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    put(queue, "first")
    with start(code, port=port, PORT=port) as host:
        assert "first" == seen(host)
        assert (0, "") == (ended(host), host.complained())
        assert host.process.stdout is not None
        assert b"took first\n" == host.process.stdout.read()
    assert 0 == queue.get_queue_properties().approximate_message_count


def test_storage_out_of_reach(start: Start) -> None:
    """That is one line for all queues; HTTP goes on, and the host ends as ever."""
    code = """
    import logging
    told = asyncio.Event()

    class Told(logging.Handler):
        def emit(self, record):
            told.set()

    logging.getLogger("localhost").addHandler(Told())

    @app.route("tick", trigger_arg_name="request")
    async def tick(request: Request) -> Response:
        await told.wait()
        return Response("tock")
    """
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/devstoreaccount1"
        storage = f"AccountName=devstoreaccount1;AccountKey=AAAA;QueueEndpoint={address}"
        with start(TAKE + textwrap.dedent(code), AzureWebJobsStorage=storage) as host:
            assert "tock" == httpx2.get(f"{host.url}/api/tick").text
            assert 0 == ended(host)
            line = f"The queues at {address}: cannot be reached. It is tried again; HTTP functions go on.\n"
            assert line == host.complained()


def test_an_identity(start: Start) -> None:
    """A managed identity is not for this machine: that is said, and HTTP is served."""
    with start(AzureWebJobsStorage="", AzureWebJobsStorage__accountName="a") as host:
        assert f"Functions host on {host.url} (1 functions)\n" == host.said
        (line, another) = host.complained().splitlines()
    assert line == (
        "Not served here, as AzureWebJobsStorage__… is for an identity, which this machine does not have: take "
        "(set AzureWebJobsStorage to a connection string, such as UseDevelopmentStorage=true)"
    )
    assert ": take_poison " in another


@pytest.mark.parametrize(
    ("storage", "host_json", "message"),
    [
        (None, {}, "function take is started by queue orders, and AzureWebJobsStorage does not say where that is; "),
        ("nonsense", {}, "AzureWebJobsStorage is not a connection string of a storage account; copy it again\n"),
        ("UseDevelopmentStorage=true", {"batchSize": 0}, "host.json: extensions.queues.batchSize is 0; "),
    ],
)
def test_what_is_wrong_at_the_start(
    tmp_path: Path, storage: str | None, host_json: dict[str, int], message: str
) -> None:
    """Settings that cannot be used are one line and status 1."""
    (tmp_path / "function_app.py").write_text(APP + TAKE)
    (tmp_path / "host.json").write_text(json.dumps({"extensions": {"queues": host_json}}))
    env = environment({} if storage is None else {"AzureWebJobsStorage": storage})
    command = [sys.executable, "-m", "localhost", "--port", "0"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANGS_SECONDS, check=False
    )
    assert (1, "", True) == (done.returncode, done.stdout, done.stderr.startswith(message)), done.stderr
