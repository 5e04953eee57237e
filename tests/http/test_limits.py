"""Limits and budgets as a caller meets them."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from core.auth.caller import Caller
from core.deployments.prices import GPT_IMAGE_1, GPT_IMAGE_TOKENS
from core.domain.limits import NANOS, Budget, BudgetWindow, Limits, Rate
from core.limits.limiter import Limiter
from core.storage.memory import MemoryTables
from tests.azure_openai.peer import ok, speaking
from tests.house import KEY, house, key_record
from tests.http.wire import CATALOGUE, COMPLETED, events, refusal, said
from tests.limits.shaky import ShakyCounters, a_moment
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from core.limits.limit_status import LimitStatus
    from core.storage.tables import Tables

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
"""A Sunday."""
LOW = {"quality": "low", "size": "1024x1024"}
ESTIMATE = GPT_IMAGE_TOKENS.tokens("low", "1024x1024") * GPT_IMAGE_1.image_out
"""What one picture of low quality is expected to cost, in billionths of a US dollar."""
FAULTS = ("reset", "content-policy", "hang", "no-usage")
DEPLOYMENTS = {
    "deployments": {
        **CATALOGUE["deployments"],
        **{fault: {"family": "gpt-image-1", "targets": [{"deployment": f"fault-{fault}"}]} for fault in FAULTS},
        "unpriced": {"family": None, "targets": [{"deployment": "gpt-image-1--fault-bytes-400"}]},
    }
}
RATES = {"requests": {"limit": 60, "window": "1m"}, "images": {"limit": 20, "window": "1h"}}
ALLOWANCE = Limits(
    requests=Rate(limit=60, window_seconds=60),
    images=Rate(limit=20, window_seconds=3_600),
    budget=Budget(nanos=NANOS, window=BudgetWindow.MONTH),
)
BUDGET = {"usd": 1, "window": "month"}


def limited(tables: Tables | None = None, *, wait: Any = asyncio.sleep, **limits: Any) -> Any:
    """A gateway at noon, with one key that has these limits."""
    keys = [key_record(**(limits or {"rate_limit": RATES, "budget": BUDGET})), key_record("sk-bf-free", id="free")]
    return house(
        tables=tables,
        now=lambda: NOW,
        wait=wait,
        GATEWAY_VIRTUAL_KEYS=keys,
        GATEWAY_CATALOGUE=DEPLOYMENTS,
        GATEWAY_MAX_RETRIES="0",
    )


def limit_headers(response: httpx2.Response) -> dict[str, str]:
    """What an answer says of its key's limits."""
    return {
        name.removeprefix("x-ratelimit-"): value
        for name, value in response.headers.items()
        if name.startswith("x-ratelimit-")
    }


def cost(usage: Mapping[str, Any]) -> int:
    """What a picture of gpt-image-1 costs by its usage, in billionths of a US dollar."""
    told = usage["input_tokens_details"]
    return int(
        told["text_tokens"] * GPT_IMAGE_1.text_in
        + told["image_tokens"] * GPT_IMAGE_1.image_in
        + usage["output_tokens"] * GPT_IMAGE_1.image_out
    )


async def settled(tables: Tables) -> LimitStatus:
    """How the key stands once nothing is in flight, as another process sees it."""
    limiter = Limiter(tables, call_seconds=220, now=lambda: NOW, wait=a_moment, chance=lambda: 0.5)
    caller = Caller(id="team-a", limits=ALLOWANCE)
    async with asyncio.timeout(HANGS_SECONDS):
        while (status := await limiter.status(caller)).in_flight:  # noqa: ASYNC110 -- a store tells nobody
            await asyncio.sleep(0)
    return status


