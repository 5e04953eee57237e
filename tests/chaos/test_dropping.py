"""Two hundred callers, fifty names between them, and a line on which a third of the connections drop."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.chaos.proxy import DROPPED, Fate, dropping
from tests.house import KEY, PROMPT, house
from tests.http.wire import path
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from emulator.calls import Calls
    from tests.house import House

CALLERS, NAMES, SEED = 200, 50, 4711
SECONDS = HANGS_SECONDS
"""Within which all must have their answers."""
DELAY_SECONDS = 0.3
"""Of every answer of the model."""
FORMS: list[dict[str, Any]] = [{}, {"response_format": "url"}, {"stream": True}, {"n": 2}]


def drawn_by(number: int) -> str:
    """The model's deployment for a name, so that it can be counted: 40,000 characters of noise."""
    return f"gpt-image-1--fault-bytes-40000--{number}"


CATALOGUE = {
    "deployments": {
        f"for-{number}": {"family": "gpt-image-1", "targets": [{"deployment": drawn_by(number)}]}
        for number in range(NAMES)
    }
}


@pytest.fixture(params=["memory", "azurite"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A gateway that keeps outcomes in its process, and one that keeps them in Azure Storage."""
    storage = {} if request.param == "memory" else {"AzureWebJobsStorage": request.getfixturevalue("azurite")}
    async with house({"delay_seconds": DELAY_SECONDS}, GATEWAY_CATALOGUE=CATALOGUE, **storage) as running:
        yield running


@dataclass(frozen=True)
class Caller:
    """Somebody who asks until there is an answer."""

    http: httpx2.AsyncClient
    calls: Calls
    name: str
    number: int
    """Of the name."""

    async def answer(self) -> httpx2.Response:
        """Ask, and ask again when the line drops or somebody else's call with the name is under way."""
        while True:
            try:
                answer = await self._ask()
            except httpx2.TransportError:
                continue
            if answer.status_code != 409:
                return answer
            assert answer.json()["error"]["code"] == "idempotency_in_progress"
            await self.calls.until(self._drawn)

    def _drawn(self, calls: Calls) -> bool:
        return any(call.state != "open" for call in calls.to(drawn_by(self.number)))

    async def _ask(self) -> httpx2.Response:
        return await self.http.post(
            path(f"for-{self.number}"),
            headers={"authorization": f"Bearer {KEY}", "idempotency-key": f"{self.name}-{self.number}"},
            json={"model": "gpt-image-1", "prompt": PROMPT, **FORMS[self.number % len(FORMS)]},
        )


@pytest.mark.slow
async def test_each_name_is_bought_once_and_whoever_asks_again_gets_the_same_bytes(gateway: House, prefix: str) -> None:
    """Whatever is dropped, and whoever of the four callers of a name was first."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        asyncio.timeout(SECONDS),
        dropping(gateway.url, seed=SEED) as (url, line),
        httpx2.AsyncClient(base_url=url, limits=limits, timeout=SECONDS, trust_env=False) as http,
    ):
        callers = [Caller(http, gateway.calls, prefix, number % NAMES) for number in range(CALLERS)]
        answers = await asyncio.gather(*(caller.answer() for caller in callers))
        again = await asyncio.gather(*(caller.answer() for caller in callers))
    assert {200: CALLERS} == Counter(answer.status_code for answer in answers)
    assert {"true": CALLERS} == Counter(answer.headers["idempotent-replayed"] for answer in again)
    bodies: dict[int, set[bytes]] = {}
    for caller, answer in zip(callers * 2, answers + again, strict=True):
        bodies.setdefault(caller.number, set()).add(answer.content)
    each_once = dict.fromkeys(range(NAMES), 1)
    assert each_once == {number: len(different) for number, different in bodies.items()}
    assert each_once == {number: gateway.calls.count(drawn_by(number)) for number in range(NAMES)}
    check_that_a_third_was_dropped(line.fates)


def check_that_a_third_was_dropped(fates: Counter[Fate]) -> None:
    """Find that the line was as bad as it is said to be."""
    assert 0.25 < sum(fates[fate] for fate in DROPPED) / fates.total() < 0.42
    assert all(fates[fate] >= 10 for fate in DROPPED)
