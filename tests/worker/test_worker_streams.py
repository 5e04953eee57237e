"""Streams, and clients that leave, under Microsoft's worker and under localhost alike."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_events_come_one_by_one(client: httpx2.AsyncClient) -> None:
    """Each event is with the caller before the next is made."""
    async with client.stream("GET", "/stream") as answer:
        lines = (line async for line in answer.aiter_lines() if line)
        for word in ("one", "two", "three"):
            await client.get(f"/push/{word}")
            assert f"data: {word}" == await anext(lines)
        await client.get("/push/end")
        assert [line async for line in lines] == []


async def test_status_comes_before_the_first_event(client: httpx2.AsyncClient) -> None:
    """The status and headers are with the caller before there is any event."""
    async with client.stream("GET", "/stream") as answer:
        assert (
            answer.status_code,
            answer.headers["content-type"],
        ) == (200, "text/event-stream; charset=utf-8")
        await client.get("/push/end")


async def test_client_leaves_during_the_stream(client: httpx2.AsyncClient) -> None:
    """A client that leaves during the stream is a CancelledError in the generator, though no event is due."""
    async with client.stream("GET", "/stream"):
        pass
    assert (await client.get("/pop")).text == "CancelledError"


async def test_client_leaves_a_stream_that_it_does_not_read(client: httpx2.AsyncClient) -> None:
    """A client that leaves without having read is noticed too, though nothing more could be sent to it."""
    async with client.stream("GET", "/flood"):
        pass
    assert (await client.get("/pop")).text in {"CancelledError", "GeneratorExit"}


async def test_clean_up_after_a_client_that_left(client: httpx2.AsyncClient) -> None:
    """In the generator's clean-up every wait is cancelled again; a task of its own is not."""
    async with client.stream("GET", "/cleans-up") as answer:
        await anext(answer.aiter_text())
    seen = {(await client.get("/pop")).text, (await client.get("/pop")).text}
    assert seen == {"cancelled again", "cleaned up"}


async def test_client_leaves_before_the_answer(client: httpx2.AsyncClient) -> None:
    """A client that leaves before there is an answer is what `receive` and `is_disconnected` tell of."""
    call = asyncio.create_task(client.post("/slow", content="body"))
    assert (await client.get("/pop")).text == "disconnected: False"
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    assert (await client.get("/pop")).text == "http.disconnect, disconnected: True"


async def test_client_leaves_while_it_sends(client: httpx2.AsyncClient) -> None:
    """A client that leaves in the middle of its body harms nobody else."""

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await client.post("/echo/bob", content=half(), headers={"content-length": "8"})
    assert (await client.get("/sync/bob")).text == "sync bob"


async def test_stream_that_raises(client: httpx2.AsyncClient) -> None:
    """A generator that raises cuts the body short, which the caller can tell from an end."""
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.get("/cut")


async def test_context_ends_with_the_function(client: httpx2.AsyncClient) -> None:
    """What a function sets in its context is gone when its stream runs."""
    assert (await client.get("/context")).text == "none"
