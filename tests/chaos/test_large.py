"""A picture of 33 MB as `url`, as replay and as job: memory stays within what docs/performance.md says."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from localhost import azurite
from tests.house import KEY, PROMPT, environment
from tests.http.wire import path
from tests.waiting import HANGS_SECONDS
from tests.worker.processes import ROOT, Running, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PICTURE = 33_000_000
BASE64 = PICTURE // 3 * 4
IN_FLIGHT = int(1.07 * BASE64)
"""What a picture in flight takes (docs/performance.md)."""
BLOCKS = 7 * (4 << 20)
"""What may be held besides: the block that is sent, what it is made of and copied into on the way, and what the system
has not taken back yet; less than the picture itself. Four are measured on an idle machine."""
SECONDS = HANGS_SECONDS
MOST_LOOKS = 5_000
"""At a job that is drawn in some seconds."""
CATALOGUE = {
    "deployments": {
        name: {"family": "gpt-image-1", "targets": [{"deployment": f"gpt-image-1--fault-bytes-{size}"}]}
        for name, size in {"small": 60_000, "large": BASE64}.items()
    }
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc"),
]


class Gateway:
    """A gateway in a process of its own."""

    def __init__(self, own: Running) -> None:
        self._process = own.process.pid
        headers = {"authorization": f"Bearer {KEY}"}
        self.http = httpx2.Client(base_url=own.url, headers=headers, timeout=SECONDS, trust_env=False)

    def draw(self, deployment: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx2.Response:
        """Ask for a picture."""
        sent = {"model": "gpt-image-1", "prompt": PROMPT, **body}
        answer = self.http.post(path(deployment), headers=headers, json=sent)
        assert answer.status_code in {200, 202}, answer.text[:500]
        return answer

    def job(self, deployment: str) -> dict[str, Any]:
        """Order a job, and look at it until it has ended."""
        ordered = self.draw(deployment, headers={"prefer": "respond-async"})
        for _ in range(MOST_LOOKS):
            shown: dict[str, Any] = self.http.get(ordered.headers["location"]).json()
            if shown["status"] not in {"queued", "running"}:
                return shown
        raise AssertionError(f"the job does not end: {shown}")

    @property
    def idle(self) -> int:
        """Its memory now."""
        return _bytes(self._process, "VmRSS")

    @property
    def peak(self) -> int:
        """The most it had."""
        return _bytes(self._process, "VmHWM")


def _bytes(process: int, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """Of a gateway before an emulator and an Azurite that are nobody else's: messages of others would be taken."""
    if not azurite.INSTALLED.exists():
        pytest.skip("Azurite is not installed: `make test` does that where there is npm")
    with running("emulator", "--port", "0", "--delay", "0", cwd=ROOT) as azure:
        store = azurite.start()
        try:
            yield environment(azure.url, AzureWebJobsStorage=store.connection_string, GATEWAY_CATALOGUE=CATALOGUE)
        finally:
            store.stop()


@contextmanager
def gateway(settings: dict[str, str]) -> Iterator[Gateway]:
    """Run a gateway that has done nothing yet."""
    with running("localhost", "--port", "0", cwd=ROOT, env=settings) as own:
        started = Gateway(own)
        with started.http:
            yield started


def fetched(url: str) -> int:
    """How many bytes anybody finds at a link."""
    answer = httpx2.get(url, trust_env=False, timeout=SECONDS)
    assert 200 == answer.status_code
    return len(answer.content)


def lowest(peak: Callable[[], int]) -> int:
    """A peak, measured again where it was too high: whatever else goes on on the machine can only add to it."""
    found = peak()
    return found if found <= IN_FLIGHT + BLOCKS else min(found, peak())


def test_as_url(settings: dict[str, str]) -> None:
    """It is decoded and stored in blocks: beside the base64 there are only these."""
    urls = []

    def peak() -> int:
        with gateway(settings) as own:
            own.draw("small", response_format="url")  # everything is imported, and the container is made
            idle = own.idle
            (item,) = own.draw("large", response_format="url").json()["data"]
            urls.append(item["url"])
            return own.peak - idle

    assert lowest(peak) <= IN_FLIGHT + BLOCKS
    assert PICTURE == fetched(urls[-1])


def test_as_replay(settings: dict[str, str]) -> None:
    """Keeping the answer takes the blocks beside it; a replay takes nothing else."""
    answers = {}

    def peak() -> int:
        with gateway(settings) as first:
            first.draw("small", headers={"idempotency-key": f"small-{len(answers)}"})
            idle = first.idle
            name = f"large-{len(answers)}"
            answers[name] = first.draw("large", headers={"idempotency-key": name}).content
            return first.peak - idle

    assert lowest(peak) <= IN_FLIGHT + BLOCKS
    name, answer = answers.popitem()
    with gateway(settings) as other:
        other.draw("small", headers={"idempotency-key": "small-0"})
        idle = other.idle
        again = other.draw("large", headers={"idempotency-key": name})
        assert other.peak - idle <= BLOCKS
    assert ("true", answer) == (again.headers["idempotent-replayed"], again.content)


def test_as_job(settings: dict[str, str]) -> None:
    """As with `url`: nobody waits, and nobody is answered with base64."""
    jobs = []

    def peak() -> int:
        with gateway(settings) as own:
            own.job("small")
            idle = own.idle
            jobs.append(own.job("large"))
            return own.peak - idle

    assert lowest(peak) <= IN_FLIGHT + BLOCKS
    assert "succeeded" == jobs[-1]["status"]
    assert PICTURE == fetched(jobs[-1]["answer"]["data"][0]["url"])
