"""Tables, blobs and queues in memory, for one process: they end with it.

No method of a table waits, so each is one step of the event loop, and a transaction needs no lock. Of rows that have
values of the same names, as those of the ledger do, the names are stored once: a dict for each takes twice the memory.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from bisect import bisect_left, insort
from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.storage.blobs import Whole
from core.storage.table_rules import check_changes, check_key, check_limit, check_name
from core.storage.tables import MAX_ROWS_PER_PAGE, Changed, Delete, Exists, Insert, Page, Put, Replace, Row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from core.domain.image_json import Buffer
    from core.storage.tables import Change, Value

_log: Final = logging.getLogger(__name__)

# -- tables --

_StoredRow = tuple[str, tuple[str, ...], tuple["Value", ...]]
_NO_BOUNDS: Final[Mapping[str, int]] = MappingProxyType({})


class MemoryTables:
    """The port over the process's own memory."""

    def __init__(self, *, max_rows: Mapping[str, int] = _NO_BOUNDS) -> None:
        """`max_rows` bounds tables by their names: beyond it the row that was written longest ago goes."""
        self._most_rows = max_rows
        self._tables: dict[str, MemoryTable] = {}
        self._etags = (f'W/"{number}"' for number in itertools.count(1))

    def table(self, name: str) -> MemoryTable:
        """Give a table by its name (see Tables.table)."""
        check_name(name)
        if name not in self._tables:
            self._tables[name] = MemoryTable(self._etags, self._most_rows.get(name))
        return self._tables[name]


class MemoryTable:
    """One table in memory."""

    def __init__(self, etags: Iterator[str], max_rows: int | None) -> None:
        self._etags = etags
        self._most_rows = max_rows
        self._rows: OrderedDict[tuple[str, str], _StoredRow] = OrderedDict()
        """The ETag of each row, the names of its values, and these; in the order in which they were written. A plain
        dict is slow to give its first entry once many have gone."""
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._keys: dict[str, list[str]] = {}
        """The keys of each partition, sorted."""

    async def get(self, partition: str, key: str) -> Row | None:
        """Read a row (see Table.get)."""
        check_key(partition)
        check_key(key)
        return self._row(partition, key) if (partition, key) in self._rows else None

    async def page(
        self, partition: str, *, first: str = "", before: str | None = None, limit: int = MAX_ROWS_PER_PAGE
    ) -> Page:
        """Read rows of a partition (see Table.page)."""
        check_key(partition)
        check_limit(limit)
        keys = self._keys.get(partition, [])
        begin = bisect_left(keys, first)
        end = len(keys) if before is None else bisect_left(keys, before)
        following = begin + limit
        return Page(
            rows=tuple(self._row(partition, key) for key in keys[begin : min(following, end)]),
            next_key=keys[following] if following < end else None,
        )

    async def change(self, *changes: Change) -> Sequence[Row]:
        """Make changes, all or none (see Table.change)."""
        check_changes(changes)
        for change in changes:
            self._check(change)
        changed = tuple(self._make(change) for change in changes)
        self._forget_oldest()
        return changed

    def _row(self, partition: str, key: str) -> Row:
        etag, names, values = self._rows[partition, key]
        read = MappingProxyType(dict(zip(names, values, strict=True)))
        return Row(partition=partition, key=key, values=read, etag=etag)

    def _check(self, change: Change) -> None:
        etag, *_ = self._rows.get((change.row.partition, change.row.key), (None,))
        match change:
            case Insert() if etag is not None:
                raise Exists(f"{change.row.key} is there already")
            case Replace() if etag != change.row.etag:
                raise Changed(f"{change.row.key} is not as it was read")
            case Delete() if etag is None or change.row.etag not in {"", etag}:
                raise Changed(f"{change.row.key} is not as it was read")
            case _:
                pass

    def _make(self, change: Change) -> Row:
        self._remove(change.row.partition, change.row.key)
        match change:
            case Delete(row=row):
                return row
            case Insert(row=row) | Replace(row=row) | Put(row=row):
                names = tuple(row.values)
                names = self._names.setdefault(names, names)
                self._rows[row.partition, row.key] = next(self._etags), names, tuple(row.values.values())
                insort(self._keys.setdefault(row.partition, []), row.key)
                return self._row(row.partition, row.key)

    def _remove(self, partition: str, key: str) -> None:
        if self._rows.pop((partition, key), None) is None:
            return
        keys = self._keys[partition]
        del keys[bisect_left(keys, key)]
        if not keys:
            del self._keys[partition]

    def _forget_oldest(self) -> None:
        while self._most_rows is not None and len(self._rows) > self._most_rows:
            self._remove(*next(iter(self._rows)))


# -- blobs: bounded, the oldest go first --

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


# -- queues: messages are handled in this process, and tried as often as by the Functions host --

MAX_TRIES: Final = 5
"""As the Functions host (Azure Functions docs, "host.json", queues.maxDequeueCount)."""
TRY_AGAIN_SECONDS: Final = 1.0


class MemoryQueues:
    """The port `Queues` in memory."""

    def __init__(self, wait: Callable[[float], Awaitable[None]]) -> None:
        """`wait` lets seconds go by."""
        self._wait = wait
        self._queues: dict[str, MemoryQueue] = {}

    def queue(self, name: str) -> MemoryQueue:
        """Give a queue by its name."""
        return self._queues.setdefault(name, MemoryQueue(self._wait))


class MemoryQueue:
    """One queue. A message that is sent before there is a handler is dropped."""

    def __init__(self, wait: Callable[[float], Awaitable[None]]) -> None:
        self._wait = wait
        self._handler: Callable[[str, int], Awaitable[None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def handled_by(self, handler: Callable[[str, int], Awaitable[None]]) -> None:
        """Start `handler` with each message, and which try it is, counted from 1."""
        self._handler = handler

    async def send(self, text: str, *, delay_seconds: float = 0.0) -> None:
        """Send a message (see Queue.send)."""
        if self._handler is not None:
            work = asyncio.ensure_future(self._deliver(self._handler, text, delay_seconds))
            self._tasks.add(work)
            work.add_done_callback(self._tasks.discard)

    async def _deliver(self, handler: Callable[[str, int], Awaitable[None]], text: str, delay: float) -> None:
        if delay > 0:
            await self._wait(delay)
        for number in range(1, MAX_TRIES + 1):
            try:
                await handler(text, number)
            except Exception as failure:  # noqa: BLE001 -- as the host: a function that fails is started again
                _log.warning("A message was not handled at try %d: %s", number, type(failure).__name__)
                await self._wait(TRY_AGAIN_SECONDS)
            else:
                return
