"""The answer as server-sent events (contract §4, "Stream")."""

from __future__ import annotations

import asyncio
import logging

import pytest

from core.domain.errors import Overdue
from core.domain.image_response import ERROR
from core.domain.outcome import FailureReason, UpstreamError
from core.domain.response import Stream
from core.generation_task import GenerationTask, Shutdown
from core.responses.response_builder import ResponseBuilder
from core.responses.sse import KEEP_ALIVE, respond_stream
from tests.fakes import COMPLETED, PARTIAL, Clock, failed, refused
from tests.responses.scripted import (
    EVENT_ID,
    TRAIL,
    Generation,
    a_call,
    body_of,
    drawn,
    events_of,
    gave_up,
    showing,
    task_of,
)
from tests.waiting import HANGS_SECONDS

SOON = 0.01
NEVER = 60.0


async def start(generation, *, heartbeat=NEVER, grace=None, about=None):
    about = about or a_call(stream=True)
    return await respond_stream(task_of(generation, about, grace), ResponseBuilder(about), heartbeat_seconds=heartbeat)


async def whole(reply) -> bytes:
    assert isinstance(reply.body, Stream)
    try:
        return b"".join([bytes(piece) async for piece in reply.body])
    finally:
        await reply.body.aclose()


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_the_events():
    """Partial images come first, then the picture, each as one event, in order."""
    generation = Generation(
        showing(0, "UDA="), showing(1, "UDE="), drawn("QUJD", size="auto", usage={"total_tokens": 7})
    )

    events = events_of(await whole(await start(generation)))

    assert [
        (PARTIAL, {"type": PARTIAL, "index": 0, "b64_json": "UDA=", "partial_image_index": 0}),
        (PARTIAL, {"type": PARTIAL, "index": 0, "b64_json": "UDE=", "partial_image_index": 1}),
    ] == events[:-1]
    name, completed = events[-1]
    extra_fields = completed.pop("extra_fields")
    assert COMPLETED == name
    assert {
        "type": COMPLETED,
        "index": 0,
        "b64_json": "QUJD",
        "created_at": 1_700_000_000,
        "size": "auto",
        "usage": {"total_tokens": 7},
    } == completed
    assert ("gpt-image-1", "image_generation_stream", TRAIL.as_json()) == (
        extra_fields["deployment"],
        extra_fields["request_type"],
        extra_fields["attempts"],
    )


async def test_several_pictures():
    """Each picture is an event of its own; the one usage stands on the last."""
    generation = Generation(drawn("QUJD", "REVG", "R0hJ", usage={"total_tokens": 7}))

    events = events_of(await whole(await start(generation)))

    assert [(COMPLETED, 0, "QUJD"), (COMPLETED, 1, "REVG"), (COMPLETED, 2, "R0hJ")] == [
        (name, event["index"], event["b64_json"]) for name, event in events
    ]
    assert [False, False, True] == ["usage" in event for _, event in events]
    assert all("extra_fields" in event for _, event in events)


@pytest.mark.parametrize(
    ("first", "cost"),
    [(showing(), {}), (drawn(), {"x-gateway-cost-usd": "0"})],
    ids=["partial", "picture"],
)
async def test_the_headers(first, cost):
    """A stream is announced as one that nobody may hold back, with what is known of who answers."""
    reply = await start(Generation(first, drawn()))
    await reply.body.aclose()

    assert reply.status == 200
    assert {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        "apim-request-id": "apim-1",
        "x-gateway-deployment": "gpt-image-1",
        "x-gateway-fallback-index": "0",
        "x-gateway-attempts": "1",
        "x-gateway-dropped-params": "style, user",
        **cost,
    } == reply.headers


async def test_no_done():
    """A stream ends with its last event: no `[DONE]`, which Azure's SDKs do not expect here."""
    stream = await whole(await start(Generation(drawn())))

    assert b"[DONE]" not in stream
    assert 1 == len(events_of(stream))


