"""Calls over HTTP as the functions see them: what happens where the caller, or the invocation, ends meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from adapters.functions.http import CLIENT_CLOSED_REQUEST, response_of, unless_the_caller_leaves
from core.domain.response import HttpResponse


class Body:
    """A stream of what it is given; it keeps whether it was closed."""

    def __init__(self, *pieces: bytes | asyncio.Event) -> None:
        self._pieces = pieces
        self.closed = 0

    async def __aiter__(self):
        for piece in self._pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece

    async def aclose(self) -> None:
        self.closed += 1


class Caller:
    """Someone who has asked; `leave` is what the server tells when they have gone."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.heard: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message)

    async def hears(self, response: Any) -> None:
        await response({"type": "http"}, self.receive, self.send)


async def turns(count: int = 10) -> None:
    """Let everything go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_answer():
    """Whoever waits gets the answer, whether it was there at once or came later."""
    for waits in (False, True):

        async def answering(waits=waits) -> HttpResponse:
            if waits:
                await turns()
            return HttpResponse(status=201, body=(b"picture",))

        response = await unless_the_caller_leaves(cast("Any", Caller()), answering())
        assert (201, b"picture") == (response.status_code, response.body)


async def test_a_caller_who_leaves():
    """The work is broken off, and the function returns: it never raises CancelledError."""
    caller, broken_off = Caller(), asyncio.Event()

    async def answering() -> HttpResponse:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()
        raise AssertionError("nobody waits")

    call = asyncio.ensure_future(unless_the_caller_leaves(cast("Any", caller), answering()))
    await turns()
    caller.left.set()

    assert CLIENT_CLOSED_REQUEST == (await call).status_code
    assert broken_off.is_set()


@pytest.mark.parametrize("after", range(6))
async def test_an_invocation_that_is_cancelled_as_its_answer_comes(after):
    """In whatever turn that is, the stream behind the answer is closed, or is in somebody's hands."""
    body, gate = Body(b"picture"), asyncio.Event()

    async def answering() -> HttpResponse:
        await gate.wait()
        return HttpResponse(status=200, body=body)

    call = asyncio.ensure_future(unless_the_caller_leaves(cast("Any", Caller()), answering()))
    await turns()
    gate.set()
    await turns(after)
    call.cancel()
    (result,) = await asyncio.gather(call, return_exceptions=True)

    handed_over = not isinstance(result, asyncio.CancelledError)
    gone_before = after == 0  # the answer never came
    assert handed_over or gone_before or body.closed == 1


async def test_a_stream():
    """A stream goes out piece by piece behind its head, and is closed at its end."""
    body, caller = Body(b"one", b"two"), Caller()
    await caller.hears(response_of(HttpResponse(status=200, headers={"content-type": "text/event-stream"}, body=body)))

    start, *pieces, end = caller.heard
    assert (200, [(b"content-type", b"text/event-stream")]) == (start["status"], start["headers"])
    assert [b"one", b"two"] == [piece["body"] for piece in pieces]
    assert (b"", False, 1) == (end["body"], end["more_body"], body.closed)


async def test_a_stream_whose_caller_leaves():
    """It is broken off where it stands, without another word, and closed."""
    body, caller = Body(b"one", asyncio.Event(), b"two"), Caller()
    hearing = asyncio.ensure_future(caller.hears(response_of(HttpResponse(status=200, body=body))))
    await turns()
    caller.left.set()
    await hearing

    assert [b"one"] == [message["body"] for message in caller.heard[1:]]
    assert body.closed == 1
