"""A generation that says what its script says, and the answer of a gateway to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import orjson

from core.call import CallContext
from core.domain.outcome import Failure, FailureReason
from core.generation_task import GenerationTask, Shutdown
from core.routing.attempt_log import AttemptEntry, AttemptSummary
from core.routing.executor import Failed, PartialImage, Succeeded
from tests.fakes import Clock, failed, partial, picture, step

if TYPE_CHECKING:
    from core.call import Accounting
    from core.domain.response import HttpResponse
    from core.routing.executor import End, Progress, Show

EVENT_ID = "event-1"
TRACE = AttemptEntry(deployment="gpt-image-1", outcome="cut_short", status=200, latency_ms=7)
TRAIL = AttemptSummary(entries=(TRACE,), calls=1)
STEP = step("gpt-image-1", dropped=("style", "user"))


class Generation:
    """Shows and ends with what its script says; an asyncio.Event is waited for, an exception raised."""

    def __init__(self, *script: Progress | asyncio.Event | BaseException) -> None:
        self._script = script
        self.produced = 0
        self.closed = False

    async def draw(self, show: Show) -> End:
        try:
            for said in self._script:
                if isinstance(said, asyncio.Event):
                    await said.wait()
                elif isinstance(said, BaseException):
                    raise said
                elif isinstance(said, PartialImage):
                    self.produced += 1
                    await show(said)
                else:
                    self.produced += 1
                    return said
        finally:
            self.closed = True
        raise AssertionError("the script has no end")


def showing(index: int = 0, b64: str = "UEFS") -> PartialImage:
    return PartialImage(partial=partial(index, b64), step=STEP, summary=TRAIL)


def drawn(*b64: str, summary: AttemptSummary = TRAIL, **top: Any) -> Succeeded:
    return Succeeded(picture=picture(*b64, **top), step=STEP, summary=summary)


def gave_up(failure: Failure | None = None, *, summary: AttemptSummary = TRAIL) -> Failed:
    return Failed(failure=failure or failed(FailureReason.SERVER_ERROR, status=503), step=STEP, summary=summary)


def a_call(clock: Clock | None = None, *, stream: bool = False, summary: AttemptSummary = TRAIL) -> CallContext:
    """A call that has been understood; it is never closed, so that it needs no accounting."""
    clock = clock or Clock()
    call = CallContext(
        cast("Accounting", None), deployment="gpt-image-1", event_id=EVENT_ID, clock=clock, began_at=clock() - 1.5
    )
    call.log.summary = summary
    call.model_requested = "my-model"
    call.stream = stream
    return call


def task_of(generation: Generation, call: CallContext, shutdown: Shutdown | None = None) -> GenerationTask:
    return GenerationTask(generation.draw, shutdown or Shutdown(), call, seconds=60)


def body_of(reply: HttpResponse) -> Any:
    assert isinstance(reply.body, tuple)
    return orjson.loads(b"".join(reply.body))


def events_of(stream: bytes) -> list[tuple[str, Any]]:
    """The events of a stream in the form in which SDKs need them; comments are left out."""
    assert stream.endswith(b"\n\n")
    found = []
    for block in stream.removesuffix(b"\n\n").split(b"\n\n"):
        if block.startswith(b":"):
            continue
        name, data = block.split(b"\n")
        assert name.startswith(b"event: ")
        assert data.startswith(b"data: ")
        found.append((name.removeprefix(b"event: ").decode(), orjson.loads(data.removeprefix(b"data: "))))
    return found
