"""The answer as one JSON object (contract §4)."""

from __future__ import annotations

import asyncio

import pytest

from core.domain.errors import Stopping
from core.domain.outcome import FailureReason
from core.generation_task import GenerationTask, Shutdown
from core.responses.json import respond_json
from core.responses.response_builder import ResponseBuilder
from core.routing.attempt_log import AttemptSummary
from tests.fakes import Clock, failed
from tests.responses.scripted import EVENT_ID, TRAIL, Generation, a_call, body_of, drawn, gave_up, showing, task_of


async def answer(generation, about=None):
    return await respond_json(task_of(generation, about := about or a_call()), ResponseBuilder(about))


async def test_the_body():
    """The answer is upstream's, each item with its number, and the gateway's own fields."""
    usage = {"total_tokens": 7, "input_tokens_details": {"text_tokens": 1}}
    generation = Generation(drawn("QUJD", "REVG", size="1024x1024", usage=usage, new={"a": [None]}))

    reply = await answer(generation)

    assert {
        "created": 1_700_000_000,
        "size": "1024x1024",
        "usage": usage,
        "new": {"a": [None]},
        "data": [{"b64_json": "QUJD", "index": 0}, {"b64_json": "REVG", "index": 1}],
        "extra_fields": {
            "provider": "azure",
            "model_requested": "my-model",
            "deployment": "gpt-image-1",
            "request_type": "image_generation",
            "latency_ms": 1_500,
            "cost_usd": 0.0,
            "fallback_index": 0,
            "attempts": [{"deployment": "gpt-image-1", "outcome": "cut_short", "status": 200, "latency_ms": 7}],
        },
    } == body_of(reply)


async def test_the_headers():
    """The headers say what answered, after what, and what was left out."""
    reply = await answer(Generation(drawn("QUJD" * 100_000)))

    headers = dict(reply.headers)
    assert str(sum(len(piece) for piece in reply.body)) == headers.pop("content-length")
    assert {
        "content-type": "application/json",
        "apim-request-id": "apim-1",
        "x-gateway-deployment": "gpt-image-1",
        "x-gateway-fallback-index": "0",
        "x-gateway-attempts": "1",
        "x-gateway-cost-usd": "0",
        "x-gateway-dropped-params": "style, user",
    } == headers
    assert reply.status == 200


async def test_partial_images_are_not_told():
    """A caller who wants JSON sees nothing of partial images that kept upstream awake."""
    generation = Generation(showing(0), showing(1), drawn())

    assert [{"b64_json": "QUJD", "index": 0}] == body_of(await answer(generation))["data"]
    assert generation.closed


async def test_a_failure():
    """A generation without a picture is an error body with its status, the trail, and what was tried."""
    reply = await answer(
        Generation(gave_up(failed(FailureReason.SERVER_ERROR, status=503, relayed={"x-ms-region": "West"})))
    )

    body = body_of(reply)
    assert (502, 502, "upstream_error", False) == (
        reply.status,
        body["status_code"],
        body["error"]["code"],
        body["is_bifrost_error"],
    )
    assert {EVENT_ID} == {body["event_id"], body["error"]["event_id"]}
    assert TRAIL.as_json() == body["extra_fields"]["attempts"]
    assert ("West", "gpt-image-1", "1") == (
        reply.headers["x-ms-region"],
        reply.headers["x-gateway-deployment"],
        reply.headers["x-gateway-attempts"],
    )
    assert "x-should-retry" not in reply.headers


async def test_time_passes():
    """The latency is that of the whole call."""
    clock = Clock()
    about = a_call(clock)
    clock.pass_by(2.0)

    assert body_of(await answer(Generation(drawn()), about))["extra_fields"]["latency_ms"] == 3_500


async def test_a_caller_that_leaves():
    """A caller that leaves closes the generation."""
    generation = Generation(asyncio.Event())
    task = asyncio.ensure_future(answer(generation))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert generation.closed


async def test_a_fault():
    """A fault of our own is raised to whom it concerns, and the generation is closed."""
    generation = Generation(showing(), ZeroDivisionError("a secret prompt"))

    with pytest.raises(ZeroDivisionError):
        await answer(generation)

    assert generation.closed


async def test_what_is_sent_as_the_gateway_stops():
    """What is sent while the call is being ended is no longer safe to try again, and that is what is told."""
    grace, about = Shutdown(), a_call(summary=AttemptSummary(calls=1))

    async def draw(_):
        try:
            await asyncio.Event().wait()
        finally:
            about.log.summary = AttemptSummary(calls=2, in_flight="a", is_sent=True)

    task = asyncio.ensure_future(respond_json(GenerationTask(draw, grace, about, seconds=60), ResponseBuilder(about)))
    await asyncio.sleep(0)
    grace.begin()

    with pytest.raises(Stopping) as stopping:
        await task

    assert not stopping.value.retry_safe


@pytest.mark.parametrize("is_sent", [False, True])
async def test_the_gateway_stops(is_sent):
    """A call that cannot be finished before the gateway stops ends; trying again is safe if nothing was sent."""
    generation, grace = Generation(asyncio.Event()), Shutdown()
    about = a_call(summary=AttemptSummary(calls=1, in_flight="a", is_sent=is_sent))
    task = asyncio.ensure_future(respond_json(task_of(generation, about, grace), ResponseBuilder(about)))
    await asyncio.sleep(0)
    grace.begin()

    with pytest.raises(Stopping) as stopping:
        await task

    assert (not is_sent) is stopping.value.retry_safe
    assert generation.closed
