"""The port to blobs: bytes under a name in a container, in the terms of Azure Blob Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncGenerator, Iterable

    from core.domain.image_json import Buffer


class Content(Protocol):
    """A blob that is being read."""

    @property
    def size(self) -> int:
        """Its length in bytes."""
        ...

    @property
    def content_type(self) -> str:
        """As it was given when it was written."""
        ...

    def pieces(self) -> AsyncGenerator[Buffer]:
        """Its bytes as they come. Raises StoreUnavailable where they stop coming."""
        ...


class Container(Protocol):
    """One container. Every method raises `tables.StoreUnavailable` where the store cannot be reached."""

    async def put(
        self, name: str, pieces: Iterable[Buffer], *, content_type: str, expires_at: dt.datetime | None = None
    ) -> None:
        """Write a blob whole or not at all, in place of one that is there. No more than some MiB are held at once.

        From `expires_at` on the store may drop it. An Azure container has a lifecycle rule for that.
        """
        ...

    async def get(self, name: str) -> Content | None:
        """Begin to read a blob; None: there is none."""
        ...

    async def delete(self, name: str) -> None:
        """Delete a blob, if it is there."""
        ...

    async def link(self, name: str, *, expires_at: dt.datetime) -> str | None:
        """A URL under which anybody can read the blob until then; None: this store has no address of its own."""
        ...


class Blobs(Protocol):
    """The containers of one store."""

    def container(self, name: str) -> Container:
        """Give a container by its name (lower-case letters, digits, dashes); it is made when it is first written to."""
        ...


class Whole(Struct, frozen=True, kw_only=True):
    """A blob that is in memory."""

    body: tuple[Buffer, ...]
    content_type: str

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return sum(len(piece) for piece in self.body)

    async def pieces(self) -> AsyncGenerator[Buffer]:
        """Its bytes."""
        for piece in self.body:
            yield piece