def used(status: LimitStatus) -> tuple[int, int, int]:
    """Requests, pictures and money that are gone."""
    assert status.requests is not None
    assert status.images is not None
    assert status.budget is not None
    return 60 - status.requests.remaining, 20 - status.images.remaining, status.budget.spent_nanos


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_every_picture_comes_with_what_is_left(stream: bool) -> None:
    """Headers name the limits, what remains and when all is free again; `n` counts as `n`."""
    async with limited() as gateway:
        response = await gateway.draw("gpt-image-1", n=3, stream=stream)
        assert response.status_code == 200
        assert {
            "limit-requests": "60",
            "remaining-requests": "59",
            "reset-requests": "61s",
            "limit-images": "20",
            "remaining-images": "17",
            "reset-images": "3660s",
        } == limit_headers(response)


async def test_only_what_is_limited_is_told() -> None:
    """A key with a limit on pictures alone is told of pictures alone; one with a budget only, of nothing."""
    async with limited(rate_limit={"images": {"limit": 5, "window": "30s"}}) as gateway:
        response = await gateway.draw("gpt-image-1")
        assert {"limit-images": "5", "remaining-images": "4", "reset-images": "31s"} == limit_headers(response)
    async with limited(budget=BUDGET) as gateway:
        assert {} == limit_headers(await gateway.draw("gpt-image-1"))


async def test_a_key_without_limits_is_told_nothing() -> None:
    """There is nothing to tell."""
    async with limited() as gateway:
        response = await gateway.draw("gpt-image-1", key="sk-bf-free")
        assert (200, {}) == (response.status_code, limit_headers(response))


@pytest.mark.parametrize(
    ("body", "deployment", "status"),
    [({"n": 99}, "gpt-image-1", 400), ({}, "nowhere", 404), ({"size": "256x256"}, "gpt-image-1", 400)],
)
async def test_an_early_no_asks_no_limiter(body: Mapping[str, Any], deployment: str, status: int) -> None:
    """A call that is refused before it is counted costs no round trip, so it does not say what the key has left."""
    async with limited() as gateway:
        response = await gateway.draw(deployment, **body)
        assert (status, {}) == (response.status_code, limit_headers(response))


async def test_nobody_is_told_who_is_not_known() -> None:
    """A wrong key has no limits that could be told."""
    async with limited() as gateway:
        response = await gateway.draw("gpt-image-1", key="sk-bf-wrong")
        assert (401, {}) == (response.status_code, limit_headers(response))


async def test_too_many_requests() -> None:
    """429, with how long to wait, in seconds rounded up and in milliseconds; nothing goes upstream."""
    async with limited(rate_limit={"requests": {"limit": 1, "window": "1m"}}) as gateway:
        assert (await gateway.draw("gpt-image-1")).status_code == 200
        gateway.calls.clear()
        response = await gateway.draw("gpt-image-1", stream=True)
        assert (429, "rate_limited", None) == said(response)
        error = refusal(response)
        assert ("rate_limit_error", True) == (error["type"], response.json()["is_bifrost_error"])
        assert error["message"] == "This key may make at most 1 request in 1 minute; try again in 61 s"
        assert ("61", "61000") == (response.headers["retry-after"], response.headers["retry-after-ms"])
        assert "x-should-retry" not in response.headers
        assert {"limit-requests": "1", "remaining-requests": "0", "reset-requests": "61s"} == limit_headers(response)
        assert len(gateway.calls) == 0


async def test_more_pictures_than_the_whole_limit() -> None:
    """429, and no SDK asks again: no waiting would help."""
    async with limited(rate_limit={"images": {"limit": 2, "window": "1m"}}) as gateway:
        response = await gateway.draw("gpt-image-1", n=3)
        assert (429, "rate_limited", "n") == said(response)
        assert "never pass" in refusal(response)["message"]
        assert "false" == response.headers["x-should-retry"]
        assert "retry-after" not in response.headers
        assert limit_headers(response)["remaining-images"] == "2"
        assert len(gateway.calls) == 0


