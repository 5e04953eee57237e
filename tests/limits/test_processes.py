"""Several processes and one key, over Azurite: limits hold across instances, and what a dead one held is given back."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from adapters.bootstrap import utc_now
from core.auth.caller import Caller
from core.deployments.costs import Basis, Bill, Charge
from core.domain.errors import RateLimited
from core.domain.limits import Limits, Rate
from core.limits.limiter import Limiter
from core.settings.settings import read_settings
from tests.fakes import plan, step
from tests.house import ROOT, environment
from tests.limits.one_process import LIMIT

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Awaitable, Callable

    from adapters.azure_storage.tables import AzureTables

    Start = Callable[..., Awaitable[Process]]

TEAM_A = Caller(id="team-a", limits=Limits(images=Rate(limit=LIMIT, window_seconds=3600)))
CALL_SECONDS = read_settings(environment("https://example.openai.azure.com")).limits.call


@pytest.fixture
async def start(azurite: str, prefix: str) -> AsyncIterator[Start]:
    """Starts a gateway in a process of its own, and ends what still runs at the end."""
    started: list[Process] = []

    async def begin(**told: Any) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.limits.one_process",
            json.dumps({"storage": azurite, "prefix": prefix, "n": 1, "draws": True, **told}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def heard(process: Process) -> str:
    """The next line that a process says."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def go(process: Process) -> None:
    """Let it begin."""
    assert process.stdin is not None
    process.stdin.write(b"\n")


def limiter(tables: AzureTables, later: dt.timedelta = dt.timedelta()) -> Limiter:
    """A governor whose clock is so much later than now."""
    return Limiter(
        tables, call_seconds=CALL_SECONDS, now=lambda: utc_now() + later, wait=asyncio.sleep, chance=lambda: 0.5
    )


async def test_exactly_as_many_get_through_as_may(start: Start, azure_tables: AzureTables) -> None:
    """Fifty calls from four processes at the same time, on one key with twenty pictures left: twenty draw."""
    before = limiter(azure_tables)
    admission = await before.admit(TEAM_A, plan(step("a")), LIMIT - 20)
    assert admission is not None
    drawn = Charge(deployment="a", nanos=None, basis=Basis.UNKNOWN, images=LIMIT - 20)
    before.close(admission, Bill(charges=(drawn,)))
    await before.flush(10)
    processes = [await start(calls=calls) for calls in (13, 13, 12, 12)]
    for process in processes:
        assert await heard(process) == "ready"
    for process in processes:
        go(process)
    statuses: Counter[int] = Counter()
    for process in processes:
        said = await heard(process)
        statuses.update(json.loads(await heard(process) if said == "asked" else said))
    assert {200: 20, 429: 30} == statuses
    status = await limiter(azure_tables).status(TEAM_A)
    assert status.images is not None
    assert (0, 0) == (status.images.remaining, status.in_flight)


async def test_what_a_dead_process_held_is_given_back(start: Start, azure_tables: AzureTables) -> None:
    """A process killed between reservation and settlement holds its pictures until the lease is over, and no longer."""
    process = await start(calls=1, n=10, draws=False)
    assert await heard(process) == "ready"
    go(process)
    assert await heard(process) == "asked"
    process.kill()
    await process.wait()
    early = limiter(azure_tables, dt.timedelta(seconds=CALL_SECONDS))
    with pytest.raises(RateLimited):
        await early.admit(TEAM_A, plan(step("a")), LIMIT - 9)
    late = limiter(azure_tables, dt.timedelta(seconds=CALL_SECONDS + 60))
    assert await late.admit(TEAM_A, plan(step("a")), LIMIT - 9)
