"""Sixty-four streams at once, one of them read by nobody: memory stays within its formula."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx2
import pytest

from tests.house import KEY, PROMPT, environment
from tests.waiting import HANGS_SECONDS
from tests.worker.processes import ROOT, running

STREAMS = 64
EVENT_BYTES = 4 << 20
FACTOR = 1.25
"""Memory over the idle process, for each stream: this many times its event."""

NAME = f"gpt-image-1--fault-bytes-{EVENT_BYTES}"
STATUS = Path("/proc/self/status")


def _kilobytes(process: int, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1])


async def _read(client: httpx2.AsyncClient, begun: asyncio.Semaphore, go_on: asyncio.Event | None) -> int:
    """Read a stream; give how many bytes it had. With `go_on`, stop after the head until it is set."""
    body = {"model": "m", "prompt": PROMPT, "stream": True}
    size = 0
    path = f"/openai/openai/deployments/{NAME}/images/generations"
    async with client.stream("POST", path, json=body) as answer:
        begun.release()
        if go_on is not None:
            await go_on.wait()
        async for piece in answer.aiter_raw():
            size += len(piece)
    return size


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="memory is read from /proc")
async def test_memory_of_many_streams() -> None:
    """The peak over the idle process is at most 64 x 1.25 x the event, with a slow reader among them."""
    with running("emulator", "--port", "0", "--delay", "0", cwd=ROOT) as azure:
        settings = environment(azure.url, GATEWAY_CATALOGUE={"deployments": {NAME: {"family": "gpt-image-1"}}})
        with running("localhost", "--port", "0", cwd=ROOT, env=settings) as gateway:
            headers = {"authorization": f"Bearer {KEY}"}
            limits = httpx2.Limits(max_connections=None)
            async with httpx2.AsyncClient(
                base_url=gateway.url, headers=headers, limits=limits, timeout=HANGS_SECONDS, trust_env=False
            ) as client:
                begun = asyncio.Semaphore(0)
                await _read(client, begun, None)
                idle = _kilobytes(gateway.process.pid, "VmRSS")
                go_on = asyncio.Event()
                slow = asyncio.create_task(_read(client, begun, go_on))
                sizes = await asyncio.gather(*(_read(client, begun, None) for _ in range(STREAMS - 1)))
                go_on.set()
                sizes.append(await slow)
            peak = _kilobytes(gateway.process.pid, "VmHWM")
    assert all(size > EVENT_BYTES for size in sizes)
    assert (peak - idle) * 1024 <= STREAMS * FACTOR * EVENT_BYTES, f"idle {idle} kB, peak {peak} kB"