async def test_the_budget_is_used_up() -> None:
    """402, with the window and when it renews, and no SDK asks again; nothing goes upstream."""
    async with limited(rate_limit=RATES, budget={"usd": 0.02, "window": "week"}) as gateway:
        assert (await gateway.draw("gpt-image-1", **LOW)).status_code == 200
        gateway.calls.clear()
        response = await gateway.draw("gpt-image-1", **LOW)
        assert (402, "budget_exceeded", None) == said(response)
        error = refusal(response)
        assert error["type"] == "insufficient_quota"
        assert error["message"] == (
            "This call may cost more than what calls before it, and those in flight, have left of this key's budget"
            " for this week (UTC); it renews at 2026-11-23T00:00:00Z"
        )
        assert "false" == response.headers["x-should-retry"]
        assert limit_headers(response)["remaining-images"] == "19"
        assert len(gateway.calls) == 0


@pytest.mark.parametrize(
    ("deployment", "fallbacks", "param"), [("unpriced", [], None), ("gpt-image-1", ["gpt-image-2", "unpriced"], 1)]
)
async def test_a_deployment_without_a_price(deployment: str, fallbacks: list[str], param: int | None) -> None:
    """403 for a key with a budget, and where the deployment is named; a key without one may call it."""
    async with limited() as gateway:
        response = await gateway.draw(deployment, fallbacks=fallbacks)
        assert (403, "price_unknown", None if param is None else f"fallbacks[{param}]") == said(response)
        assert "The deployment unpriced has no price" in refusal(response)["message"]
        assert {} == limit_headers(response)
        assert len(gateway.calls) == 0
        response = await gateway.draw(deployment, fallbacks=fallbacks, key="sk-bf-free")
        assert response.status_code == 200


async def test_a_picture_costs_what_upstream_counted() -> None:
    """A JSON answer is settled by its usage, whatever was reserved."""
    tables = MemoryTables()
    async with limited(tables) as gateway:
        usage = (await gateway.draw("gpt-image-1", **LOW)).json()["usage"]
        assert (1, 1, cost(usage)) == used(await settled(tables))


async def test_a_stream_costs_what_its_last_event_says() -> None:
    """A stream is settled by the usage in `completed`, partial images included."""
    tables = MemoryTables()
    async with limited(tables) as gateway:
        response = await gateway.draw("gpt-image-1", stream=True, partial_images=2, **LOW)
        name, completed = events(response)[-1]
        assert name == COMPLETED
        assert (1, 1, cost(completed["usage"])) == used(await settled(tables))


async def test_a_picture_without_usage_costs_the_estimate() -> None:
    """Where upstream counted nothing, the family's table does."""
    tables = MemoryTables()
    async with limited(tables) as gateway:
        assert (await gateway.draw("no-usage", **LOW)).status_code == 200
        assert (1, 1, ESTIMATE) == used(await settled(tables))


async def test_what_may_have_been_drawn_costs_the_estimate() -> None:
    """An answer that was lost on the way is settled at its estimate, and its pictures count."""
    tables = MemoryTables()
    async with limited(tables) as gateway:
        assert (await gateway.draw("reset", n=2, **LOW)).status_code == 502
        assert (1, 2, 2 * ESTIMATE) == used(await settled(tables))


async def test_leaving_before_it_was_sent_costs_nothing() -> None:
    """A caller who leaves while Azure OpenAI is still being reached gets back its pictures and its money."""
    tables = MemoryTables()
    keys = [key_record(rate_limit=RATES, budget=BUDGET)]
    async with speaking(ok()) as peer:
        address = peer.url.replace("http://", "https://")  # it waits for a handshake in vain
        async with house(
            tables=tables, now=lambda: NOW, GATEWAY_VIRTUAL_KEYS=keys, AZURE_OPENAI_ENDPOINT=address
        ) as gateway:
            call = asyncio.create_task(gateway.draw("gpt-image-1", n=3))
            await peer.until(lambda peer: bool(peer.open))
            call.cancel()
            await asyncio.wait({call})
            assert (1, 0, 0) == used(await settled(tables))
            peer.hang_up()