async def test_a_picture_of_megabytes():
    """A large picture goes out in pieces, none of them huge, and arrives whole."""
    b64 = "QUJD" * 500_000
    reply = await start(Generation(drawn(b64)))

    pieces = [bytes(piece) async for piece in reply.body]

    assert max(len(piece) for piece in pieces) <= 256 * 1024
    assert b64 == events_of(b"".join(pieces))[0][1]["b64_json"]


async def test_an_event_goes_out_before_the_next_is_there():
    """What there is of the stream is handed on at once."""
    reply = await start(Generation(showing(), asyncio.Event(), drawn()))
    async with asyncio.timeout(HANGS_SECONDS):
        piece = await anext(aiter(reply.body))
    await reply.body.aclose()

    assert [PARTIAL] == [name for name, _ in events_of(bytes(piece))]


@pytest.mark.parametrize("script", [[showing(), drawn()], [drawn()]], ids=["a partial image", "the picture"])
async def test_the_time_of_the_first_picture(script):
    """It is noted when the first picture goes out, finished or not; silence before it is no picture."""
    clock = Clock()
    about = a_call(clock, stream=True)
    gate = asyncio.Event()
    reply = await start(Generation(gate, *script), heartbeat=SOON, about=about)
    pieces = aiter(reply.body)
    assert (KEEP_ALIVE, None) == (await anext(pieces), about.first_event_ms)

    clock.pass_by(20)
    gate.set()
    async for _ in pieces:
        clock.pass_by(1)

    assert 21_500 == about.first_event_ms


async def test_no_first_picture():
    """An answer without a picture has no such time."""
    about = a_call(stream=True)
    gate = asyncio.Event()
    reply = await start(Generation(gate, gave_up()), heartbeat=SOON, about=about)
    gate.set()
    assert [ERROR] == [name for name, _ in events_of(await whole(reply))]
    assert about.first_event_ms is None


# -- silence ----------------------------------------------------------------------------------------------------------


async def test_silence_before_the_first_event():
    """The status is held back for one heartbeat; then silence is filled with comments."""
    gate = asyncio.Event()
    reply = await start(Generation(gate, drawn()), heartbeat=SOON)
    pieces = aiter(reply.body)

    first = [await anext(pieces) for _ in range(3)]
    gate.set()
    rest = b"".join([bytes(piece) async for piece in pieces])

    assert [KEEP_ALIVE] * 3 == first
    assert [COMPLETED] == [name for name, _ in events_of(rest)]
    assert reply.status == 200
    assert "x-gateway-deployment" not in reply.headers


async def test_silence_between_events():
    """Silence in the middle is filled too, and no event is lost by it."""
    gate = asyncio.Event()
    reply = await start(Generation(showing(), gate, drawn()), heartbeat=SOON)
    pieces = aiter(reply.body)
    assert (await anext(pieces)).startswith(b"event: ")
    assert [KEEP_ALIVE] * 2 == [await anext(pieces) for _ in range(2)]
    gate.set()

    rest = b"".join([bytes(piece) async for piece in pieces])

    assert [COMPLETED] == [name for name, _ in events_of(rest)]


async def test_a_keep_alive_is_a_comment():
    """A keep-alive is a comment line: an event without data breaks SDKs."""
    assert KEEP_ALIVE.startswith(b":")
    assert KEEP_ALIVE.endswith(b"\n\n")


async def test_the_status_is_held_back():
    """Before the first event there is no answer yet."""
    gate = asyncio.Event()
    task = asyncio.ensure_future(start(Generation(gate, gave_up())))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    gate.set()

    assert (await task).status == 502


# -- failures ---------------------------------------------------------------------------------------------------------


async def test_an_early_failure():
    """A failure before anything was sent is a JSON error with its status."""
    generation = Generation(gave_up(failed(FailureReason.THROTTLED, status=429, retry_after=7)))

    reply = await start(generation)

    body = body_of(reply)
    assert (429, "application/json", "7") == (reply.status, reply.headers["content-type"], reply.headers["retry-after"])
    assert ("image_generation_stream", EVENT_ID) == (body["extra_fields"]["request_type"], body["event_id"])
    assert generation.closed


