"""Answers that are small on the wire and much work: none stops the event loop for more than 50 ms of CPU time."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from core.azure_openai.client import AttemptRequest, AzureOpenAI
from core.domain.outcome import Failure, FailureReason, Success
from tests.fakes import FakeTransport, Row, fitted, target
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
MAX_SECONDS = 0.05
PIECE_BYTES = 256 << 10
"""What is inflated at a time."""
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


def cut(text: bytes) -> list[bytes]:
    return [text[at : at + PIECE_BYTES] for at in range(0, len(text), PIECE_BYTES)]


def repeated(text: bytes, megabytes: int) -> list[bytes]:
    """So many megabytes of a text, in pieces that are the same bytes."""
    piece = text * (PIECE_BYTES // len(text))
    return [piece] * ((megabytes << 20) // len(piece))


ANSWERS = {
    # the answer's headers, its pieces: what it comes to; None: a picture
    "very many items": (
        JSON,
        [b'{"data":[', *repeated(b'{"b64_json":"a"},', 38), b'{"b64_json":"a"}]}'],
        None,
    ),
    "very many items that are no pictures": (
        JSON,
        [b'{"data":[{"b64_json":"a"},', *repeated(b"{},", 20), b"{}]}"],
        None,
    ),
    "quotes in base64": (JSON, cut(b'{"data":[{"b64_json":"' + rb"\"" * 1_000_000 + b'"}]}'), FailureReason.UNREADABLE),
    "backslashes in base64": (
        JSON,
        [b'{"data":[{"b64_json":"', *repeated(b"\\", 60), b'"}]}'],
        FailureReason.UNREADABLE,
    ),
    "blanks": (JSON, [b"{", *repeated(b" ", 700), b"}"], FailureReason.UNREADABLE),
    "arrays in arrays": (JSON, [b'{"data":', *repeated(b"[", 1), *repeated(b"]", 1), b"}"], FailureReason.UNREADABLE),
    "very many arrays": (JSON, [b'{"data":[', *repeated(b"[],", 1), b"1]}"], FailureReason.UNREADABLE),
    "half characters": (JSON, [b'{"data":"', *repeated(rb"\ud800", 1), b'"}'], FailureReason.UNREADABLE),
    "events": (SSE, repeated(b"data:{}\n\n", 3), FailureReason.CUT_SHORT),
    "comments": (SSE, repeated(b":\n", 1), FailureReason.CUT_SHORT),
    "blank lines": (SSE, repeated(b"\r", 1), FailureReason.CUT_SHORT),
    "lines of data": (SSE, [*repeated(b"data:\n", 1), b"\n"], FailureReason.CUT_SHORT),
    "pictures in one event": (
        SSE,
        [b"data:{", *repeated(b'"b64_json":"a",', 12), b'"b":1}\n\n'],
        FailureReason.UNREADABLE,
    ),
}


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which in a test looks at far more than in the gateway."""
    gc.disable()
    yield
    gc.enable()


async def beat(gaps: list[float]) -> None:
    """Note the CPU time that goes by between two turns of the loop."""
    while True:
        before = time.thread_time()
        await asyncio.sleep(0)
        gaps.append(time.thread_time() - before)


async def longest_stop(row: Row, *, stream: bool) -> tuple[Success | Failure, float]:
    """What an answer comes to, and the longest time for which it stopped the loop, in seconds."""
    upstream = AzureOpenAI(FakeTransport(row), None, clock=time.monotonic, now=lambda: NOW)  # type: ignore[arg-type]
    asked = AttemptRequest(
        target=target(),
        body=fitted(stream=stream),
        api_version=None,
        images=1,
        event_id="event-1",
        ends_at=time.monotonic() + HANGS_SECONDS,
    )
    gaps: list[float] = []
    beating = asyncio.create_task(beat(gaps))
    await asyncio.sleep(0)

    async def show(_: object) -> None:
        """Nobody looks."""

    outcome = await upstream.attempt(asked, show, lambda: None)
    await asyncio.sleep(0)
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating
    return outcome, max(gaps)


@pytest.mark.usefixtures("_no_collection")
@pytest.mark.parametrize(("headers", "pieces", "expected"), ANSWERS.values(), ids=ANSWERS)
async def test_a_costly_answer(headers: dict[str, str], pieces: list[bytes], expected: FailureReason | None) -> None:
    """Whatever comes inflated from a small answer, others are served meanwhile, and a picture in it is kept."""
    outcome, seconds = await longest_stop(Row(headers=headers, pieces=pieces), stream=headers is SSE)

    assert expected == getattr(outcome, "reason", None)
    assert seconds < MAX_SECONDS


@pytest.mark.usefixtures("_no_collection")
async def test_a_costly_error() -> None:
    """The body of an error is not parsed either where that takes long."""
    _, seconds = await longest_stop(Row(status=400, pieces=[b'{"error":[', *repeated(b"[],", 1)]), stream=False)

    assert seconds < MAX_SECONDS
