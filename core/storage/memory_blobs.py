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
"""How much all containers hold together. A 4K picture takes up to 25 MB."""


class _Kept(Struct, frozen=True, kw_only=True):
    blob: Whole
    expires_at: dt.datetime | None


class MemoryBlobs:
    """The port `Blobs` in memory."""

    def __init__(self, now: Callable[[], dt.datetime], *, max_bytes: int = MAX_BYTES) -> None:
        """`now` is the wall clock, in UTC."""
        self._now = now
        self._most_bytes = max_bytes
        self._size = 0
        self._kept: dict[tuple[str, str], _Kept] = {}
        """In the order in which they were written."""

    def container(self, name: str) -> _MemoryContainer:
        """Give a container by its name."""
        return _MemoryContainer(self, name)

    def write(self, place: tuple[str, str], blob: Whole, expires_at: dt.datetime | None) -> None:
        """Keep a blob; what is over its time, and the oldest beyond the bound, is dropped."""
        self.drop(place)
        self._kept[place] = _Kept(blob=blob, expires_at=expires_at)
        self._size += blob.size
        for old in [each for each in self._kept if self._is_over(each)]:
            self.drop(old)
        while self._size > self._most_bytes and self._kept:
            self.drop(next(iter(self._kept)))

    def read(self, place: tuple[str, str]) -> Whole | None:
        """Give a blob that is there and not over its time."""
        return None if place not in self._kept or self._is_over(place) else self._kept[place].blob

    def drop(self, place: tuple[str, str]) -> None:
        """Forget a blob."""
        if (kept := self._kept.pop(place, None)) is not None:
            self._size -= kept.blob.size

    def _is_over(self, place: tuple[str, str]) -> bool:
        expires_at = self._kept[place].expires_at
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
