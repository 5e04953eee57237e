"""`make run-storage`: all of it starts, a job goes through the queue, and Ctrl-C ends all in their order."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.waiting import HANGS_SECONDS
from tests.worker.processes import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = HANGS_SECONDS


@pytest.fixture
def demo(azurite: str) -> Iterator[subprocess.Popen[str]]:
    """The demo, in a group of processes of its own, as a shell starts it; skipped where there is no Azurite."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "localhost.demo", "--storage", "--port", port]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    ) as process:
        yield process
        process.terminate()
        process.wait(SECONDS)


def welcome(process: subprocess.Popen[str]) -> str:
    """What it says until it is ready."""
    said = ""
    assert process.stdout is not None
    while "Ctrl-C ends all" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


@pytest.mark.slow
def test_a_job_and_ctrl_c(demo: subprocess.Popen[str]) -> None:
    """A job that has begun when Ctrl-C comes is drawn and written down, because the storage ends last."""
    said = welcome(demo)
    gateway, key = re.findall(r"http://127\.0\.0\.1:\d+(?=/openai/)", said)[0], re.findall(r"sk-bf-[\w-]+", said)[0]
    order = re.search(r"curl -s (\S+) .* -H 'Prefer: respond-async' -d '([^']+)'", said)
    assert order is not None
    with httpx2.Client(headers={"authorization": f"Bearer {key}"}, base_url=gateway, timeout=SECONDS) as http:
        answer = http.post(order[1], content=order[2], headers={"prefer": "respond-async"})
        assert (202, f"/jobs/{answer.json()['id']}") == (answer.status_code, answer.headers["location"])
        deadline = time.monotonic() + SECONDS
        while http.get(answer.headers["location"]).json()["status"] == "queued":
            assert time.monotonic() < deadline
    os.killpg(demo.pid, signal.SIGINT)
    rest = demo.communicate(timeout=SECONDS)[0]
    assert (0, True) == (demo.returncode, '"outcome":"picture"' in rest), rest
    for word in ("Traceback", "cannot be reached", "broke", "missing"):
        assert word not in rest