@pytest.mark.parametrize("silent", [True, False], ids=["after silence", "after a partial"])
async def test_a_late_failure(silent):
    """A failure after the start is one last `error` event with an object under `error`, and the close."""
    gate = asyncio.Event()
    generation = Generation(gate if silent else showing(), gave_up(refused()))
    reply = await start(generation, heartbeat=SOON if silent else NEVER)
    gate.set()

    *_, (name, event) = events_of(await whole(reply))

    assert ("error", "error", 400) == (name, event["type"], event["status_code"])
    assert ("contentFilter", "Your request was rejected.") == (event["error"]["code"], event["error"]["message"])
    assert TRAIL.as_json() == event["extra_fields"]["attempts"]
    assert reply.status == 200
    assert generation.closed


async def test_details_do_not_replace_the_gateways_fields():
    """What else upstream says of its error is kept, but does not stand in the place of the gateway's own ids."""
    error = UpstreamError(code="contentFilter", message="no", details={"event_id": "theirs", "inner_error": {"a": 1}})
    reply = await start(Generation(gave_up(failed(FailureReason.REFUSED, status=400, error=error))))

    shown = body_of(reply)["error"]

    assert ({"a": 1}, EVENT_ID) == (shown["inner_error"], shown["event_id"])


SECRET = "https://secret-host.example/a prompt"


async def test_a_fault_after_the_start(caplog):
    """A fault of our own after the start is an error event, and a line in the log without its words."""
    generation = Generation(showing(), ValueError(SECRET))
    reply = await start(generation)

    with caplog.at_level(logging.ERROR):
        *_, (name, event) = events_of(await whole(reply))

    assert ("error", "internal_error", True) == (name, event["error"]["code"], event["is_bifrost_error"])
    (record,) = caplog.records
    assert EVENT_ID in record.getMessage()
    assert "ValueError" in record.getMessage()
    for seen in (record.getMessage(), str(event), str(record.exc_info)):
        assert "secret-host" not in seen
    assert generation.closed


async def test_a_generation_that_just_ends():
    """A generation without an end is a fault, never a short success."""
    *_, (name, _) = events_of(await whole(await start(Generation(showing()))))

    assert name == "error"


async def test_a_fault_before_the_start():
    """A fault of our own before the start is raised, and the generation is closed."""
    generation = Generation(ValueError(SECRET))

    with pytest.raises(ValueError, match="secret"):
        await start(generation)

    assert generation.closed


async def test_the_gateway_stops():
    """A stream that cannot be finished before the gateway stops ends with an error event."""
    generation, grace = Generation(showing(), asyncio.Event()), Shutdown()
    reply = await start(generation, grace=grace)
    pieces = aiter(reply.body)
    await anext(pieces)
    grace.begin()

    rest = b"".join([bytes(piece) async for piece in pieces])

    ((name, event),) = events_of(rest)
    assert ("error", "stopping", 503) == (name, event["error"]["code"], event["status_code"])
    assert generation.closed


# -- leaving, and readers that are slow -------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [(showing(), drawn()), (drawn(),)], ids=["partial", "picture"])
async def test_closing_a_body_that_was_not_read(script):
    """A body that nobody began to read closes the generation all the same."""
    generation = Generation(*script)
    reply = await start(generation)

    await reply.body.aclose()
    await reply.body.aclose()

    assert generation.closed


async def test_closing_a_silent_body_that_was_not_read():
    """The same holds where the stream began in silence, with an event still waited for."""
    generation = Generation(asyncio.Event())
    reply = await start(generation, heartbeat=SOON)

    await reply.body.aclose()

    assert generation.closed


async def test_closing_in_the_middle():
    """Who leaves in the middle closes the generation."""
    generation = Generation(showing(), showing(), drawn())
    reply = await start(generation)
    await anext(aiter(reply.body))

    await reply.body.aclose()

    assert (True, 1) == (generation.closed, generation.produced)


