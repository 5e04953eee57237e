"""Calls that are safe to repeat: `Idempotency-Key` (contract of repetition, docs/events.md)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.house import KEY, events_of, house, key_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.house import House

NAMED = {"idempotency-key": "order-4711"}
OTHER = "sk-bf-the-key-of-another-team"


@pytest.fixture(params=["memory", "azurite"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A gateway that keeps outcomes in its process, and one that keeps them in Azure Storage."""
    storage: dict[str, Any] = {}
    if request.param == "azurite":
        storage = {"AzureWebJobsStorage": request.getfixturevalue("azurite")}
    keys = [key_record(), key_record(OTHER, id="other")]
    async with house(GATEWAY_VIRTUAL_KEYS=keys, **storage) as running:
        yield running


@pytest.fixture
def named(request: pytest.FixtureRequest) -> dict[str, str]:
    """A name of this test's own: Azurite is shared."""
    return {"idempotency-key": request.node.name}


def code(answer: httpx2.Response) -> tuple[int, str]:
    """The status and the error's code."""
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    "fields", [{}, {"n": 2}, {"response_format": "url"}, {"stream": True, "partial_images": 2}], ids=str
)
async def test_the_same_again_is_the_same_answer_and_nothing_is_bought_twice(gateway, named, fields) -> None:
    """Byte for byte; of a stream, its `completed` events."""
    first = await gateway.draw(headers=named, **fields)
    bought = len(gateway.calls)
    again = await gateway.draw(headers=named, **fields)
    assert (200, "true", bought) == (again.status_code, again.headers["idempotent-replayed"], len(gateway.calls))
    assert "idempotent-replayed" not in first.headers
    assert first.headers["content-type"] == again.headers["content-type"]
    assert first.headers["x-gateway-deployment"] == again.headers["x-gateway-deployment"]
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    if "stream" in fields:
        assert events_of(first.text)[-1:] == events_of(again.text)
    else:
        assert first.content == again.content


async def test_large_answers_are_kept_whole(gateway, named) -> None:
    """Megabytes, too, and their length is said."""
    first = await gateway.draw("gpt-image-1--fault-bytes-3000000--big", headers=named)
    again = await gateway.draw("gpt-image-1--fault-bytes-3000000--big", headers=named)
    assert 3_000_000 < len(first.content)
    assert first.content == again.content
    assert str(len(first.content)) == again.headers["content-length"]


async def test_another_request_under_the_same_name(gateway, named) -> None:
    """422, also where only the deployment, the version or an unknown field differs; the order of fields is nothing."""
    await gateway.draw(headers=named, quality="low", size="auto")
    for differing in (
        gateway.draw(headers=named, quality="high", size="auto"),
        gateway.draw("gpt-image-1-mini", headers=named, quality="low", size="auto"),
        gateway.draw(headers=named, quality="low", size="auto", query={"api-version": "2025-04-01-preview"}),
        gateway.draw(headers=named, quality="low", size="auto", new_field=1),
    ):
        assert (422, "idempotency_mismatch") == code(await differing)
    assert 200 == (await gateway.draw(headers=named, size="auto", quality="low", n=None)).status_code
    assert 1 == len(gateway.calls)


async def test_a_name_belongs_to_its_caller(gateway, named) -> None:
    """Another key has names of its own, and sees nothing of this one's."""
    await gateway.draw(headers=named)
    other = await gateway.draw(headers=named, key=OTHER)
    assert "idempotent-replayed" not in other.headers
    assert 2 == len(gateway.calls)


