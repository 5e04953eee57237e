"""The record: what was asked, by whom, and how it ended."""

import asyncio
from contextlib import suppress

import httpx2
import pytest

from emulator.calls import Calls
from tests.emulator.asking import PROMPT, VERSION
from tests.waiting import HANGS_SECONDS


async def test_a_call_is_recorded_as_it_came(azure):
    """The record keeps where a call went, what it said, and how it was answered."""
    await azure.draw("gpt-image-2--mine", headers={"traceparent": "00-1-1-00"}, n=2, user="me")

    (call,) = azure.calls.to("gpt-image-2--mine")
    assert (
        call.method,
        call.kind,
        call.model,
        call.api_version,
    ) == ("POST", "deployment", "gpt-image-2", VERSION)
    assert call.body == {"prompt": PROMPT, "n": 2, "user": "me"}
    assert (call.auth, call.status, call.state, call.fault) == ("key", 200, "answered", None)
    assert call.header("TraceParent") == "00-1-1-00"


async def test_secrets_are_not_kept(azure):
    """Of headers that are secrets the record has the name only."""
    await azure.draw(headers={"authorization": "Bearer secret", "cookie": "secret"})

    call = azure.calls.last
    assert [call.header(name) for name in ("api-key", "authorization", "cookie")] == ["***"] * 3
    assert "secret" not in repr(call)


async def test_calls_on_one_connection_have_its_number(azure):
    """A connection that is kept is seen as one; after it was closed there is another."""
    for fault in ("slow-0", "500", "close", "slow-0"):
        with suppress(httpx2.RemoteProtocolError):
            await azure.fault(fault)

    first, second, third, fourth = (call.connection for call in azure.calls)
    assert first == second == third != fourth


async def test_refused_calls_are_recorded_too(azure):
    """Also a call that is refused was made; a body that is not JSON is kept as None."""
    await azure.client.post(f"/openai/deployments/nobody/images/generations?api-version={VERSION}", content=b"{")

    assert (
        azure.calls.count("nobody"),
        azure.calls.last.body,
        azure.calls.last.model,
        azure.calls.last.status,
    ) == (1, None, None, 404)


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        *((fault, stream) for fault in ("hang", "slow-60000", "500-after-60000") for stream in (False, True)),
        ("stream-slow-60000", True),
    ],
)
async def test_a_client_that_leaves_is_noticed_at_once(azure, fault, stream):
    """While the emulator waits it sees a client leave."""
    asking = asyncio.create_task(azure.fault(fault, stream=stream))
    await azure.calls.until(lambda calls: calls.open_now == 1)

    asking.cancel()

    async with asyncio.timeout(HANGS_SECONDS):
        await azure.calls.until(lambda calls: calls.open_now == 0)
    assert azure.calls.last.state == "left"


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_noticed(azure):
    """A large answer that the client stops reading is recorded as left."""
    async with azure.opened("bytes-30000000") as answer:
        await anext(answer.aiter_raw())

    async with asyncio.timeout(HANGS_SECONDS):
        await azure.calls.until(lambda calls: calls.open_now == 0)
    assert (azure.calls.last.state, azure.calls.last.status) == ("left", 200)


async def test_the_record_over_http(azure):
    """`GET /emulator/calls` lists calls without their prompts, `DELETE` forgets them."""
    await azure.draw("gpt-image-1--one", user="me")
    await azure.draw("gpt-image-1--two")

    everything = (await azure.client.get("/emulator/calls")).json()
    one = (await azure.client.get("/emulator/calls", params={"deployment": "gpt-image-1--one"})).json()

    assert (everything["count"], everything["open_now"], len(everything["calls"])) == (2, 0, 2)
    assert (one["count"], [call["deployment"] for call in one["calls"]]) == (1, ["gpt-image-1--one"])
    assert one["calls"][0]["body"] == {"user": "me"}
    assert PROMPT not in str(everything)
    assert (await azure.client.delete("/emulator/calls")).status_code == 204
    assert len(azure.calls) == 0


def test_the_record_is_bounded_and_the_counts_are_not():
    """Only the latest calls are kept; all are counted."""
    calls = Calls(max_calls=2)
    for number in range(5):
        known = {"kind": "v1", "method": "POST", "deployment": "one", "connection": number, "headers": ()}
        calls.end(calls.begin(**known), "answered")

    assert (len(calls), calls.count("one"), [call.connection for call in calls]) == (5, 5, [3, 4])
