"""A process is killed at each step of a job: it is drawn once at most, and never `running` beyond its lease."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from adapters.azure_storage.queues import AzureQueues
from core.azure_openai.token_source import NoIdentity
from core.jobs.store import STARTING
from emulator.server import running
from tests.chaos.dying import Scene, dying, gateway, order_and_die, take_and_die
from tests.chaos.survivor import Later, Survivor, heard, id_of_the_letter, in_flight
from tests.transports import new_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.azure_storage.tables import AzureTables
    from core.storage.account import StorageAccount

DRAWN, NEVER_ANSWERS = "gpt-image-1--fault-bytes-60000", "gpt-image-1--fault-hang"
BEGINNING = STARTING
"""The lease of a job that has been taken and has not asked."""
DRAWING = dt.timedelta(seconds=900 + 120)
"""The lease of a job that has asked: its time, and two minutes for keeping what came of it."""
ALL_RESERVATIONS = dt.timedelta(hours=2)
BY_HTTP, BY_QUEUE = "by http", "by queue"

DRAWN_AFTER_ALL = ("succeeded", None)
LOST = ("failed", "outcome_unknown")


@pytest.fixture
async def queues(azurite_account: StorageAccount, prefix: str) -> AsyncIterator[AzureQueues]:
    """The queues of the scene."""
    connection = new_transport()
    yield AzureQueues(azurite_account, connection, NoIdentity(), prefix=prefix)
    await connection.aclose()


@dataclass(frozen=True)
class Step:
    """Where the process dies while it carries a job out, and what is then true."""

    says: str
    at: str
    """The step's name (tests/chaos/dying.py); empty: as soon as upstream has the request."""
    bought: int
    """How many pictures were bought until then."""
    lease: dt.timedelta | None
    """What runs on when it has died; None: the job has ended."""
    between: str | None
    """What the job is once that is over and nobody has come by."""
    end: tuple[str, str | None]
    """What it comes to, with the next delivery of its message."""
    door: str | None = None
    """How it must have come for there to be this step; None: it is the same both ways."""


STEPS = [
    Step("taken", "after change GatewayJobs 2", 0, BEGINNING, "queued", DRAWN_AFTER_ALL),
    Step("reserved", "after change GatewayCounters 1", 0, BEGINNING, "queued", DRAWN_AFTER_ALL, BY_QUEUE),
    Step("asking is to be written", "before change GatewayJobs 3", 0, BEGINNING, "queued", DRAWN_AFTER_ALL),
    Step("asking is written", "after change GatewayJobs 3", 0, DRAWING, "failed", LOST),
    Step("the request is to be sent", "before ask", 0, DRAWING, "failed", LOST),
    Step("the request was sent", "", 1, DRAWING, "failed", LOST),
    Step("the answer begins", "after head", 1, DRAWING, "failed", LOST),
    Step("the answer arrived", "after answer", 1, DRAWING, "failed", LOST),
    Step("the picture was stored", "after put gateway-images 1", 1, DRAWING, "failed", LOST, BY_HTTP),
    Step("the picture was stored", "after put image-results 1", 1, DRAWING, "failed", LOST, BY_QUEUE),
    Step("the row is to be finished", "before change GatewayJobs 4", 1, DRAWING, "failed", LOST),
    Step("the row is finished", "after change GatewayJobs 4", 1, None, None, DRAWN_AFTER_ALL),
    Step("the result was written", "after put image-results 2", 1, None, None, DRAWN_AFTER_ALL, BY_QUEUE),
    Step("the event was sent", "after send image-events 1", 1, None, None, DRAWN_AFTER_ALL),
    Step("it is announced", "after change GatewayJobs 5", 1, None, None, DRAWN_AFTER_ALL),
]
BOTH_WAYS = [(step, door) for step in STEPS for door in (BY_HTTP, BY_QUEUE) if step.door in {None, door}]


