"""The gateway itself, `function_app.py`, under Microsoft's own worker: what runs in Azure."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.house import KEY, PROMPT, environment, events_of
from tests.http.governing import PATH, TRUST, token
from tests.loopback import NO_CERTIFICATES
from tests.waiting import HANGS_SECONDS
from tests.worker.processes import ROOT, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.worker.conftest import StartHost

IMAGES = "/openai/openai/deployments/{}/images/generations"
BODY = {"model": "gpt-image-1", "prompt": PROMPT}
CALLS = 300
MOST_BYTES_A_CALL = 500
MOST_BYTES_A_ROW = 1_200
"""Of the ledger, which without storage keeps a bounded number of rows in this process."""
"""What a call may leave behind; the worker's own leak was 2 KB."""


@pytest.fixture(scope="module")
def azure() -> Iterator[str]:
    """Run an emulator in a process of its own and give its URL."""
    with running("emulator", "--port", "0", "--delay", "0", cwd=ROOT) as emulator:
        yield emulator.url


@pytest.fixture
async def gateway(worker_host: StartHost, azure: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of the gateway under the worker, with the key of team A."""
    url = worker_host(ROOT, environment(azure, GATEWAY_HEARTBEAT_SECONDS="0.05", **TRUST))
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=HANGS_SECONDS, trust_env=False, verify=NO_CERTIFICATES
    ) as client:
        yield client


async def _emulated(azure: str, deployment: str) -> list[dict[str, object]]:
    async with httpx2.AsyncClient(base_url=azure, trust_env=False, verify=NO_CERTIFICATES) as client:
        calls = (await client.get("/emulator/calls", params={"deployment": deployment})).json()
    return list(calls["calls"] if isinstance(calls, dict) else calls)


async def test_it_indexes(gateway: httpx2.AsyncClient) -> None:
    """The worker finds the one function for every path."""
    functions = (await gateway.get("/_host/functions")).json()
    assert ["http"] == sorted(functions)


async def test_it_indexes_whatever_the_settings(worker_host: StartHost) -> None:
    """With wrong settings the app is there all the same: 503 without a detail, and health says why."""
    url = worker_host(ROOT, {"AZURE_OPENAI_ENDPOINT": "ftp://nowhere"})
    async with httpx2.AsyncClient(base_url=url, trust_env=False, verify=NO_CERTIFICATES) as client:
        answer = await client.post(IMAGES.format("gpt-image-1"), json=BODY)
        health = await client.get("/health")
    assert (503, "misconfigured") == (answer.status_code, answer.json()["error"]["code"])
    assert "ftp" not in answer.text
    assert (200, {"status": "misconfigured"}) == (health.status_code, health.json())


async def test_a_picture(gateway: httpx2.AsyncClient) -> None:
    """A picture comes as JSON."""
    answer = await gateway.post(IMAGES.format("gpt-image-1--fault-bytes-2000000"), json=BODY)
    assert (200, 2_000_000) == (answer.status_code, len(answer.json()["data"][0]["b64_json"]))


async def test_a_key_for_a_while(gateway: httpx2.AsyncClient) -> None:
    """A key is made, shown, changed, draws, and is gone; the description is there as well."""
    headers = {"authorization": f"Bearer {token()}"}
    body = {"name": "Team B", "deployments": ["*"]}
    made = (await gateway.post(PATH, json=body, headers=headers)).json()
    path = f"{PATH}/{made['virtual_key']['id']}"
    change = {**headers, "if-match": made["virtual_key"]["etag"]}
    own = {"authorization": f"Bearer {made['key']}"}
    image = IMAGES.format("gpt-image-1--fault-bytes-400")
    answers = [
        await gateway.get(path.replace("/api/governance", "/API/Governance"), headers=headers),
        await gateway.put(path, json={"name": "Team C"}, headers=change),
        await gateway.put(path, json={"name": "Team D"}, headers=change),
        await gateway.post(image, json=BODY, headers=own),
        await gateway.delete(path, headers=headers),
        await gateway.post(image, json=BODY, headers=own),
        await gateway.get("/openapi.json"),
    ]
    assert [200, 200, 412, 200, 204, 401, 200] == [answer.status_code for answer in answers]


async def test_events_come_one_by_one(gateway: httpx2.AsyncClient) -> None:
    """An event is with the caller while upstream is still drawing: it falls silent after the first, and stays so."""
    body = {**BODY, "stream": True, "partial_images": 2}
    path = IMAGES.format("gpt-image-1--fault-stream-hang-after-1")
    async with asyncio.timeout(HANGS_SECONDS), gateway.stream("POST", path, json=body) as answer:
        lines = [line async for line in _until_silent(answer)]
    assert "event: image_generation.partial_image" == next(line for line in lines if line and line[0] != ":")
    assert ": keep-alive" == lines[-1]


async def _until_silent(answer: httpx2.Response) -> AsyncIterator[str]:
    """Yield the lines up to the first keep-alive behind an event."""
    seen_an_event = False
    async for line in answer.aiter_lines():
        yield line
        seen_an_event = seen_an_event or line.startswith("data:")
        if seen_an_event and line.startswith(":"):
            return


async def test_a_whole_stream(gateway: httpx2.AsyncClient) -> None:
    """A stream has its partial images and ends with the picture."""
    answer = await gateway.post(IMAGES.format("gpt-image-1"), json={**BODY, "stream": True, "partial_images": 2})
    names = [name for name, _ in events_of(answer.text)]
    assert [*["image_generation.partial_image"] * 2, "image_generation.completed"] == names


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/", "/openai/nothing", "/api/governance"])
async def test_other_paths(gateway: httpx2.AsyncClient, path: str) -> None:
    """Every other path is 404 in the one error shape."""
    answer = await gateway.get(path)
    assert (404, "not_found") == (answer.status_code, answer.json()["error"]["code"])


async def test_other_methods(gateway: httpx2.AsyncClient) -> None:
    """Every other method on the path is 405 with the one that is taken."""
    answer = await gateway.put(IMAGES.format("gpt-image-1"), json=BODY)
    assert (405, "POST") == (answer.status_code, answer.headers["allow"])


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_client_that_leaves(gateway: httpx2.AsyncClient, azure: str, stream: bool) -> None:
    """A caller that leaves frees the connection to upstream, and the next call is answered."""
    name = f"gpt-image-1--fault-hang--worker-{stream}"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await gateway.post(IMAGES.format(name), json={**BODY, "stream": stream})
    async with asyncio.timeout(HANGS_SECONDS):  # the worker sees it within milliseconds
        while ["left"] != [call["state"] for call in await _emulated(azure, name)]:
            pass
    assert 200 == (await gateway.get("/health")).status_code


@pytest.mark.slow
async def test_nothing_is_left_behind(gateway: httpx2.AsyncClient) -> None:
    """Hundreds of calls leave no entries in the worker, and no memory but their rows in the ledger."""
    path = IMAGES.format("gpt-image-1--fault-bytes-1000")

    async def many(count: int) -> None:
        for _ in range(count):
            assert 200 == (await gateway.post(path, json=BODY)).status_code

    async def memory() -> int:
        return int((await gateway.get("/_host/memory")).json())

    await memory()  # from here on it is counted, which itself takes some
    await many(100)
    before = await memory()
    await many(CALLS)
    assert (await memory() - before) / CALLS < MOST_BYTES_A_CALL + MOST_BYTES_A_ROW
    assert 0 == (await gateway.get("/_host/kept")).json()


@pytest.mark.usefixtures("worker_host")  # where there is no worker there is none of its own, either
async def test_lines_of_streams_reach_the_console(azure: str) -> None:
    """A stream's line, and a start's complaint, go to the console: the host drops records without an invocation."""
    env = environment(azure, FUNCTIONS_WORKER_RUNTIME="python", GATEWAY_DEADLINE_SECONDS="3000")
    with running("tests.worker.host", str(ROOT), cwd=ROOT, env=env) as host:
        headers = {"authorization": f"Bearer {KEY}", "x-request-id": "the-stream"}
        async with httpx2.AsyncClient(
            base_url=host.url, headers=headers, timeout=HANGS_SECONDS, trust_env=False, verify=NO_CERTIFICATES
        ) as client:
            answer = await client.post(IMAGES.format("gpt-image-1--fault-bytes-1000"), json={**BODY, "stream": True})
            assert answer.status_code == 200
            async with asyncio.timeout(HANGS_SECONDS):
                while "the-stream" not in host.complained():
                    await client.get("/health")
        said = host.complained()
    assert "set GATEWAY_DEADLINE_SECONDS" in said
    assert '"outcome":"picture"' in next(line for line in said.splitlines() if "the-stream" in line)
