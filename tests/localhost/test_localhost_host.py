"""The host as a developer meets it: what it says, what it reads, how it starts and how it stops."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.waiting import HANGS_SECONDS
from tests.worker.processes import environment, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[..., Path]

HEAD = """
import asyncio, logging, os, time
import azure.functions as func
from starlette.responses import StreamingResponse
from adapters.functions.web_extension import Request, Response
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
HELLO = """
@app.route("hello", trigger_arg_name="request")
async def hello(request: Request) -> Response:
    logging.info("somebody said hello")
    return Response(os.environ.get("COLOUR", "none"))
"""


@pytest.fixture
def app(tmp_path: Path) -> Write:
    """Write an app into a directory of its own."""

    def write(code: str = HELLO, **files: object) -> Path:
        (tmp_path / "function_app.py").write_text(HEAD + textwrap.dedent(code))
        for name, content in files.items():
            (tmp_path / f"{name.replace('_', '.')}.json").write_text(json.dumps(content))
        return tmp_path

    return write


def refused(directory: Path, *arguments: str) -> tuple[int, str]:
    """Start a host that ends at once: its status, and what it said to stderr."""
    command = [sys.executable, "-m", "localhost", "--port", "0", *arguments]
    done = subprocess.run(
        command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=HANGS_SECONDS, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_says_where_it_listens(app: Write) -> None:
    """When it listens, and not before, it says where, and how many functions it serves."""
    with running("localhost", "--port", "0", cwd=app()) as host:
        assert f"Functions host on {host.url} (1 functions)\n" == host.said
        assert httpx2.get(f"{host.url}/api/hello").text == "none"


def test_says_what_it_does_not_serve(app: Write) -> None:
    """A function that neither HTTP nor a queue triggers is named at the start, and not served."""
    code = HELLO + (
        '@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")\n'
        "async def tidy(timer: func.TimerRequest) -> None: ...\n"
    )
    with running("localhost", "--port", "0", cwd=app(code)) as host:
        assert host.said == f"Functions host on {host.url} (1 functions)\n"
        assert host.complained() == "Not served here, as its trigger is neither HTTP nor a queue: tidy\n"


def test_local_settings(app: Write) -> None:
    """local.settings.json is the environment of the app, but what is set already stays."""
    settings = {"IsEncrypted": False, "Values": {"COLOUR": "red"}}
    with running("localhost", "--port", "0", cwd=app(local_settings=settings)) as host:
        assert httpx2.get(f"{host.url}/api/hello").text == "red"
    with running("localhost", "--port", "0", cwd=app(), env={"COLOUR": "blue"}) as host:
        assert httpx2.get(f"{host.url}/api/hello").text == "blue"


def test_route_prefix(app: Write) -> None:
    """The prefix of all routes is the one of host.json; outside of it there is an empty 404."""
    settings = {"version": "2.0", "extensions": {"http": {"routePrefix": "v1"}}}
    with running("localhost", "--port", "0", cwd=app(host=settings)) as host:
        assert httpx2.get(f"{host.url}/V1/hello").status_code == 200
        answer = httpx2.get(f"{host.url}/api/hello")
        assert (answer.status_code, answer.content) == (404, b"")


CATCH_ALL = """
@app.route("{*path}", methods=["GET"], trigger_arg_name="request")
async def anything(request: Request) -> Response:
    return Response("mine")
"""
NO_PREFIX = {"extensions": {"http": {"routePrefix": ""}}}


def test_reserved_paths_and_methods(app: Write) -> None:
    """The root, `admin` and `runtime` are the host's own; a method that nobody takes is an empty 404."""
    with running("localhost", "--port", "0", cwd=app(CATCH_ALL, host=NO_PREFIX)) as host:
        assert "host is running" in httpx2.get(host.url).text
        for method, path in [("GET", "admin"), ("GET", "Admin/host/keys"), ("GET", "runtime/x"), ("POST", "x")]:
            answer = httpx2.request(method, f"{host.url}/{path}")
            assert (answer.status_code, answer.content) == (404, b"")
        assert httpx2.get(f"{host.url}/administrators").text == "mine"


def test_homepage_can_be_given_to_the_app(app: Write) -> None:
    """With AzureWebJobsDisableHomepage the root is the app's, if a function takes it, else an empty 204."""
    directory = app(CATCH_ALL, host=NO_PREFIX)
    with running("localhost", "--port", "0", cwd=directory, env={"AzureWebJobsDisableHomepage": "True"}) as host:
        assert httpx2.get(host.url).text == "mine"
        assert ((answer := httpx2.post(host.url)).status_code, answer.content) == (204, b"")


def test_log(app: Write) -> None:
    """What the app logs goes to stderr at once, line by line as it is; the host adds nothing to it."""
    with running("localhost", "--port", "0", cwd=app()) as host:
        httpx2.get(f"{host.url}/api/hello")
        assert host.complained() == "somebody said hello\n"


def test_log_of_a_failure(app: Write) -> None:
    """A function that raises is a traceback in the log, and an empty 500."""
    code = HELLO.replace("    return", "    raise LookupError('no such luck')\n    return")
    with running("localhost", "--port", "0", cwd=app(code)) as host:
        answer = httpx2.get(f"{host.url}/api/hello")
        assert (answer.status_code, answer.content) == (500, b"")
        log = host.complained().splitlines()
        assert (log[1], log[-1]) == ("Function hello failed", "LookupError: no such luck")


def test_cancellation_that_escapes(app: Write) -> None:
    """A function that lets a CancelledError out is told of it: in Azure its caller would wait for ever."""
    code = HELLO.replace("    return", "    raise asyncio.CancelledError\n    return")
    with running("localhost", "--port", "0", cwd=app(code)) as host:
        assert httpx2.get(f"{host.url}/api/hello").status_code == 500
        assert "Function hello let a CancelledError out" in host.complained()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops_when_told(app: Write, number: signal.Signals) -> None:
    """On Ctrl-C or SIGTERM it takes no new requests, lets open ones end, has the app flush, and ends with status 0."""
    code = """
    released = asyncio.Event()
    ended = []

    async def flush():
        print("flushed after", *ended, flush=True)

    @app.route("open", trigger_arg_name="request")
    async def stream(request: Request) -> StreamingResponse:
        async def events():
            yield "begun,"
            await released.wait()
            yield "ended"
            ended.append("the call")
        return StreamingResponse(events())

    @app.route("release", trigger_arg_name="request")
    async def release(request: Request) -> Response:
        async def later():
            yield "released"
            os.kill(os.getpid(), int(request.query_params["signal"]))
            while still_listens():
                await asyncio.sleep(0.01)
            released.set()
        return StreamingResponse(later())

    def still_listens():
        import socket
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(os.environ["PORT"]))) == 0
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with running("localhost", "--port", port, cwd=app(code), env={"PORT": port}) as host:
        with httpx2.stream("GET", f"{host.url}/api/open") as answer:
            parts = answer.iter_text()
            assert next(parts) == "begun,"
            httpx2.get(f"{host.url}/api/release", params={"signal": int(number)})
            assert next(parts) == "ended"
        assert host.process.wait(10) == 0
        assert host.complained() == ""
        assert host.process.stdout is not None
        assert host.process.stdout.read() == b"flushed after the call\n"


def test_wrong_settings(app: Write) -> None:
    """An app that finds its settings wrong says so in `startup_error`, and the host ends with status 1."""
    assert refused(app("startup_error = 'AZURE_OPENAI_ENDPOINT is not set'")) == (
        1,
        "AZURE_OPENAI_ENDPOINT is not set\n",
    )


def test_no_wrong_settings(app: Write) -> None:
    """A `startup_error` of None or nothing is none."""
    with running("localhost", "--port", "0", cwd=app(HELLO + "startup_error = None")) as host:
        assert httpx2.get(f"{host.url}/api/hello").status_code == 200


CHECK = """
import pathlib
async def check_start() -> str:
    pathlib.Path("checked").write_text("in the loop that serves")
    await asyncio.sleep(0)
    return os.environ.get("WRONG", "")
"""


def test_what_only_a_check_can_find(app: Write) -> None:
    """An app that has to look first does so in `check_start`, before anything listens; what is wrong ends the host."""
    directory = app(HELLO + CHECK)
    command = [sys.executable, "-m", "localhost", "--port", "0"]
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment({"WRONG": "GATEWAY_VIRTUAL_KEYS has an id twice"}),
        capture_output=True,
        text=True,
        timeout=HANGS_SECONDS,
        check=False,
    )
    assert (1, "", "GATEWAY_VIRTUAL_KEYS has an id twice\n") == (done.returncode, done.stdout, done.stderr)
    assert (directory / "checked").exists()
    with running("localhost", "--port", "0", cwd=directory) as host:
        assert httpx2.get(f"{host.url}/api/hello").status_code == 200


def test_port_in_use(app: Write) -> None:
    """A port that another has is one line and status 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, said = refused(app(), "--port", str(port))
    assert (1, f"cannot listen on 127.0.0.1:{port}: Address already in use\n") == (status, said)


def test_no_app(tmp_path: Path) -> None:
    """A directory without an app is one line and status 1."""
    assert (1, f"there is no function_app.py in {tmp_path}\n") == refused(tmp_path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("del app", "function_app.py has no FunctionApp by the name of app"),
        (HELLO.replace('hello",', 'a/{id",'), "function hello: route 'api/a/{id' has a brace"),
        (HELLO.replace(', trigger_arg_name="request"', ""), "function hello has the parameter request, but"),
    ],
)
def test_app_that_azure_would_not_take(app: Write, code: str, message: str) -> None:
    """What would be 0 functions in Azure, without a word, is a line here, and status 1."""
    status, said = refused(app(code))
    assert status == 1
    assert said.startswith(message)


def test_settings_that_are_not_json(app: Write) -> None:
    """A file that is not JSON is named."""
    directory = app()
    (directory / "host.json").write_text("{,}")
    status, said = refused(directory)
    assert (status, said.split(":")[0]) == (1, "host.json is not JSON")


def test_import_that_fails(app: Write) -> None:
    """An app that cannot be imported is its traceback, and status 1."""
    status, said = refused(app("import no_such_module"))
    assert (status, said.splitlines()[-1]) == (1, "ModuleNotFoundError: No module named 'no_such_module'")
