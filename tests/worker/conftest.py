"""`worker_host(app_directory, env)` runs any Functions app under Microsoft's own worker and gives its URL."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path  # noqa: TC003

import httpx2
import pytest

from tests.loopback import NO_CERTIFICATES
from tests.waiting import HANGS_SECONDS
from tests.worker.processes import APPS, ROOT, running

HAS_WORKER = sys.version_info >= (3, 13)
StartHost = Callable[..., str]


@pytest.fixture(scope="session")
def worker_host() -> Iterator[StartHost]:
    """Start a worker host for an app; the same app with the same environment is started once."""
    if not HAS_WORKER:
        pytest.skip("azure-functions-runtime, Microsoft's worker as a library, needs Python 3.13")
    with contextlib.ExitStack() as stack:
        started: dict[tuple[Path, frozenset[tuple[str, str]]], str] = {}

        def start(app_directory: Path, env: Mapping[str, str] | None = None) -> str:
            key = (app_directory, frozenset((env or {}).items()))
            if key not in started:
                host = running("tests.worker.host", str(app_directory), cwd=ROOT, env=env)
                started[key] = stack.enter_context(host).url
            return started[key]

        yield start


@pytest.fixture(scope="session")
def worker_url(worker_host: StartHost) -> str:
    """Run the tests' own app under the worker."""
    return worker_host(APPS / "everything")


@pytest.fixture(scope="session")
def localhost_url() -> Iterator[str]:
    """Run the tests' own app under localhost, which leaves its queue function out: it cannot go there."""
    env = {"AzureWebJobsStorage__accountName": "elsewhere"}
    with running("localhost", "--port", "0", cwd=APPS / "everything", env=env) as host:
        yield host.url


@pytest.fixture
async def worker(worker_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of the app under the worker."""
    async with httpx2.AsyncClient(
        base_url=worker_url, timeout=HANGS_SECONDS, trust_env=False, verify=NO_CERTIFICATES
    ) as client:
        yield client


@pytest.fixture(params=["worker", "localhost"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of the app under each host in turn: what is true of one is true of the other."""
    url = request.getfixturevalue(f"{request.param}_url")
    async with httpx2.AsyncClient(
        base_url=url, timeout=HANGS_SECONDS, trust_env=False, verify=NO_CERTIFICATES
    ) as client:
        yield client
