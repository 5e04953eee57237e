"""`make soak`: minutes of mixed calls against every fault; nothing may be lost or hang, and memory must stay flat."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2

from tests.faults.table import ROWS
from tests.house import KEY, PROMPT, environment, events_of
from tests.worker.processes import ROOT, running

AT_ONCE = 16
LONGEST_SECONDS = 30.0
"""An answer that takes longer hangs: attempts are limited to five seconds."""
MOST_GROWTH_KB = 10_240
"""How much the process may grow between the end of the first fifth and the end."""

GOOD = "gpt-image-1.5--fault-bytes-200000"
NAMES = [f"gpt-image-1--fault-{row.fault}--{number}" for number, row in enumerate(ROWS) if not row.slowly]
SETTINGS = {
    "GATEWAY_ATTEMPT_SECONDS": "5",
    "GATEWAY_FIRST_BYTE_SECONDS": "1",
    "GATEWAY_IDLE_SECONDS": "1",
    "GATEWAY_HEARTBEAT_SECONDS": "0.5",
    "GATEWAY_CATALOGUE": {"deployments": {name: {"family": "gpt-image-1"} for name in (*NAMES, GOOD)}},
}


class Soak:
    """What has been seen so far."""

    def __init__(self, client: httpx2.AsyncClient, ends_at: float) -> None:
        self.client = client
        self.ends_at = ends_at
        self.seen: Counter[str] = Counter()

    async def caller(self, seed: int) -> None:
        """One caller: asks, reads, sometimes leaves, until time is over."""
        chance = random.Random(seed)  # noqa: S311 -- a run that can be repeated
        while time.monotonic() < self.ends_at:
            await self.call(chance)

    async def call(self, chance: random.Random) -> None:
        """Make one call and count how it ended."""
        stream = chance.random() < 0.5
        body = {"model": "m", "prompt": PROMPT, "stream": stream, "partial_images": 1, "fallbacks": [GOOD]}
        name = chance.choice([*NAMES, GOOD])
        leaves_after = chance.random() if chance.random() < 0.1 else LONGEST_SECONDS
        path = f"/openai/openai/deployments/{name}/images/generations"
        try:
            async with asyncio.timeout(leaves_after):
                answer = await self.client.post(path, json=body)
        except TimeoutError:
            self.seen["left" if leaves_after < LONGEST_SECONDS else "HUNG"] += 1
        except httpx2.HTTPError as error:
            self.seen[f"LOST {type(error).__name__}"] += 1
        else:
            self.seen[_ending(answer)] += 1


def _ending(answer: httpx2.Response) -> str:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return f"{answer.status_code}"
    last = events_of(answer.text)[-1][0] if "event: " in answer.text else "nothing"
    return f"stream to {last}" if last != "nothing" else "LOST stream without an end"


def _kilobytes(process: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) if found else 0


async def _soak(url: str, process: int, seconds: float) -> int:
    began_at = time.monotonic()
    headers = {"authorization": f"Bearer {KEY}"}
    memory: list[int] = []
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=2 * LONGEST_SECONDS, trust_env=False
    ) as client:
        soak = Soak(client, began_at + seconds)
        callers = [asyncio.create_task(soak.caller(seed)) for seed in range(AT_ONCE)]
        while any(not caller.done() for caller in callers):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.gather(*callers)), seconds / 20)
            memory.append(_kilobytes(process))
            print(
                f"{time.monotonic() - began_at:5.0f} s  {sum(soak.seen.values()):6} calls"
                f"  {memory[-1] / 1024:6.1f} MiB",
                flush=True,
            )
    for ending, count in sorted(soak.seen.items()):
        print(f"{count:7}  {ending}")
    growth = memory[-1] - memory[len(memory) // 5]
    bad = sum(count for ending, count in soak.seen.items() if ending.startswith(("LOST", "HUNG")))
    print(f"{bad} lost or hanging, memory grew by {growth / 1024:.1f} MiB after the first fifth")
    return int(bad > 0 or growth > MOST_GROWTH_KB)


def main() -> int:
    """Run it; the exit status is 1 where something was lost, hung or grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    seconds = parser.parse_args().minutes * 60
    with (
        running("emulator", "--port", "0", "--delay", "0", cwd=ROOT) as azure,
        running("localhost", "--port", "0", cwd=ROOT, env=environment(azure.url, **SETTINGS)) as gateway,
    ):
        return asyncio.run(_soak(gateway.url, gateway.process.pid, seconds))


if __name__ == "__main__":
    sys.exit(main())