@pytest.mark.parametrize(("step", "door"), BOTH_WAYS, ids=lambda each: getattr(each, "says", each).replace(" ", "-"))
async def test_a_job_that_is_carried_out(  # noqa: PLR0917 -- fixtures
    step: Step, door: str, azurite: str, azure_tables: AzureTables, queues: AzureQueues, prefix: str
) -> None:
    """One that had not asked is drawn after all; one that had has failed, its outcome unknown; and it is told."""
    now = Later()
    async with running() as azure:
        deployment = DRAWN if step.at else NEVER_ANSWERS
        scene = Scene(storage=azurite, prefix=prefix, emulator_url=azure.url, deployment=deployment)
        async with dying(order_and_die if door == BY_HTTP else take_and_die, scene, step.at) as process:
            if not step.at:
                await azure.calls.until(lambda calls: len(calls) == 1)
                process.kill()
        assert step.bought == len(azure.calls)
        async with gateway(scene, now=now) as built:
            survivor = Survivor(built, scene, queues)
            job_id = (await survivor.messages("image-jobs"))[0] if door == BY_HTTP else id_of_the_letter(scene)
            message = job_id if door == BY_HTTP else None
            if step.lease is not None:
                before = await survivor.waiting("image-jobs") if door == BY_HTTP else 0
                await survivor.deliver(message)
                assert "running" == (await survivor.shown(job_id))["status"]
                assert before + 1 == await survivor.waiting("image-jobs")  # to be looked at again
                now.by = step.lease
                assert step.between == (await survivor.shown(job_id))["status"]
                message = job_id
            await survivor.deliver(message)
            shown = await survivor.shown(job_id)
            assert step.end == (shown["status"], shown.get("error", {}).get("error", {}).get("code"))
            await survivor.deliver(message)
            events = [json.loads(event) for event in await survivor.messages("image-events")]
        assert (1 if step.end == DRAWN_AFTER_ALL else step.bought) == len(azure.calls)
    (told,) = {(event["id"], event["type"]) for event in events}
    assert (job_id if door == BY_HTTP else scene.name, f"image.generation.{step.end[0]}") == told
    now.by = ALL_RESERVATIONS
    assert 0 == await in_flight(azure_tables, now)


@dataclass(frozen=True)
class Ordering:
    """Where the process dies while it takes an order with a name, and what is then true."""

    says: str
    at: str
    message: bool
    """Whether there is a message that names the job."""
    repeat: tuple[int, str | None]
    """What a repeat is told while the lease of the dead one runs."""
    later: tuple[int, str | None]
    """And when it is over."""


ORDERED = (202, None)
PENDING, UNKNOWN = (409, "idempotency_in_progress"), (409, "outcome_unknown")
ORDERINGS = [
    Ordering("before the claim", "before change GatewayOnce 1", False, ORDERED, ORDERED),
    Ordering("after the claim", "after change GatewayOnce 1", False, PENDING, UNKNOWN),
    Ordering("after the reservation", "after change GatewayCounters 1", False, PENDING, UNKNOWN),
    Ordering("before the row", "before change GatewayJobs 1", False, PENDING, UNKNOWN),
    Ordering("after the row", "after change GatewayJobs 1", False, PENDING, UNKNOWN),
    Ordering("after the message", "after send image-jobs 1", True, PENDING, UNKNOWN),
    Ordering("after it was kept", "after change GatewayOnce 2", True, ORDERED, ORDERED),
    Ordering("after it was told", "after order", True, ORDERED, ORDERED),
]


@pytest.mark.parametrize("step", ORDERINGS, ids=lambda step: step.says.replace(" ", "-"))
async def test_a_job_that_is_ordered(
    step: Ordering, azurite: str, azure_tables: AzureTables, queues: AzureQueues, prefix: str
) -> None:
    """A repeat orders it, or is told what is known; either way it is one job at most, and it is drawn once."""
    now = Later()
    async with running() as azure:
        scene = Scene(storage=azurite, prefix=prefix, emulator_url=azure.url, deployment=DRAWN)
        async with dying(order_and_die, scene, step.at):
            pass
        async with gateway(scene, now=now) as built:
            survivor = Survivor(built, scene, queues)
            order = scene.call(prefer="respond-async")
            for said in (step.repeat, step.later):
                repeat, _ = await heard(await built.gateway.generate_image(order))
                assert said == repeat
                now.by = dt.timedelta(seconds=220 + 200 + 60)
            jobs = await survivor.messages("image-jobs") if step.message or step.repeat == ORDERED else []
            for job_id in jobs * 2:
                await survivor.deliver(job_id)
            states = [(await survivor.shown(job_id))["status"] for job_id in jobs]
        drawn = int(step.message or step.repeat == ORDERED)
        assert (["succeeded"] * drawn, drawn) == (states, len(azure.calls))
    now.by = ALL_RESERVATIONS
    assert 0 == await in_flight(azure_tables, now)
