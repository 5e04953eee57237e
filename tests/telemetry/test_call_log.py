"""What the gateway writes about its work: what is listed, and nothing else."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from msgspec import structs

from core.telemetry.call_log import CallRecord, write_fault

PROMPT = "a prompt that is nobody's business"


def lines(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    """The lines of a logger, each of them one JSON object on one line."""
    messages = [record.getMessage() for record in caplog.records if record.name == name]
    assert "\n" not in "".join(messages)
    return [json.loads(message) for message in messages]


def written(caplog: pytest.LogCaptureFixture, **fields: Any) -> dict[str, Any]:
    """The line of a call."""
    with caplog.at_level(logging.INFO, "gateway.calls"):
        CallRecord(**{"event_id": "e-1", "deployment": "gpt-image-1", **fields}).write()
    (line,) = lines(caplog, "gateway.calls")
    return line


def test_a_call_that_was_left(caplog: pytest.LogCaptureFixture) -> None:
    """A call of which nothing more is known is one line that says so."""
    expected = {
        "event_id": "e-1",
        "caller": None,
        "deployment": "gpt-image-1",
        "deployment_used": None,
        "stream": False,
        "outcome": "left",
        "attempts": 0,
        "tried": [],
        "status": None,
        "latency_ms": 0,
        "perhaps_billed": False,
    }
    assert expected == written(caplog)


def test_a_whole_call(caplog: pytest.LogCaptureFixture) -> None:
    """A call is told with who, what, where, how often, how long, and whether it may have cost something."""
    fields = {
        "event_id": "e-2",
        "caller": "team-a",
        "deployment": "a",
        "deployment_used": "b",
        "stream": True,
        "outcome": "picture",
        "attempts": 2,
        "tried": ["a throttled 429", "b picture 200"],
        "status": 200,
        "latency_ms": 1234,
        "perhaps_billed": True,
    }
    assert fields == written(caplog, **fields)


def test_only_what_is_listed() -> None:
    """A record has no place for a prompt, a picture or a credential."""
    assert {
        "event_id",
        "caller",
        "deployment",
        "deployment_used",
        "stream",
        "outcome",
        "attempts",
        "tried",
        "status",
        "latency_ms",
        "perhaps_billed",
    } == {field.name for field in structs.fields(CallRecord)}
    with pytest.raises(TypeError):
        CallRecord(event_id="e", deployment="d", prompt=PROMPT)  # type: ignore[call-arg]


@pytest.mark.parametrize("odd", ["a\nb", 'a"b', "\u2028", "%s %d", "é\U0001f98a", "{}", "\x00\x1b[31m"], ids=ascii)
def test_odd_text_stays_within_its_field(caplog: pytest.LogCaptureFixture, odd: str) -> None:
    """Whatever the caller's name holds, the line is one line, and what was put in can be read back."""
    assert odd == written(caplog, caller=odd)["caller"]
    assert "\x1b" not in caplog.messages[0]


def fail(error: Exception, depth: int = 0) -> None:
    """Raise, from so many calls below."""
    if depth:
        fail(error, depth - 1)
    raise error


def fault_of(caplog: pytest.LogCaptureFixture, error: Exception, depth: int = 0) -> dict[str, Any]:
    """The line of a fault that was raised."""
    try:
        fail(error, depth)
    except Exception as fault:  # noqa: BLE001 -- as the gateway does it
        write_fault(fault, "e-1")
    (line,) = lines(caplog, "gateway.faults")
    return line


@pytest.mark.parametrize(
    "error",
    [ValueError(PROMPT), KeyError(PROMPT), UnicodeDecodeError("utf-8", PROMPT.encode(), 0, 1, PROMPT)],
    ids=lambda error: type(error).__name__,
)
def test_a_fault(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    """A fault is told with its kind and place, and none of its words."""
    error.add_note(PROMPT)
    error.__cause__ = ValueError(PROMPT)
    line = fault_of(caplog, error)
    assert {"event_id", "fault", "place"} == set(line)
    assert ("e-1", type(error).__name__) == (line["event_id"], line["fault"])
    assert [__name__] * 2 == [place.partition(":")[0] for place in line["place"]]
    assert all(place.partition(":")[2].isdigit() for place in line["place"])
    (record,) = caplog.records
    assert PROMPT not in str(vars(record))
    assert record.exc_info is None
    assert logging.ERROR == record.levelno


def test_a_deep_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Of a deep fault the eight innermost places are told."""
    line = fault_of(caplog, ValueError(), depth=50)
    assert 8 == len(line["place"])
    assert line["place"][-1] != line["place"][-2] == line["place"][0]


def test_a_fault_that_was_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    """A fault without a place is told all the same."""
    write_fault(ValueError(PROMPT), "e-1")
    assert [{"event_id": "e-1", "fault": "ValueError", "place": []}] == lines(caplog, "gateway.faults")


def test_a_place_without_a_module(caplog: pytest.LogCaptureFixture) -> None:
    """A fault in code that has no module is told all the same."""
    try:
        exec("raise ValueError", {})  # noqa: S102 -- such code is what this is about
    except ValueError as fault:
        write_fault(fault, "e-1")
    (line,) = lines(caplog, "gateway.faults")
    assert 2 == len(line["place"])