async def test_while_the_first_runs_the_others_are_told_to_ask_again(gateway, named) -> None:
    """409 with Retry-After, which the official SDKs obey; then the answer."""
    first = asyncio.ensure_future(gateway.draw("gpt-image-1--fault-slow-300--x", headers=named))
    await gateway.calls.until(lambda calls: len(calls) == 1)
    early = await gateway.draw("gpt-image-1--fault-slow-300--x", headers=named)
    assert (409, "idempotency_in_progress") == code(early)
    assert {"retry-after"} <= early.headers.keys()
    assert "x-should-retry" not in early.headers
    answer = await first
    assert answer.content == (await gateway.draw("gpt-image-1--fault-slow-300--x", headers=named)).content
    assert 1 == len(gateway.calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_finds_the_picture_when_it_comes_back(gateway, named, stream) -> None:
    """It has been paid for, and is not thrown away."""
    name = "gpt-image-1--fault-slow-300--left"
    leaving = asyncio.ensure_future(gateway.draw(name, headers=named, stream=stream))
    await gateway.calls.until(lambda calls: len(calls) == 1)
    leaving.cancel()
    await asyncio.wait({leaving})
    for _ in range(200):
        answer = await gateway.draw(name, headers=named, stream=stream)
        if answer.status_code != 409:
            break
        await asyncio.sleep(0.02)
    assert (200, "true", 1) == (answer.status_code, answer.headers["idempotent-replayed"], len(gateway.calls))


async def test_a_refusal_is_an_outcome(gateway, named) -> None:
    """Asking again for what was refused is refused without asking."""
    first = await gateway.draw("gpt-image-1--fault-content-policy--r", headers=named)
    again = await gateway.draw("gpt-image-1--fault-content-policy--r", headers=named)
    assert (400, 400, first.content, 1) == (first.status_code, again.status_code, again.content, len(gateway.calls))


@pytest.mark.parametrize("fault", ["fault-429", "fault-500"])
async def test_what_bought_nothing_may_be_tried_again(gateway, named, fault) -> None:
    """A throttled or failed call frees its name."""
    name = f"gpt-image-1--{fault}-times-3--{named['idempotency-key'][-12:].strip('[]')}"
    first = await gateway.draw(name, headers=named)
    assert first.status_code in {429, 502}
    before = len(gateway.calls)
    await gateway.draw(name, headers=named)
    assert "idempotent-replayed" not in first.headers
    assert before <= len(gateway.calls)


async def test_what_may_have_been_bought_is_not_tried_again(gateway, named) -> None:
    """An ambiguous end is an outcome: a repeat hears the same, and asks nobody."""
    first = await gateway.draw("gpt-image-1--fault-close--c", headers=named)
    bought = len(gateway.calls)
    again = await gateway.draw("gpt-image-1--fault-close--c", headers=named)
    assert (502, "false") == (first.status_code, first.headers["x-should-retry"])
    assert (first.content, bought) == (again.content, len(gateway.calls))


@pytest.mark.parametrize("name", ["", "x" * 256, "snowman ☃".encode().decode("latin-1")], ids=["empty", "long", "odd"])
async def test_a_name_that_is_none(gateway, name) -> None:
    """400, and nothing is drawn; an empty one is not even sent by some clients, so it counts as wrong, too."""
    answer = await gateway.draw(headers={"idempotency-key": name.encode("latin-1")})
    assert (400, "invalid_value", "Idempotency-Key") == (*code(answer), answer.json()["error"]["param"])
    assert 0 == len(gateway.calls)


async def test_what_is_wrong_is_told_before_a_name_is_claimed(gateway, named) -> None:
    """A call that is refused by the gateway itself can be mended and sent under the same name."""
    assert 400 == (await gateway.draw(headers=named, n=11)).status_code
    assert 401 == (await gateway.draw(headers=named, key="sk-bf-nobody")).status_code
    assert 200 == (await gateway.draw(headers=named)).status_code


async def test_nothing_is_kept_of_calls_without_a_name(gateway) -> None:
    """As before."""
    await gateway.draw()
    await gateway.draw()
    assert 2 == len(gateway.calls)


async def test_a_deadline_that_passes_does_not_throw_the_picture_away() -> None:
    """504 at the call's end, which a client may ask again; the attempt goes on, and the repeat has its picture."""
    settings = {"GATEWAY_DEADLINE_SECONDS": "0.3", "GATEWAY_ATTEMPT_SECONDS": "10"}
    async with house(**settings) as gateway:
        name = "gpt-image-1--fault-slow-900--late"
        first = await gateway.draw(name, headers=NAMED)
        assert (504, "upstream_timeout") == code(first)
        assert "x-should-retry" not in first.headers
        for _ in range(400):
            again = await gateway.draw(name, headers=NAMED)
            if again.status_code != 409:
                break
            await asyncio.sleep(0.02)
        assert (200, "true", 1) == (again.status_code, again.headers["idempotent-replayed"], len(gateway.calls))


async def test_a_store_that_is_out_of_reach_is_told_before_anything_is_drawn() -> None:
    """503: a call that asks to be safe is not made unsafe in silence; others go on."""
    nowhere = (
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/a;"
        "QueueEndpoint=http://127.0.0.1:9/a;TableEndpoint=http://127.0.0.1:9/a"
    )
    async with house(AzureWebJobsStorage=nowhere) as gateway:
        assert (503, "store_unavailable") == code(await gateway.draw(headers=NAMED, key=KEY))
        assert 0 == len(gateway.calls)
        assert 200 == (await gateway.draw()).status_code
