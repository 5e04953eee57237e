"""What only Microsoft's worker can tell: how it indexes the app, and what it keeps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.waiting import HANGS_SECONDS
from tests.worker.processes import APPS

if TYPE_CHECKING:
    from tests.worker.conftest import StartHost


async def test_app_is_indexed(worker: httpx2.AsyncClient) -> None:
    """The worker finds every function, and tells the host its trigger."""
    functions = (await worker.get("/_host/functions")).json()
    echo, take = functions["echo"][0], functions["take"][0]
    assert (
        echo["type"],
        echo["name"],
        echo["methods"],
        echo["route"],
    ) == ("httpTrigger", "request", ["POST", "PUT"], "echo/{name}/{number:int?}")
    assert (take["type"], take["name"], take["queueName"]) == ("queueTrigger", "message", "poison")


async def test_queue_message(worker: httpx2.AsyncClient) -> None:
    """A queue trigger beside HTTP functions gets its message."""
    result = (await worker.post("/_host/queue/take", content="over here")).json()
    assert result == {"function": "take", "succeeded": True, "exception": ""}
    assert (await worker.get("/messages")).json() == ["over here"]


async def test_failure_is_reported(worker: httpx2.AsyncClient) -> None:
    """What a function raises is the result of its invocation, which the host logs."""
    await worker.get("/fails")
    results = (await worker.get("/_host/results")).json()
    assert {"function": "fails", "succeeded": False, "exception": "LookupError: no such luck"} in results


async def test_function_that_returns_nothing(worker: httpx2.AsyncClient) -> None:
    """A function that returns None does not hang: it is an empty 500."""
    answer = await worker.get("/nothing")
    assert (answer.status_code, answer.content) == (500, b"")


async def test_no_access_log(worker: httpx2.AsyncClient) -> None:
    """The web server in the worker logs no line for a request."""
    await worker.get("/sync/bob")
    log = (await worker.get("/_host/log")).json()
    assert [line for line in log if line.startswith(("uvicorn.access", "uvicorn.error: Started"))] == []


@pytest.mark.slow
async def test_nothing_is_kept(worker: httpx2.AsyncClient) -> None:
    """After hundreds of calls the worker keeps no entry and no memory for any of them."""

    async def calls(count: int) -> None:
        for _ in range(count):
            assert (await worker.get("/docs")).status_code == 404

    async def memory() -> int:
        return int((await worker.get("/_host/memory")).json())

    await asyncio.gather(*(calls(30) for _ in range(10)))
    await memory()  # from here on it is counted, which itself takes some
    await calls(100)
    before = await memory()
    await calls(400)
    assert (await memory() - before) / 400 < 100, "bytes for each call"
    assert (await worker.get("/_host/kept")).json() == 0


async def test_request_that_nobody_announced(worker_host: StartHost) -> None:
    """A request with an invocation id that the worker was never told of is a 504, not a wait without end."""
    url = worker_host(APPS / "impatient")
    async with httpx2.AsyncClient(timeout=HANGS_SECONDS, trust_env=False) as client:
        uri = (await client.get(f"{url}/_host/uri")).json()
        unknown = await client.get(f"{uri}/takes-longer", headers={"x-ms-invocation-id": "unknown"})
        without = await client.get(f"{uri}/takes-longer")
        assert (unknown.status_code, without.status_code) == (504, 400)
        assert (await client.get(f"{url}/_host/kept")).json() == 0


async def test_patience_ends_when_the_function_begins(worker_host: StartHost) -> None:
    """A function may take as long as it likes: only the wait for its invocation is bounded."""
    url = worker_host(APPS / "impatient")
    async with httpx2.AsyncClient(timeout=HANGS_SECONDS, trust_env=False) as client:
        assert (await client.get(f"{url}/api/takes-longer")).text == "done"


def test_app_that_cannot_be_indexed(worker_host: StartHost) -> None:
    """One function with the request type of azure.functions and the app is not indexed at all."""
    with pytest.raises(RuntimeError, match="HttpRequest"):
        worker_host(APPS / "mixed")
