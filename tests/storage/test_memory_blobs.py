"""Blobs in memory: bounded in time and size."""

from __future__ import annotations

import datetime as dt

from core.storage.memory import MemoryBlobs

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


async def test_a_blob_is_gone_when_its_time_is_over() -> None:
    """At that very moment, and its room is free for others with the next write."""
    clock = Clock()
    container = MemoryBlobs(clock, max_bytes=10).container("a")
    await container.put("x", [b"12345678"], content_type="image/png", expires_at=NOW + dt.timedelta(hours=1))
    clock.now += dt.timedelta(hours=1)
    assert await container.get("x") is None
    await container.put("y", [b"12345678"], content_type="image/png")
    assert await container.get("y") is not None


async def test_the_oldest_go_first_when_there_is_no_room() -> None:
    """The bound counts all containers of a store together."""
    blobs = MemoryBlobs(Clock(), max_bytes=10)
    for name in ("x", "y", "z"):
        await blobs.container(name).put(name, [b"1234"], content_type="text/plain")
    assert await blobs.container("x").get("x") is None
    assert await blobs.container("y").get("y") is not None
    assert await blobs.container("z").get("z") is not None


async def test_a_blob_that_is_too_large_is_not_kept() -> None:
    """It does not stay above the bound."""
    container = MemoryBlobs(Clock(), max_bytes=10).container("a")
    await container.put("x", [b"123456", b"789012"], content_type="text/plain")
    assert await container.get("x") is None


async def test_a_write_takes_the_place_of_what_was_there() -> None:
    """And its size is counted once."""
    container = MemoryBlobs(Clock(), max_bytes=10).container("a")
    for _ in range(5):
        await container.put("x", [memoryview(b"123"), b"456"], content_type="text/plain")
    kept = await container.get("x")
    assert kept is not None
    assert (6, b"123456") == (kept.size, b"".join([bytes(piece) async for piece in kept.pieces()]))
    await container.delete("x")
    await container.delete("x")
    assert await container.get("x") is None
