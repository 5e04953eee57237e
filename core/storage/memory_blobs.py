"""Blobs in memory, for one process: bounded, the oldest go first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.storage.blobs import Whole

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable

    from core.domain.image_json import Buffer

MAX_BYTES: Final = 256 << 20
"""Of all containers together. A 4K picture takes up to 25 MB."""


class _StoredBlob(Struct, frozen=True, kw_only=True):
    blob: Whole
    expires_at: dt.datetime | None


class MemoryBlobs:
    """The port `Blobs` in memory."""

    def __init__(self, now: Callable[[], dt.datetime], *, max_bytes: int = MAX_BYTES) -> None:
        """`now` is the wall clock, in UTC."""
        self._now = now
        self._most_bytes = max_bytes
        self._size = 0
        self._stored: dict[tuple[str, str], _StoredBlob] = {}
        """In the order in which they were written."""

    def container(self, name: str) -> _MemoryContainer:
        """Give a container by its name."""
        return _MemoryContainer(self, name)

    def write(self, place: tuple[str, str], blob: Whole, expires_at: dt.datetime | None) -> None:
        """Store a blob; expired blobs, and the oldest beyond the bound, are dropped."""
        self.drop(place)
        self._stored[place] = _StoredBlob(blob=blob, expires_at=expires_at)
        self._size += blob.size
        for old in [each for each in self._stored if self._has_expired(each)]:
            self.drop(old)
        while self._size > self._most_bytes and self._stored:
            self.drop(next(iter(self._stored)))

    def read(self, place: tuple[str, str]) -> Whole | None:
        """Find a blob that has not expired."""
        return None if place not in self._stored or self._has_expired(place) else self._stored[place].blob

    def drop(self, place: tuple[str, str]) -> None:
        """Forget a blob."""
        if (stored := self._stored.pop(place, None)) is not None:
            self._size -= stored.blob.size

    def _has_expired(self, place: tuple[str, str]) -> bool:
        expires_at = self._stored[place].expires_at
        return expires_at is not None and expires_at <= self._now()


class _MemoryContainer:
    def __init__(self, blobs: MemoryBlobs, name: str) -> None:
        self._blobs = blobs
        self._name = name

    async def put(
        self, name: str, pieces: Iterable[Buffer], *, content_type: str, expires_at: dt.datetime | None = None
    ) -> None:
        body = tuple(bytes(piece) for piece in pieces)  # a view would keep alive what it is a view of
        self._blobs.write((self._name, name), Whole(body=body, content_type=content_type), expires_at)

    async def get(self, name: str) -> Whole | None:
        return self._blobs.read((self._name, name))

    async def delete(self, name: str) -> None:
        self._blobs.drop((self._name, name))

    async def link(self, name: str, *, expires_at: dt.datetime) -> None:  # noqa: ARG002 -- the port's signature
        return None
