"""What may have been paid for is not bought again by a repeat without an Idempotency-Key (contract §5)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from adapters.bootstrap import utc_now
from tests.house import events_of, house, key_record
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.house import House

OTHER = "sk-bf-the-key-of-another-team"
SLOW, CUT, HANG, THROTTLED = (f"gpt-image-1--fault-{fault}" for fault in ("slow-400", "reset", "hang", "429"))
CATALOGUE = {"deployments": {name: {"family": "gpt-image-1"} for name in (SLOW, CUT, HANG, THROTTLED, "gpt-image-1")}}
ACCEPT = {"idempotency-retry": "accept-duplicate"}


def on(**settings: Any) -> dict[str, Any]:
    """The settings of a gateway that holds what repeats get, as it does by default."""
    keys = [key_record(), key_record(OTHER, id="other")]
    return {
        "GATEWAY_CATALOGUE": CATALOGUE,
        "GATEWAY_VIRTUAL_KEYS": keys,
        "GATEWAY_LINGER_SECONDS": None,
        "GATEWAY_REPEAT_SECONDS": None,
        **settings,
    }


@pytest.fixture(params=["memory", "azurite"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A gateway without storage, and one with it."""
    storage: dict[str, Any] = {}
    if request.param == "azurite":
        storage = {"AzureWebJobsStorage": request.getfixturevalue("azurite")}
    async with house(**on(**storage)) as running:
        yield running


@pytest.fixture
def prompt(request: pytest.FixtureRequest) -> str:
    """A prompt of this test's own: Azurite is shared."""
    return request.node.name


async def leave(running: House, name: str, **body: Any) -> None:
    """Begin a call and leave as soon as upstream has got it."""
    before = len(running.calls.to(name))
    call = asyncio.create_task(running.draw(name, **body))
    await running.calls.until(lambda calls: len(calls.to(name)) > before)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    await left(running)


async def left(running: House) -> None:
    """Wait until the gateway has noticed that its caller has left."""
    repeats = running.module._built.gateway._repeated._repeats
    async with asyncio.timeout(HANGS_SECONDS):
        while not repeats._lingering and not repeats._errors:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)


def is_repeated(answer: httpx2.Response) -> bool:
    """Whether an answer is the error of an earlier call."""
    assert answer.status_code >= 400 or "x-gateway-repeated" not in answer.headers
    return answer.headers.get("x-gateway-repeated") == "true"


@pytest.mark.parametrize("fields", [{}, {"response_format": "url"}, {"stream": True, "partial_images": 1}], ids=str)
async def test_a_repeat_gets_the_picture_of_the_caller_who_left(gateway, prompt, fields) -> None:
    """It waits for it, and nothing is bought a second time."""
    await leave(gateway, SLOW, prompt=prompt, **fields)
    again = await gateway.draw(SLOW, prompt=prompt, **fields)
    assert (200, 1) == (again.status_code, len(gateway.calls.to(SLOW)))
    if "stream" in fields:
        assert "image_generation.completed" == events_of(again.text)[-1][0]
    else:
        assert again.json()["data"][0].get("b64_json") or again.json()["data"][0]["url"]


async def test_one_repeat_uses_it_up(gateway, prompt) -> None:
    """Of three repeats at once, one gets the picture that is drawn already, and two are pictures of their own."""
    await leave(gateway, SLOW, prompt=prompt)
    answers = await asyncio.gather(*(gateway.draw(SLOW, prompt=prompt) for _ in range(3)))
    assert ([200] * 3, 3) == ([answer.status_code for answer in answers], len(gateway.calls.to(SLOW)))


async def test_only_the_very_same_is_a_repeat(gateway, prompt) -> None:
    """Another prompt, deployment or key is asked for anew; so is the same under an Idempotency-Key."""
    await leave(gateway, SLOW, prompt=prompt)
    for name, fields in (
        (SLOW, {"prompt": f"{prompt} at night"}),
        ("gpt-image-1", {"prompt": prompt}),
        (SLOW, {"prompt": prompt, "key": OTHER}),
        (SLOW, {"prompt": prompt, "headers": {"idempotency-key": prompt}}),
    ):
        before = len(gateway.calls)
        assert 200 == (await gateway.draw(name, **fields)).status_code
        assert before + 1 == len(gateway.calls)


async def test_a_generation_that_was_let_go_may_have_been_billed(azurite, prompt) -> None:
    """Once nobody has come in time, repeats are told so, and nothing is asked again."""
    for storage in ({}, {"AzureWebJobsStorage": azurite}):
        async with house(**on(GATEWAY_LINGER_SECONDS="0", **storage)) as running:
            await leave(running, HANG, prompt=prompt)
            again = await running.draw(HANG, prompt=prompt)
            assert (504, True, 1) == (again.status_code, is_repeated(again), len(running.calls.to(HANG)))
            assert "false" == again.headers["x-should-retry"]


