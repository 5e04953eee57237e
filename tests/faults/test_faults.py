"""Every fault of the table, for JSON and stream, with and without a fallback."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.faults.page import PAGE, page
from tests.faults.table import ROWS, Row, Seen
from tests.house import House, events_of, house
from tests.http.wire import COMPLETED, PARTIAL, check_error_event, refusal, trail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONGEST_SECONDS = 10.0


def _names(row: Row, *, stream: bool, alone: bool) -> tuple[str, str]:
    """The deployments of one case: the faulty one, and the one that stands in for it. No two cases share one."""
    label = f"{'stream' if stream else 'json'}-{'alone' if alone else 'with'}"
    number = ROWS.index(row)
    return f"gpt-image-1--fault-{row.fault}--{label}", f"gpt-image-1.5--fault-bytes-4000--{number}-{label}"


CATALOGUE = {
    "deployments": {
        "gpt-image-1": {},
        **{
            name: {"family": name.split("--")[0]}
            for row, stream, alone in itertools.product(ROWS, (True, False), (True, False))
            for name in _names(row, stream=stream, alone=alone)
        },
    }
}


async def _at_once(seconds: float) -> None:
    """Wait for no time at all."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def quick() -> AsyncIterator[House]:
    """A gateway that tries again at once."""
    async with house(wait=_at_once, GATEWAY_CATALOGUE=CATALOGUE) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def impatient() -> AsyncIterator[House]:
    """A gateway that soon gives up those who are silent."""
    silence = {"GATEWAY_FIRST_BYTE_SECONDS": "1", "GATEWAY_IDLE_SECONDS": "1"}
    async with house(wait=_at_once, GATEWAY_CATALOGUE=CATALOGUE, **silence) as running:
        await running.draw()  # the emulator paints its first picture, which takes longer than all others
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hurried() -> AsyncIterator[House]:
    """A gateway whose clock runs a hundred times as fast."""
    async with house(wait=_at_once, clock=lambda: time.monotonic() * 100, GATEWAY_CATALOGUE=CATALOGUE) as running:
        yield running


@pytest.fixture
def gateway(row: Row, quick: House, impatient: House, hurried: House) -> House:
    """The gateway for a row."""
    return hurried if row.slowly else impatient if row.silent else quick


def _seen(answer: httpx2.Response) -> Seen:
    """What an answer shows its caller."""
    should_retry = answer.headers.get("x-should-retry") != "false"
    if answer.headers["content-type"].startswith("text/event-stream"):
        name, last = events_of(answer.text)[-1]
        if name == "error":
            check_error_event(last)
        code = last["error"]["code"] if name == "error" else "picture"
        return Seen(status=answer.status_code, code=code, in_the_stream=name == "error")
    if answer.status_code == 200:
        assert all(item["b64_json"] for item in answer.json()["data"])
    return Seen(
        status=answer.status_code,
        code="picture" if answer.status_code == 200 else refusal(answer)["code"],
        should_retry=should_retry,
        retry_after=answer.headers.get("retry-after"),
    )


async def _ask(running: House, row: Row, *, stream: bool, alone: bool) -> tuple[httpx2.Response, int, int]:
    """Ask once; give the answer, and how often the faulty target and the fallback were called."""
    name, fallback = _names(row, stream=stream, alone=alone)
    body = {"stream": True, "partial_images": 1} if stream else {"n": row.n}
    began_at = time.monotonic()
    answer = await running.draw(name, **body, fallbacks=None if alone else [fallback])
    assert time.monotonic() - began_at < LONGEST_SECONDS
    return answer, running.calls.count(name), running.calls.count(fallback)


ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@ROW
@STREAM
async def test_alone(gateway: House, row: Row, stream: bool) -> None:
    """Without a fallback the caller sees the row's answer, and the target was called as often as the row says."""
    expected = (row.stream or row.json) if stream else row.json
    answer, calls, _ = await _ask(gateway, row, stream=stream, alone=True)
    assert (expected, row.calls) == (_seen(answer), calls)
    assert urlsplit(gateway.emulator_url).netloc not in answer.text
    assert "emulator-key" not in answer.text
    if expected.code == "picture":
        pictures = events_of(answer.text) if stream else [(COMPLETED, item) for item in answer.json()["data"]]
        assert [name for name, _ in pictures] in ([PARTIAL, COMPLETED], [COMPLETED])
        assert all(image["b64_json"].startswith("iVBOR") for _, image in pictures)
    else:
        body = events_of(answer.text)[-1][1] if expected.in_the_stream else answer.json()
        kind = "image_generation_stream" if stream else "image_generation"
        assert (kind, row.of_the_gateway) == (body["extra_fields"]["request_type"], body["is_bifrost_error"])
        assert [row.outcome] * row.calls == [outcome for _, outcome, _ in trail(body)]


@ROW
@STREAM
async def test_with_a_fallback(gateway: House, row: Row, stream: bool) -> None:
    """With a fallback the caller gets its picture, unless the row says that another deployment would not help."""
    expected = (row.stream or row.json) if stream else row.json
    answer, *calls = await _ask(gateway, row, stream=stream, alone=False)
    seen = _seen(answer), *calls
    if row.falls_back and expected.code != "picture":
        assert (Seen(status=200, code="picture"), row.calls_before_fallback or row.calls, 1) == seen
    else:
        assert (expected, row.calls, 0) == seen


@pytest.mark.skipif(not PAGE.exists(), reason="a package without its docs")
async def test_the_page_is_the_table() -> None:
    """docs/faults.md says what the table says; `python -m tests.faults.page` makes it anew."""
    assert page() == PAGE.read_text(encoding="utf-8")
