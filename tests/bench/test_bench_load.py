"""The upstream and the load generator, against each other over loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bench import load, upstream
from bench.canned import Kind
from bench.contenders import Direct
from bench.measuring import Asked
from bench.upstream import BadRequestError, Upstream, taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.load import Load

SMALL = Kind(characters=64)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[int, Upstream]]:
    """Run an upstream; give its port and what it knows."""
    server, port, known = await upstream.listening()
    try:
        yield port, known
    finally:
        server.close()


def asking(port: int, kind: Kind = SMALL, **asked: Any) -> Load:
    """A load as the direct contender is asked, by one caller, once."""
    return Asked(**{"kind": kind, "seconds": 0, **asked}).load(Direct(), port)


@pytest.mark.parametrize("asked", [{}, {"images": 3}, {"partials": 0}, {"partials": 2}], ids=str)
async def test_pictures_are_asked_for_and_found(asked: dict[str, Any]) -> None:
    """Every caller gets its answer, as JSON or as a stream, and none is faulty."""
    async with serving() as (port, known):
        result = await load.run(asking(port, callers=5, **asked))
    assert (5, {}) == (result.calls, result.faults)
    assert {
        "json": 0 if "partials" in asked else 5,
        "stream": 5 if "partials" in asked else 0,
        "held": 0,
    } == known.state()
    assert ("partials" in asked) == (result.first_event is not None)


async def test_callers_ask_again_until_time_is_over() -> None:
    """Within its time a caller asks again and again on the same connection; only answers in that time count."""
    async with serving() as (port, _):
        result = await load.run(asking(port, seconds=0.05, warm_seconds=0.02))
    assert result.all_calls > result.calls > 1
    assert result.latency is not None
    assert 0 < result.latency.least <= result.latency.p50 <= result.latency.p99 <= result.latency.most


async def test_large_answers_come_whole() -> None:
    """Answers larger than any buffer are read to the end."""
    async with serving() as (port, _):
        result = await load.run(asking(port, Kind(characters=3_000_000), callers=2, images=2))
    assert (2, {}) == (result.calls, result.faults)
    assert result.bytes > 2 * 2 * 3_000_000


async def test_an_answer_is_held_until_it_is_released() -> None:
    """All but the end of a held answer goes out; the caller has it when upstream lets go."""
    async with serving() as (port, known):
        running = asyncio.create_task(load.run(asking(port, Kind(characters=64, hold=True), callers=3)))
        while known.state()["held"] < 3:  # noqa: ASYNC110 -- there is no event: it asks as the bench does
            await asyncio.sleep(0)
        assert not running.done()
        known.release()
        assert (await running).calls == 3


async def test_the_first_event_comes_before_the_last() -> None:
    """Where upstream waits before each event, the first is told apart from the end."""
    async with serving() as (port, _):
        result = await load.run(asking(port, Kind(characters=64, wait_ms=20), partials=1))
    assert result.first_event is not None
    assert result.latency is not None
    assert 20 <= result.first_event.p50 <= result.latency.p50 - 20 + 1


async def test_what_goes_wrong_is_told() -> None:
    """A deployment that is not there is a fault of each call, and the run ends."""
    async with serving() as (port, _):
        asked = replace(asking(port, seconds=5), path="/openai/deployments/other/images/generations")
        result = await load.run(asked)
    assert result.calls == 0
    assert ["HTTP/1.1 404 Not Found: {}"] == list(result.faults)


async def test_nobody_there_is_told() -> None:
    """Where nobody listens, the fault says so."""
    async with serving() as (port, _):
        pass
    result = await load.run(asking(port))
    assert (0, ["no connection: ConnectionRefusedError"]) == (result.calls, list(result.faults))


HEAD = b"POST /openai/deployments/x/images/generations HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 9\r\n\r\n{'a': 12}",
        HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\n{'a'\r\n5\r\n: 12}\r\n0\r\n\r\n",
    ],
    ids=["whole", "in chunks"],
)
def test_a_request_is_taken_when_it_is_whole(request_bytes: bytes) -> None:
    """A request is read with either coding, not before its last byte, and nothing behind it is touched."""
    assert [None] * len(request_bytes) == [taken(request_bytes[:end]) for end in range(len(request_bytes))]
    found = taken(request_bytes + b"POST")
    assert found is not None
    assert (b"{'a': 12}", len(request_bytes)) == (found.body, found.size)


def test_an_endless_request_is_refused() -> None:
    """The upstream keeps no more than a megabyte of what is no request."""
    with pytest.raises(BadRequestError):
        taken(b"x" * (upstream.LIMIT_BYTES + 1))
