"""The upstream and the load generator, against each other over loopback."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bench import answers, load, measure, upstream
from bench.answers import AnswerKind
from bench.gateways import Direct
from bench.load import MIN_LARGE_BYTES, Answer, BadAnswer, Calls, Check, Load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SMALL = AnswerKind(characters=64)


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Run an upstream; give its port."""
    server, port = await upstream.listen()
    try:
        yield port
    finally:
        server.close()


def make_load(port: int, kind: AnswerKind = SMALL, **calls: Any) -> Load:
    """A load as the upstream is asked without a gateway, by one caller, once."""
    return measure.make_load(Direct(), port, Calls(**{"kind": kind, "seconds": 0, **calls}))


async def run(asked: Load) -> load.Result:
    """Carry it out."""
    return await asyncio.to_thread(load.run, asked)


@pytest.mark.parametrize("calls", [{}, {"images": 3}, {"partials": 0}, {"partials": 2}], ids=str)
async def test_images_are_asked_for_and_found(calls: dict[str, Any]) -> None:
    """Every caller gets its answer, as JSON or as a stream, and none is faulty."""
    async with serving() as port:
        result = await run(make_load(port, callers=5, **calls))
    assert (5, {}) == (result.calls, result.faults)
    assert ("partials" in calls) == (result.first_event_ms > 0)


async def test_callers_ask_again_until_time_is_over() -> None:
    """Within its time a caller asks again and again on the same connection; only answers in that time count."""
    async with serving() as port:
        result = await run(make_load(port, seconds=0.05))
    assert result.all_calls >= result.calls > 1
    assert result.latency_ms > 0
    assert result.faults == {}


async def test_large_answers_come_whole() -> None:
    """Answers larger than any buffer are read to the end."""
    async with serving() as port:
        result = await run(make_load(port, AnswerKind(characters=3_000_000), callers=2, images=2))
    assert (2, {}) == (result.calls, result.faults)
    assert result.bytes > 2 * 2 * 3_000_000


async def test_callers_may_stop_reading(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops reading when an answer begins has it in the end."""
    (tmp_path / "stdin").write_text("\n")
    with (tmp_path / "stdin").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        async with serving() as port:
            result = await run(make_load(port, AnswerKind(characters=3_000_000), callers=2, unread=True))
    assert (2, {}) == (result.calls, result.faults)


async def test_an_answer_is_held_until_it_is_released() -> None:
    """All but the end of a held answer goes out; the caller has it when upstream lets go."""
    async with serving() as port:
        running = asyncio.create_task(run(make_load(port, AnswerKind(characters=64, hold=True), callers=3)))
        while b"\r\n\r\n3" not in await ask(port, "/held"):
            assert not running.done()
        assert b"200 OK" in await ask(port, "/release")
        assert (await running).calls == 3


async def ask(port: int, path: str) -> bytes:
    """Ask the upstream something else."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    answer = await reader.read(1000)
    writer.close()
    return answer


async def test_the_first_event_comes_before_the_last() -> None:
    """Where upstream waits before each event, the first is told apart from the end."""
    async with serving() as port:
        result = await run(make_load(port, AnswerKind(characters=64, wait_ms=20), partials=1))
    assert 20 <= result.first_event_ms <= result.latency_ms - 15


async def test_what_goes_wrong_is_told() -> None:
    """A deployment that is not there is a fault of each call, and the run ends."""
    async with serving() as port:
        asked = make_load(port, seconds=5)
        result = await run(msgspec.structs.replace(asked, path="/openai/deployments/x/images/generations"))
    assert result.calls == 0
    assert ["BadAnswer: status 404: {}"] == list(result.faults)


async def test_nobody_there_is_told() -> None:
    """Where nobody listens, the fault says so."""
    async with serving() as port:
        pass
    result = await run(make_load(port))
    assert result.calls == 0
    assert "ConnectionRefusedError" in next(iter(result.faults))


async def test_what_is_no_http_is_refused() -> None:
    """The upstream answers 400 to what it does not understand."""
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"no HTTP\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


# ------------------------------------------------------------------------------------------------ what is answered


@pytest.mark.parametrize("kind", [SMALL, AnswerKind(characters=44_000_000, wait_ms=1, hold=True)])
def test_a_deployment_says_what_is_answered(kind: AnswerKind) -> None:
    """What a deployment answers can be read from its name."""
    assert kind == AnswerKind.parse(kind.deployment)


@pytest.mark.parametrize("name", ["gpt-image-1", "gpt-image-1-b", "gpt-image-1-b16-hold-w5", ""])
def test_other_names_say_nothing(name: str) -> None:
    """A deployment that was not made for the bench is not known."""
    assert AnswerKind.parse(name) is None


def test_no_base64_has_that_length() -> None:
    """A length that is no multiple of four cannot be asked for."""
    with pytest.raises(ValueError, match="a multiple of 4"):
        AnswerKind(characters=17)


def test_json_is_azures() -> None:
    """The JSON answer has the images and the usage, and the length that its head tells."""
    head, _, body = b"".join(answers.make_json(64, 3)).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}" in head.decode()
    answer = json.loads(body)
    assert [answers.make_image(64).decode()] * 3 == [item["b64_json"] for item in answer["data"]]
    assert answer["usage"]["total_tokens"] == 1065


