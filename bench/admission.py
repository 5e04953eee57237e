"""What limits add to a call: `python -m bench.admission [--seconds 3]`.

Callers ask to be let through, one call after the other, each settled before the next; what is timed is the wait before
a call may go upstream. Azurite runs on this machine: with Azure's own storage the network comes on top, twice.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapters.azure_storage.tables import AzureTables
from adapters.bootstrap import utc_now
from adapters.http.http1 import Http1Connection
from core.auth.caller import Caller
from core.azure_openai.token_source import NoIdentity
from core.deployments.catalogue import Catalogue, Target
from core.deployments.costs import NO_COST
from core.deployments.route_plan import make_plan
from core.domain.limits import NANOS, UNLIMITED, Budget, BudgetWindow, Limits, Rate
from core.domain.request import ImageRequest
from core.limits.limiter import Limiter
from core.settings.environment import Environment
from core.settings.storage import read_storage
from core.storage.memory_tables import MemoryTables
from localhost import azurite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.storage.tables import Tables

MANY: Final = 10**9
LIMITED: Final = Limits(
    requests=Rate(limit=MANY, window_seconds=60),
    images=Rate(limit=MANY, window_seconds=3600),
    budget=Budget(nanos=MANY * NANOS, window=BudgetWindow.MONTH),
)
TARGET: Final = Target(
    name="#1", endpoint="https://example.openai.azure.com", deployment="", default_api_version="2025-04-01-preview"
)
PLAN: Final = make_plan(
    Catalogue(listed=None, default=TARGET),
    ImageRequest(model="gpt-image-1", prompt="a red fox", fallbacks=["gpt-image-2"]),
    "gpt-image-1",
    lambda _: True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who calls."""

    name: str
    callers: int
    limits: Limits = LIMITED
    own_keys: bool = False
    """Whether each caller has a key of its own."""


LOADS: Final = (
    Load(name="1 caller", callers=1),
    Load(name="16 callers, one key", callers=16),
    Load(name="16 callers, 16 keys", callers=16, own_keys=True),
    Load(name="16 callers, a key without limits", callers=16, limits=UNLIMITED),
)


async def measure(tables: Tables, load: Load, seconds: float) -> list[float]:
    """Let the callers call for some seconds; give the time that each call waited, in milliseconds."""
    governor = Limiter(tables, call_seconds=220, now=utc_now, wait=asyncio.sleep, chance=random.random)
    ends_at = time.perf_counter() + seconds
    waits: list[float] = []

    async def call(number: int) -> None:
        caller = Caller(id=f"key-{number if load.own_keys else 0}", limits=load.limits)
        while (began_at := time.perf_counter()) < ends_at:
            admission = await governor.admit(caller, PLAN, 1)
            waits.append((time.perf_counter() - began_at) * 1000)
            if admission is None:
                await asyncio.sleep(0)
            else:
                governor.close(admission, NO_COST)

    await asyncio.gather(*(call(number) for number in range(load.callers)))
    await governor.flush(10)
    return waits


@asynccontextmanager
async def in_azurite() -> AsyncIterator[Tables]:
    """Tables in an Azurite of its own."""
    running = azurite.start()
    try:
        account = read_storage(Environment({"AzureWebJobsStorage": running.connection_string}))
        if account is None:
            raise AssertionError("the connection string says where the storage is")
        connection = Http1Connection(connect_seconds=5.0)
        yield AzureTables(account, connection, NoIdentity())
        await connection.aclose()
    finally:
        running.stop()


async def main(seconds: float) -> None:
    """Measure, and print a table."""
    print(f"{'store':<10}{'load':<34}{'p50 ms':>9}{'p95 ms':>9}{'calls/s':>9}")
    async with in_azurite() as stored:
        for name, tables in (("memory", MemoryTables()), ("Azurite", stored)):
            for load in LOADS:
                await measure(tables, load, seconds / 4)  # warm: connections, tables and code are there
                waits = await measure(tables, load, seconds)
                p95 = statistics.quantiles(waits, n=20)[-1]
                rate = len(waits) / seconds
                print(f"{name:<10}{load.name:<34}{statistics.median(waits):>9.3f}{p95:>9.3f}{rate:>9.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What limits add to a call.")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line of the table")
    asyncio.run(main(parser.parse_args().seconds))
