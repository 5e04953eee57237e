"""Stored keys, cached for a while: a change or revocation takes effect here within that time.

* The time runs from when the read began, so that it bounds the whole: what was true when the read began is used for so
  long and no longer.
* That a key does not exist is cached too, but briefly, and apart from the keys that were found: a flood of made-up keys
  costs the store one read for each, nothing for repeats, and evicts no real key.
* Callers who ask for a key that is being read wait for the same read, unless it began too long ago.
* While the store cannot be reached, cached keys are used to their end, and nobody else is let in.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.auth.key_record import RECORD_ID, STORED_KEY
from core.auth.virtual_keys import KeyStoreUnavailable, hash_secret
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.auth.key_store import KeyStore
    from core.auth.virtual_keys import VirtualKey

UNKNOWN_SECONDS: Final = 10.0
"""How long it is cached at most that a key does not exist."""
MAX_CACHED_KEYS: Final = 10_000
"""How many keys are cached, and how many that do not exist; each takes about 1 KB."""


class _Cached(Struct, frozen=True):
    key: VirtualKey | None
    ends_at: float


class _Read:
    """A read that is under way."""

    task: asyncio.Task[VirtualKey | None]

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at


class KeyCache:
    """Stored keys by the key and by the id, with a cache before the store."""

    def __init__(
        self, stored: KeyStore, *, seconds: float, clock: Callable[[], float], max_keys: int = MAX_CACHED_KEYS
    ) -> None:
        """Found keys are cached for `seconds`; `clock` is monotonic, in seconds."""
        self._stored = stored
        self._seconds = seconds
        self._clock = clock
        self._found = _LruCache(max_keys)
        self._unknown = _LruCache(max_keys)
        self._reads: dict[str, _Read] = {}

    async def get_by_key(self, key: str) -> VirtualKey | None:
        """Look up a whole key; what does not have the form of a stored key is not looked up at all."""
        if STORED_KEY.fullmatch(key) is None:
            return None
        key_sha256 = hash_secret(key)
        return await self._get(key_sha256, lambda: self._read_by_hash(key_sha256))

    async def get_by_id(self, key_id: str) -> VirtualKey | None:
        """Look up the current key of a record."""
        if RECORD_ID.fullmatch(key_id) is None:
            return None
        return await self._get(key_id, lambda: self._read_by_id(key_id))

    def forget(self, record_id: str) -> None:
        """Drop a record that this process has changed, under each of its secrets.

        Reads that are under way may see the record as it was before, so their results are not cached.
        """
        self._found.drop(lambda key: key.id == record_id)
        self._reads.clear()

    async def _get(self, name: str, read: Callable[[], Awaitable[VirtualKey | None]]) -> VirtualKey | None:
        now = self._clock()
        cached = self._found.get(name, now) or self._unknown.get(name, now)
        if cached is not None:
            return cached.key
        current = self._reads.get(name)
        if current is None or current.began_at + self._seconds <= now:
            current = _Read(now)
            self._reads[name] = current
            current.task = asyncio.ensure_future(self._finish(name, current, read))
            current.task.add_done_callback(_retrieve_exception)
        # A caller that leaves must not end the read for the others.
        return await asyncio.shield(current.task)

    async def _finish(
        self, name: str, current: _Read, read: Callable[[], Awaitable[VirtualKey | None]]
    ) -> VirtualKey | None:
        try:
            key = await read()
        except StoreUnavailable:
            raise KeyStoreUnavailable from None
        finally:
            is_wanted = self._reads.get(name) is current
            if is_wanted:
                del self._reads[name]
        if is_wanted:
            self._put(name, key, current.began_at)
        return key

    def _put(self, name: str, key: VirtualKey | None, began_at: float) -> None:
        if key is None:
            self._unknown.put(name, _Cached(None, began_at + min(self._seconds, UNKNOWN_SECONDS)))
        else:
            self._found.put(name, _Cached(key, began_at + self._seconds))

    async def _read_by_hash(self, key_sha256: str) -> VirtualKey | None:
        record = await self._stored.get_by_hash(key_sha256)
        return None if record is None else record.key(key_sha256)

    async def _read_by_id(self, key_id: str) -> VirtualKey | None:
        record = await self._stored.get(key_id)
        return None if record is None else record.key()


class _LruCache:
    """A bounded cache that drops the least recently used entry."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[str, _Cached] = OrderedDict()

    def get(self, name: str, now: float) -> _Cached | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.ends_at <= now:
            del self._entries[name]
            return None
        self._entries.move_to_end(name)
        return entry

    def put(self, name: str, entry: _Cached) -> None:
        self._entries[name] = entry
        self._entries.move_to_end(name)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def drop(self, unwanted: Callable[[VirtualKey], bool]) -> None:
        for name in [name for name, entry in self._entries.items() if entry.key is not None and unwanted(entry.key)]:
            del self._entries[name]


def _retrieve_exception(task: asyncio.Task[VirtualKey | None]) -> None:
    """Keep asyncio from logging the exception of a read whose callers have all gone."""
    if not task.cancelled():
        task.exception()