# ------------------------------------------------------------------------------------------------ whether it is good


def read(data: bytes, check: Check, *, cut: int) -> Answer:
    """Read an answer in pieces of `cut` bytes, and check it."""
    answer = Answer(keep=check.needs_body())
    for start in range(0, len(data), cut):
        answer.feed(memoryview(data[start : start + cut]))
    assert answer.is_complete
    check.check(answer)
    return answer


def make_stream(characters: int) -> bytes:
    """A stream with a partial image."""
    return answers.make_partial_event(characters, 0) + answers.make_completed_event(characters, is_first=False)


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 50, 10_000])
def test_answers_are_read_wherever_they_are_cut(cut: int) -> None:
    """An answer in JSON and a stream are recognised from pieces of any size."""
    assert read(b"".join(answers.make_json(64, 2)), Check(make_load(0, images=2)), cut=cut).first_event_at is None
    assert read(make_stream(64), Check(make_load(0, partials=1)), cut=cut).first_event_at is not None


def test_comments_are_no_events() -> None:
    """A keep-alive line before the first event does not pass for it."""
    answer = Answer(keep=True)
    answer.on_body(b": keep-alive\n\n: keep-alive\n")
    answer.on_body(b"\n")
    assert answer.first_event_at is None
    answer.on_body(b"data: 1\n\n")
    assert answer.first_event_at is not None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}", "status 500: {}"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "0 images in place of 2"),
        (b"".join(answers.make_json(64, 1)), "1 images in place of 2"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxxx", "no HTTP"),
    ],
)
def test_a_wrong_answer_is_told(data: bytes, why: str) -> None:
    """What is not a good answer does not count, and the fault says why."""
    with pytest.raises(BadAnswer, match=why):
        read(data, Check(make_load(0, images=2)), cut=10_000)


def test_a_stream_without_its_end_is_told() -> None:
    """Two partial images are not a finished one."""
    partials = answers.make_partial_event(64, 0) + answers.make_partial_event(64, 1) + b"0\r\n\r\n"
    with pytest.raises(BadAnswer, match="without its completed event"):
        read(partials, Check(make_load(0, partials=1)), cut=100)


def test_a_large_answer_is_checked_by_its_length() -> None:
    """Once a large answer has been checked to the last character, a later one of another length is a fault."""
    check = Check(make_load(0, AnswerKind(characters=MIN_LARGE_BYTES)))
    read(b"".join(answers.make_json(MIN_LARGE_BYTES, 1)), check, cut=100_000)
    with pytest.raises(BadAnswer, match="a body of"):
        read(b"".join(answers.make_json(MIN_LARGE_BYTES + 400, 1)), check, cut=100_000)
