"""A process is killed at each step of a call with a name, and its caller asks again: nothing is bought twice."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from emulator.server import running
from tests.chaos.dying import CHARACTERS, Scene, call_and_die, dying, gateway
from tests.chaos.survivor import Later, heard, in_flight

if TYPE_CHECKING:
    from adapters.azure_storage.tables import AzureTables

LEASE = dt.timedelta(seconds=220 + 200 + 60)
"""A call's time, that of an attempt which goes on beyond it, and what clocks may differ."""
DRAWN = f"gpt-image-1--fault-bytes-{CHARACTERS}"
NEVER_ANSWERS = "gpt-image-1--fault-hang"

ANSWER = (200, None)
RUNNING, UNKNOWN = (409, "idempotency_in_progress"), (409, "outcome_unknown")


@dataclass(frozen=True)
class Step:
    """Where the process dies, and what is then true."""

    says: str
    at: str
    """The step's name (tests/chaos/dying.py); empty: as soon as upstream has the request."""
    bought: int
    """How many pictures were bought until then."""
    repeat: tuple[int, str | None]
    """What a repeat is told while the lease of the dead one runs."""
    later: tuple[int, str | None]
    """And when it is over."""


STEPS = [
    Step("before the claim", "before change GatewayOnce 1", 0, ANSWER, ANSWER),
    Step("after the claim", "after change GatewayOnce 1", 0, RUNNING, UNKNOWN),
    Step("after the reservation", "after change GatewayCounters 1", 0, RUNNING, UNKNOWN),
    Step("before the request is sent", "before ask", 0, RUNNING, UNKNOWN),
    Step("after the request was sent", "", 1, RUNNING, UNKNOWN),
    Step("when the answer begins", "after head", 1, RUNNING, UNKNOWN),
    Step("after the answer arrived", "after answer", 1, RUNNING, UNKNOWN),
    Step("before the body is stored", "before put gateway-outcomes 1", 1, RUNNING, UNKNOWN),
    Step("after the body was stored", "after put gateway-outcomes 1", 1, RUNNING, UNKNOWN),
    Step("before the row is stored", "before change GatewayOnce 2", 1, RUNNING, UNKNOWN),
    Step("after the row was stored", "after change GatewayOnce 2", 1, ANSWER, ANSWER),
    Step("after the answer was sent", "after all", 1, ANSWER, ANSWER),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.says.replace(" ", "-"))
async def test_a_call(step: Step, azurite: str, azure_tables: AzureTables, prefix: str) -> None:
    """A repeat is answered, or told that the first one runs, and from its lease's end that nobody knows."""
    now = Later()
    async with running() as azure:
        scene = Scene(
            storage=azurite, prefix=prefix, emulator_url=azure.url, deployment=DRAWN if step.at else NEVER_ANSWERS
        )
        async with dying(call_and_die, scene, step.at) as process:
            if not step.at:
                await azure.calls.until(lambda calls: len(calls) == 1)
                process.kill()
        assert step.bought == len(azure.calls)
        async with gateway(scene, now=now) as survivor:
            repeat, _ = await heard(await survivor.gateway.generate_image(scene.call()))
            assert step.repeat == repeat
            now.by = LEASE
            later, body = await heard(await survivor.gateway.generate_image(scene.call()))
            assert step.later == later
            if step.later == ANSWER:
                assert (ANSWER, body) == await heard(await survivor.gateway.generate_image(scene.call()))
        assert (1 if step.later == ANSWER else step.bought) == len(azure.calls)
    assert 0 == await in_flight(azure_tables, now)
