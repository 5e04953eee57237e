"""Blobs and queues that are made when they are first used: Azure's libraries cost half a second of CPU at import."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from core.domain.image_json import Buffer
    from core.storage.blobs import Blobs, Container, Content
    from core.storage.queues import Queue, Queues


class LateBlobs:
    """The port over blobs that do not exist yet."""

    def __init__(self, make: Callable[[], Blobs]) -> None:
        """`make` is called once, at the first use."""
        self._make = make

    def container(self, name: str) -> LateContainer:
        """Give a container by its name (see Blobs.container)."""
        return LateContainer(lambda: self._made.container(name))

    @cached_property
    def _made(self) -> Blobs:
        return self._make()


class LateContainer:
    """One container of them."""

    def __init__(self, make: Callable[[], Container]) -> None:
        self._make = make

    async def put(
        self, name: str, pieces: Iterable[Buffer], *, content_type: str, expires_at: dt.datetime | None = None
    ) -> None:
        """Write a blob (see Container.put)."""
        await self._made.put(name, pieces, content_type=content_type, expires_at=expires_at)

    async def get(self, name: str) -> Content | None:
        """Begin to read a blob (see Container.get)."""
        return await self._made.get(name)

    async def delete(self, name: str) -> None:
        """Delete a blob (see Container.delete)."""
        await self._made.delete(name)

    async def link(self, name: str, *, expires_at: dt.datetime) -> str | None:
        """Give a link to a blob (see Container.link)."""
        return await self._made.link(name, expires_at=expires_at)

    @cached_property
    def _made(self) -> Container:
        return self._make()


class LateQueues:
    """The port over queues that do not exist yet."""

    def __init__(self, make: Callable[[], Queues]) -> None:
        """`make` is called once, at the first use."""
        self._make = make

    def queue(self, name: str) -> LateQueue:
        """Give a queue by its name (see Queues.queue)."""
        return LateQueue(lambda: self._made.queue(name))

    @cached_property
    def _made(self) -> Queues:
        return self._make()


class LateQueue:
    """One queue of them."""

    def __init__(self, make: Callable[[], Queue]) -> None:
        self._make = make

    async def send(self, text: str, *, delay_seconds: float = 0.0) -> None:
        """Send a message (see Queue.send)."""
        await self._made.send(text, delay_seconds=delay_seconds)

    @cached_property
    def _made(self) -> Queue:
        return self._make()
