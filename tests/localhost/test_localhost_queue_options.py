"""extensions.queues of host.json: the real host's names, defaults and bounds."""

from __future__ import annotations

import pytest

from localhost.queue_options import QueueOptions
from localhost.settings import StartError, read_json
from tests.worker.processes import ROOT


def options(**values: object) -> QueueOptions:
    return QueueOptions.read({"extensions": {"queues": values}})


def test_nothing_said() -> None:
    """The defaults are 16 messages at once, five tries without a pause, and base64."""
    expected = QueueOptions(
        batch_size=16, new_batch_threshold=8, max_dequeue_count=5, visibility_timeout=0.0, is_base64=True
    )
    assert [expected] * 3 == [QueueOptions.read({}), QueueOptions.read({"extensions": {}}), options()]


def test_everything_said() -> None:
    """What is said counts."""
    assert QueueOptions(
        batch_size=32, new_batch_threshold=0, max_dequeue_count=1, visibility_timeout=90.5, is_base64=False
    ) == options(
        batchSize=32,
        newBatchThreshold=0,
        maxDequeueCount=1,
        visibilityTimeout="00:01:30.5",
        messageEncoding="None",
        maxPollingInterval="00:01:00",
    )


def test_the_threshold_follows_the_batch() -> None:
    """Where nothing is said of it, it is half a batch."""
    assert 4 == options(batchSize=9).new_batch_threshold


def test_of_this_project() -> None:
    """The project's own host.json is one that the host takes."""
    assert 30 == QueueOptions.read(read_json(ROOT / "host.json")).visibility_timeout


@pytest.mark.parametrize(
    ("text", "expected"), [("00:00:30", 30), ("1.02:03:04", 93_784), ("7.00:00:00", 604_800), ("00:00:00", 0)]
)
def test_spans(text: str, expected: float) -> None:
    """A time is days, hours, minutes and seconds, as .NET writes it."""
    assert expected == options(visibilityTimeout=text).visibility_timeout


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("batchSize", 0, "a whole number from 1 to 32"),
        ("batchSize", 33, "a whole number from 1 to 32"),
        ("batchSize", "8", "a whole number from 1 to 32"),
        ("batchSize", True, "a whole number from 1 to 32"),
        ("newBatchThreshold", -1, "a whole number from 0"),
        ("maxDequeueCount", 0, "a whole number from 1"),
        ("maxDequeueCount", 2.5, "a whole number from 1"),
        ("visibilityTimeout", 30, '"hh:mm:ss", at most 7 days'),
        ("visibilityTimeout", "30", '"hh:mm:ss", at most 7 days'),
        ("visibilityTimeout", "-00:00:30", '"hh:mm:ss", at most 7 days'),
        ("visibilityTimeout", "7.00:00:01", '"hh:mm:ss", at most 7 days'),
        ("messageEncoding", "utf-8", '"base64" or "none"'),
    ],
)
def test_what_the_real_host_would_not_take(name: str, value: object, cure: str) -> None:
    """Out of bounds is told with the name, the value and the cure."""
    with pytest.raises(StartError) as raised:
        options(**{name: value})
    assert f"host.json: extensions.queues.{name} is {value!r}; give {cure}" == str(raised.value)
