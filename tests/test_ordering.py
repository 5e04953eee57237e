"""Calls and orders under a name: whoever leaves and whatever fails on the way in, it is bought once at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.jobs.running import ANSWER_LOST, LIMITED, REFUSED, Town, settled

if TYPE_CHECKING:
    from core.domain.response import HttpResponse

NAMED = {"idempotency_key": "order-1"}
JOB = {**NAMED, "prefer": "respond-async"}
STEPS = 12


def told(reply: HttpResponse) -> tuple[int, str]:
    """The status, and the error's code."""
    body = orjson.loads(b"".join(bytes(piece) for piece in reply.whole))
    return reply.status, body["error"]["code"] if "error" in body else ""


async def left(town: Town, step: int, **headers: str) -> None:
    """Make a call whose caller leaves at a step."""
    call = asyncio.ensure_future(town.call(**headers))
    town.process()
    town.steps.before[step] = call.cancel
    await asyncio.wait({call})
    await settled()


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_caller_that_leaves_at_any_step_and_comes_back_has_its_picture(step: int) -> None:
    """Drawn once: by the first call, or by the second where the first had not come so far."""
    town = Town()
    await left(town, step, **NAMED)
    assert (200, "") == told(await town.call(**NAMED))
    assert (1, (0, 1)) == (town.asked, await town.account())


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_caller_that_leaves_while_it_orders_has_one_job(step: int) -> None:
    """Whether the first order was taken or not."""
    town = Town()
    await left(town, step, **JOB)
    assert (202, "") == told(await town.call(**JOB))
    await town.deliver()
    assert (1, (0, 1)) == (town.asked, await town.account())


@pytest.mark.parametrize("fault", [REFUSED, ANSWER_LOST])
@pytest.mark.parametrize("step", range(STEPS))
async def test_an_order_at_which_the_store_fails_can_be_given_again(step: int, fault: str) -> None:
    """At once, or when it is known what became of it; there is one job."""
    town = Town()
    town.process({step: fault})
    first = told(await town.call(**JOB))
    assert first in {(202, ""), (503, "store_unavailable")}
    town.process()
    assert (202, "") == told(await town.call(**JOB))
    await town.deliver()
    assert (1, (0, 1)) == (town.asked, await town.account())


async def test_an_order_that_may_have_been_taken_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message may be in the queue, and it could not be cancelled: the same again is no second job."""
    town = Town()
    town.process()
    await town.call(prefer="respond-async")
    message = town.steps.taken - 1  # the last step of an order is its message
    town = Town(key=LIMITED)
    claim = 1
    town.process({message + claim: ANSWER_LOST, message + claim + 1: REFUSED})
    first = await town.call(**JOB)
    assert ((503, "store_unavailable"), "false") == (told(first), first.headers["x-should-retry"])
    assert (409, "idempotency_in_progress") == told(await town.call(**JOB))
    await town.deliver()
    assert (1, (0, 1)) == (town.asked, await town.account())
