"""The emulator served: for a test in its own loop, and for a person at the command line."""

import asyncio
import signal
import subprocess
import sys
import time

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from emulator.faults import FAULTS
from emulator.server import running
from tests.emulator.asking import VERSION, Azure
from tests.loopback import NO_CERTIFICATES, serving
from tests.waiting import HANGS_SECONDS

CALL = f"/openai/deployments/gpt-image-1/images/generations?api-version={VERSION}"
KEY = {"api-key": "emulator-key"}


async def test_any_application_can_be_served():
    """`serving` runs an ASGI application on a port of its own, with its lifespan."""
    seen = []

    async def lifespan(scope, receive, send):
        seen.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        seen.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    inner = Starlette(routes=[Route("/", lambda _: PlainTextResponse("hello"))])

    async def app(scope, receive, send):
        await (lifespan if scope["type"] == "lifespan" else inner)(scope, receive, send)

    async with serving(app) as url, httpx2.AsyncClient(verify=NO_CERTIFICATES) as client:
        assert (await client.get(url)).text == "hello"
        assert seen == ["lifespan.startup"]
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


async def test_it_stops_although_connections_hang():
    """Stopping does not wait for clients that wait."""
    async with httpx2.AsyncClient(verify=NO_CERTIFICATES) as client:
        async with running() as emulator:
            asking = asyncio.create_task(
                client.post(
                    emulator.url + CALL.replace("gpt-image-1", "fault-hang"),
                    json={"prompt": "x"},
                    headers=KEY,
                )
            )
            await emulator.calls.until(lambda calls: calls.open_now)
            started = time.perf_counter()
        assert time.perf_counter() - started < 0.9
        with pytest.raises(httpx2.TransportError):
            await asking
    assert emulator.calls.last.state == "left"


async def test_settings_of_its_own():
    """Key, token, and how long the model thinks are settings."""
    options = {"api_key": "k", "entra_token": "t", "identity_header": "i", "delay_seconds": 0.2}
    async with (
        running(**options) as emulator,
        httpx2.AsyncClient(base_url=emulator.url, verify=NO_CERTIFICATES) as client,
    ):
        azure = Azure(emulator, client)
        assert (await azure.draw(headers=KEY)).status_code == 401
        started = time.perf_counter()
        assert (await azure.draw(headers={"api-key": "k"})).status_code == 200
        assert time.perf_counter() - started >= 0.2


async def test_the_front_page_lists_what_can_go_wrong(azure):
    """`GET /` is a page for people, with every fault on it."""
    page = await azure.client.get("/")

    assert page.headers["content-type"].startswith("text/html")
    assert [row.pattern for row in FAULTS if row.pattern not in page.text] == []


def test_the_command_line_lists_them_too():
    """`--faults` prints the table and leaves."""
    listed = subprocess.run([sys.executable, "-m", "emulator", "--faults"], capture_output=True, text=True, check=True)

    assert [row.pattern for row in FAULTS if row.pattern not in listed.stdout] == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command(stop):
    """`python -m emulator` says in one line that it is ready, draws, and stops when told to."""
    with httpx2.Client() as client:
        command = [sys.executable, "-m", "emulator", "--port", "0", "--api-key", "mine", "--delay", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                line = process.stdout.readline()
                url = next(word for word in line.split() if word.startswith("http://"))
                answer = client.post(url + CALL, json={"prompt": "A cat"}, headers={"api-key": "mine"})
                process.send_signal(stop)
                rest, problems = process.communicate(timeout=HANGS_SECONDS)
            finally:
                process.kill()

    assert (answer.status_code, rest, problems, process.returncode) == (200, "", "", 0)