async def test_an_error_that_may_have_been_billed_is_repeated(gateway, prompt) -> None:
    """However many repeats there are, upstream is asked once; the message says how to have another picture."""
    first = await gateway.draw(CUT, prompt=prompt)
    answers = await asyncio.gather(*(gateway.draw(CUT, prompt=prompt) for _ in range(100)))
    assert all(is_repeated(answer) for answer in answers)
    assert not is_repeated(first)
    assert 1 == len(gateway.calls.to(CUT))
    error, again = first.json()["error"], answers[0].json()["error"]
    assert (first.status_code, error["code"], error["type"]) == (answers[0].status_code, again["code"], again["type"])
    assert "accept-duplicate" in again["message"]


async def test_who_accepts_a_duplicate_gets_one(gateway, prompt) -> None:
    """`Idempotency-Retry: accept-duplicate` asks upstream again at once."""
    await gateway.draw(CUT, prompt=prompt)
    again = await gateway.draw(CUT, prompt=prompt, headers=ACCEPT)
    assert (False, 2) == (is_repeated(again), len(gateway.calls.to(CUT)))


async def test_what_costs_nothing_is_asked_again(gateway, prompt) -> None:
    """A throttled call, and one after a success, go upstream."""
    for name in (THROTTLED, "gpt-image-1"):
        answers = [await gateway.draw(name, prompt=prompt) for _ in range(2)]
        assert not any(is_repeated(answer) for answer in answers)
    assert 2 == len(gateway.calls.to("gpt-image-1"))


async def test_a_repeated_error_ends(prompt) -> None:
    """Each repeat begins its time anew, for five minutes at the most."""
    now = utc_now()
    async with house(now=lambda: now, **on()) as running:
        assert not is_repeated(await running.draw(CUT, prompt=prompt))
        for seconds in (60, 120, 180, 240, 299):
            later = now
            now = later + dt.timedelta(seconds=60 if seconds < 299 else 59)
            assert is_repeated(await running.draw(CUT, prompt=prompt))
        now += dt.timedelta(seconds=2)
        assert not is_repeated(await running.draw(CUT, prompt=prompt))


async def test_a_picture_that_uses_up_the_limit_can_still_be_picked_up(prompt) -> None:
    """Whoever left with the last picture of its limit gets it all the same, and it counts once."""
    keys = [key_record(rate_limit={"images": {"limit": 1, "window": "1h"}})]
    async with house(**on(GATEWAY_VIRTUAL_KEYS=keys)) as running:
        await leave(running, SLOW, prompt=prompt)
        assert 200 == (await running.draw(SLOW, prompt=prompt)).status_code
        assert 429 == (await running.draw(SLOW, prompt=prompt)).status_code


async def test_other_instances_know(azurite, prompt) -> None:
    """With storage, another instance repeats the error, and says that a generation lingers elsewhere."""
    async with house(**on(AzureWebJobsStorage=azurite)) as one, house(**on(AzureWebJobsStorage=azurite)) as other:
        await one.draw(CUT, prompt=prompt)
        assert is_repeated(await other.draw(CUT, prompt=prompt))
        await leave(one, HANG, prompt=prompt)
        repeats = one.module._built.gateway._repeated._repeats
        async with asyncio.timeout(HANGS_SECONDS):
            while repeats._writes or not repeats._lingering:  # noqa: ASYNC110 -- nothing tells of it
                await asyncio.sleep(0)
        elsewhere = await other.draw(HANG, prompt=prompt)
        assert (409, "generation_in_progress") == (elsewhere.status_code, elsewhere.json()["error"]["code"])
        assert int(elsewhere.headers["retry-after"]) >= 1
        assert 0 == len(other.calls)


async def test_a_key_has_so_many_calls_at_once(prompt) -> None:
    """One call more than `GATEWAY_KEY_CALLS` is 429 `key_busy`, before its body is read; another key's is drawn."""
    async with house(**on(GATEWAY_KEY_CALLS="2")) as running:
        calls = [asyncio.create_task(running.draw(SLOW, prompt=f"{prompt} {number}")) for number in range(2)]
        await running.calls.until(lambda calls: len(calls.to(SLOW)) == 2)
        busy = await running.draw(SLOW, prompt="")
        other = await running.draw("gpt-image-1", key=OTHER)
        assert (429, "key_busy", 200) == (busy.status_code, busy.json()["error"]["code"], other.status_code)
        assert "retry-after" in busy.headers
        assert [200, 200] == [(await call).status_code for call in calls]
        assert 200 == (await running.draw("gpt-image-1")).status_code