async def test_cancelled_while_waiting_for_the_first_event():
    """A caller that leaves before the status closes the generation."""
    generation = Generation(asyncio.Event())
    task = asyncio.ensure_future(start(generation))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert generation.closed


async def test_cancelled_while_waiting_for_a_later_event():
    """A caller that is cancelled while upstream is silent closes the generation."""
    generation = Generation(showing(), asyncio.Event())
    reply = await start(generation)
    task = asyncio.ensure_future(whole(reply))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert generation.closed


async def test_a_fault_while_leaving(caplog):
    """A fault that strikes while a caller leaves is written down, without its words, and not raised."""

    class Failing(Generation):
        async def draw(self, show):
            try:
                await show(showing())
                await asyncio.Event().wait()
            finally:
                self.closed = True
                raise ValueError(SECRET)

    generation = Failing()
    reply = await start(generation, heartbeat=SOON)
    pieces = aiter(reply.body)
    await anext(pieces)
    await anext(pieces)

    with caplog.at_level(logging.ERROR):
        await reply.body.aclose()

    assert generation.closed
    (record,) = caplog.records
    assert "secret-host" not in record.getMessage()


async def test_a_reader_that_stops():
    """A reader that stops pulls nothing more from upstream: one event is there, the next is not asked for."""
    generation = Generation(*[showing(index) for index in range(50)], drawn())
    reply = await start(generation)
    for _ in range(50):
        await asyncio.sleep(0)
    assert generation.produced == 1
    pieces = aiter(reply.body)
    for read in range(1, 6):
        await anext(pieces)
        for _ in range(50):
            await asyncio.sleep(0)
        assert generation.produced == read
    await reply.body.aclose()


async def test_a_reader_that_stops_in_a_picture():
    """In the middle of a large event, too, nothing more is asked for."""
    generation = Generation(showing(0, "QUJD" * 500_000), showing(1), drawn())
    reply = await start(generation)
    pieces = aiter(reply.body)
    for _ in range(3):
        await anext(pieces)

    assert generation.produced == 1
    await reply.body.aclose()


async def test_a_caller_that_leaves_again_and_again():
    """However often the closing is cancelled, the generation is closed once, and closing it again waits for its end."""
    closed = asyncio.Event()
    may_close = asyncio.Event()

    async def slow_to_close(_):
        try:
            await asyncio.Event().wait()
        finally:
            await may_close.wait()
            closed.set()

    reads = GenerationTask(slow_to_close, Shutdown(), a_call(), seconds=60)
    assert await reads.next_event(0.01) is None
    for _ in range(3):
        closing = asyncio.ensure_future(reads.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert not closed.is_set()
    may_close.set()
    await reads.aclose()
    assert closed.is_set()


async def test_time_that_ends_while_the_next_event_is_awaited(monkeypatch):
    """Where the time of the call ends in the middle of a wait, whoever waits is told, and the generation is closed."""
    monkeypatch.setattr("core.generation_task.SLACK_SECONDS", 0.0)
    closed = asyncio.Event()

    async def silent(_):
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    reads = GenerationTask(silent, Shutdown(), a_call(), seconds=0.02)
    async with asyncio.timeout(HANGS_SECONDS):
        with pytest.raises(Overdue):
            await reads.next_event()
        await reads.aclose()
    assert closed.is_set()


async def test_a_caller_that_stops_reading_does_not_hold_upstream(monkeypatch):
    """When the call's time is over, a generation that nobody reads is ended, and the reader is told."""
    monkeypatch.setattr("core.generation_task.SLACK_SECONDS", 0.0)
    closed = asyncio.Event()

    async def endless(show):
        try:
            while True:
                await show(showing())
        finally:
            closed.set()

    reads = GenerationTask(endless, Shutdown(), a_call(), seconds=0.05)
    async with asyncio.timeout(HANGS_SECONDS):
        await reads.next_event()
        await closed.wait()
        with pytest.raises(Overdue):
            await reads.next_event()
    await reads.aclose()