async def test_a_refused_prompt_costs_nothing() -> None:
    """Azure does not bill it: its pictures and its money are given back, and it was a request."""
    tables = MemoryTables()
    async with limited(tables) as gateway:
        assert (await gateway.draw("content-policy", n=2, **LOW)).status_code == 400
        assert (1, 0, 0) == used(await settled(tables))


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_caller_that_leaves_pays_what_it_may_have_cost(stream: bool) -> None:
    """Nobody knows whether the picture was drawn: the estimate is charged, and the picture counts."""
    tables = MemoryTables()
    async with limited(tables) as gateway:
        call = asyncio.create_task(gateway.draw("hang", stream=stream, **LOW))
        await gateway.calls.until(lambda calls: len(calls) == 1)
        call.cancel()
        await asyncio.wait({call})
        assert (1, 1, ESTIMATE) == used(await settled(tables))


async def test_fallbacks_are_paid_for_too() -> None:
    """Where a deployment may have drawn and a fallback did, both are charged; the picture counts once."""
    tables = MemoryTables()
    async with limited(tables) as gateway:
        response = await gateway.draw("reset", fallbacks=["no-usage"], **LOW)
        assert (200, "no-usage") == (response.status_code, response.headers["x-gateway-deployment"])
        assert (1, 1, 2 * ESTIMATE) == used(await settled(tables))


async def test_a_store_that_is_down() -> None:
    """A key with limits is not let through, and told to try again; all others go on; early answers lack the headers."""
    tables = ShakyCounters()
    tables.counters.down = True
    async with limited(tables, wait=a_moment) as gateway:
        early = await gateway.draw("gpt-image-1", n=99)
        assert (400, {}) == (early.status_code, limit_headers(early))
        response = await gateway.draw("gpt-image-1")
        assert (503, "limits_unavailable", None) == said(response)
        assert ("5", {}) == (response.headers["retry-after"], limit_headers(response))
        assert len(gateway.calls) == 0
        assert (await gateway.draw("gpt-image-1", key="sk-bf-free")).status_code == 200


async def test_a_call_costs_two_round_trips() -> None:
    """A call that is admitted costs two, and is settled with two more in the background; one that is refused before it
    is counted costs none, and neither does a key without limits.
    """
    tables = ShakyCounters()
    async with limited(tables) as gateway:
        assert (await gateway.draw("gpt-image-1", key="sk-bf-free")).status_code == 200
        assert (0, 0) == tables.counters.round_trips
        call = asyncio.create_task(gateway.draw("hang"))
        await gateway.calls.until(lambda calls: len(calls) == 2)
        assert (1, 1) == tables.counters.round_trips
        assert (await gateway.draw("gpt-image-1", n=99)).status_code == 400
        assert (1, 1) == tables.counters.round_trips
        call.cancel()
        await asyncio.wait({call})
        await settled(tables)
        assert tables.counters.writes == 2


async def test_a_token_counts_against_its_key() -> None:
    """A JWT in the name of a key has the key's limits, together with the key itself; an admin's has none."""
    secret, trust = "s" * 32, {"GATEWAY_JWT_ISSUER": "https://issuer", "GATEWAY_JWT_AUDIENCE": "gateway"}
    claims = {"iss": "https://issuer", "aud": "gateway", "exp": NOW + dt.timedelta(hours=1), "sub": "team-a"}
    rates = {"images": {"limit": 2, "window": "1m"}}
    async with house(
        now=lambda: NOW,
        GATEWAY_VIRTUAL_KEYS=[key_record(rate_limit=rates)],
        GATEWAY_JWT_SECRET=secret,
        GATEWAY_CATALOGUE=DEPLOYMENTS,
        **trust,
    ) as gateway:
        token = jwt.encode({**claims, "role": "virtual_key"}, secret, "HS256")
        admin = jwt.encode({**claims, "role": "admin"}, secret, "HS256")
        statuses = [(await gateway.draw("gpt-image-1", key=key)).status_code for key in (KEY, token, KEY, token)]
        assert [200, 200, 429, 429] == statuses
        response = await gateway.draw("gpt-image-1", key=admin, n=10)
        assert (200, {}) == (response.status_code, limit_headers(response))
