"""The functions of queues under Microsoft's own worker: a job, and a letter, as the Functions host would start them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.house import KEY, PROMPT, environment, key_record
from tests.loopback import NO_CERTIFICATES
from tests.mail import FUNCTIONS, Mail
from tests.waiting import HANGS_SECONDS
from tests.worker.processes import ROOT, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.worker.conftest import StartHost

IMAGES = "/openai/openai/deployments/gpt-image-1--fault-bytes-400/images/generations"
BODY = {"model": "gpt-image-1", "prompt": PROMPT}


@pytest.fixture(scope="module")
def azure() -> Iterator[str]:
    """Run an emulator in a process of its own and give its URL."""
    with running("emulator", "--port", "0", "--delay", "0", cwd=ROOT) as emulator:
        yield emulator.url


@pytest.fixture
def mail(azurite: str) -> Mail:
    """What is in the queues."""
    return Mail(azurite)


@pytest.fixture
async def gateway(worker_host: StartHost, azure: str, azurite: str, mail: Mail) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the gateway under the worker, over Azurite, with the key of team A."""
    keys = [key_record(id="worker-team")]
    url = worker_host(ROOT, environment(azure, AzureWebJobsStorage=azurite, GATEWAY_VIRTUAL_KEYS=keys))
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=HANGS_SECONDS, trust_env=False, verify=NO_CERTIFICATES
    ) as client:
        yield client


async def start(gateway: httpx2.AsyncClient, function: str, text: str) -> dict[str, Any]:
    """Start a function with a message as it is in the queue, and give what it came to."""
    answer = await gateway.post(f"/_host/queue/{function}", content=text.encode())
    found: dict[str, Any] = answer.json()
    return found


async def test_the_worker_finds_them_where_there_is_storage(gateway: httpx2.AsyncClient) -> None:
    """Beside those of HTTP, each on its queue."""
    functions = (await gateway.get("/_host/functions")).json()
    found = {name: bindings[0] for name, bindings in functions.items() if bindings[0]["type"] == "queueTrigger"}
    assert {name: queue for queue, name in FUNCTIONS.items()} == {
        name: binding["queueName"] for name, binding in found.items()
    }
    assert {"AzureWebJobsStorage"} == {binding["connection"] for binding in found.values()}


async def test_a_job(gateway: httpx2.AsyncClient, mail: Mail) -> None:
    """Ordered over HTTP, carried out with its message, and seen over HTTP."""
    ordered = await gateway.post(IMAGES, json=BODY, headers={"prefer": "respond-async"})
    assert (202, "queued") == (ordered.status_code, ordered.json()["status"])
    (text,) = mail.raw("image-jobs")
    assert {"function": "run_job", "succeeded": True, "exception": ""} == await start(gateway, "run_job", text)
    job = (await gateway.get(ordered.headers["location"])).json()
    assert "succeeded" == job["status"]
    async with httpx2.AsyncClient(verify=NO_CERTIFICATES) as anybody:
        assert 200 == (await anybody.get(job["answer"]["data"][0]["url"])).status_code
    assert [job["id"]] == [json.loads(event)["id"] for event in mail.read("image-events")]


async def test_a_letter(gateway: httpx2.AsyncClient, mail: Mail, prefix: str) -> None:
    """One that can be drawn, and one that nobody can read."""
    letter = {"id": prefix, "deployment": "gpt-image-1--fault-bytes-400", "virtual_key_id": "worker-team"}
    for text in (json.dumps({**letter, "request": BODY}), "draw a fox"):
        mail.send("image-requests", text)
        (raw,) = mail.raw("image-requests")
        assert (await start(gateway, "take_request", raw))["succeeded"]
    events = [json.loads(event) for event in mail.read("image-events")]
    told = [(event["type"], event["id"] == prefix) for event in events]
    assert [("image.generation.succeeded", True), ("image.generation.failed", False)] == told


async def test_a_message_that_was_set_aside(gateway: httpx2.AsyncClient, mail: Mail) -> None:
    """Its job has failed."""
    ordered = await gateway.post(IMAGES, json=BODY, headers={"prefer": "respond-async"})
    (text,) = mail.raw("image-jobs")
    assert (await start(gateway, "end_job", text))["succeeded"]
    assert "failed" == (await gateway.get(ordered.headers["location"])).json()["status"]
