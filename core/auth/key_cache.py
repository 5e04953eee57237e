"""Stored keys, kept for a while: a change or revocation holds here within that time.

* The time runs from when the read began, so that it is a bound on the whole: what was true at the beginning of the
  read counts for so long and no longer.
* That there is no such key is kept too, but briefly, and apart from the keys that were found: a flood of made-up keys
  costs the store one read for each, nothing for its repeats, and pushes nobody out.
* Who asks for what is being read waits for the same read, unless it began too long ago.
* Where the store is out of reach, what is kept goes on to its end, and nobody else gets in.
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
"""How long it is kept at most that there is no such key."""
MAX_CACHED_KEYS: Final = 10_000
"""How many keys are kept, and how many that are none; each takes about 1 KB."""


class _Kept(Struct, frozen=True):
    key: VirtualKey | None
    ends_at: float


class _Reading:
    """A read that is under way."""

    task: asyncio.Task[VirtualKey | None]

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at


class KeyCache:
    """Stored keys by the key and by the id, with a cache before the store."""

    def __init__(
        self, stored: KeyStore, *, seconds: float, clock: Callable[[], float], max_keys: int = MAX_CACHED_KEYS
    ) -> None:
        """Found keys are kept for `seconds`; `clock` is monotonic, in seconds."""
        self._stored = stored
        self._seconds = seconds
        self._clock = clock
        self._found = _Lru(max_keys)
        self._unknown = _Lru(max_keys)
        self._reads: dict[str, _Reading] = {}

    async def get_by_key(self, key: str) -> VirtualKey | None:
        """Look up a whole key; what is not of the form of a stored key is not looked up at all."""
        if STORED_KEY.fullmatch(key) is None:
            return None
        key_sha256 = hash_secret(key)
        return await self._looked_up(key_sha256, lambda: self._read_hash(key_sha256))

    async def get_by_id(self, key_id: str) -> VirtualKey | None:
        """Look up the key of a record, by the record's id."""
        if RECORD_ID.fullmatch(key_id) is None:
            return None
        return await self._looked_up(key_id, lambda: self._read_id(key_id))

    def forget(self, record_id: str) -> None:
        """Forget a record, because this very process has changed it: under every secret that led to it.

        What is being read now may be what was there before, so it is not kept.
        """
        self._found.drop(lambda key: key.id == record_id)
        self._reads.clear()

    async def _looked_up(self, name: str, read: Callable[[], Awaitable[VirtualKey | None]]) -> VirtualKey | None:
        now = self._clock()
        kept = self._found.get(name, now) or self._unknown.get(name, now)
        if kept is not None:
            return kept.key
        reading = self._reads.get(name)
        if reading is None or reading.began_at + self._seconds <= now:
            reading = _Reading(now)
            self._reads[name] = reading
            reading.task = asyncio.ensure_future(self._read(name, reading, read))
            reading.task.add_done_callback(_seen)
        # A caller that leaves must not end the read for the others.
        return await asyncio.shield(reading.task)

    async def _read(
        self, name: str, reading: _Reading, read: Callable[[], Awaitable[VirtualKey | None]]
    ) -> VirtualKey | None:
        try:
            key = await read()
        except StoreUnavailable:
            raise KeyStoreUnavailable from None
        finally:
            is_wanted = self._reads.get(name) is reading
            if is_wanted:
                del self._reads[name]
        if is_wanted:
            self._keep(name, key, reading.began_at)
        return key

    def _keep(self, name: str, key: VirtualKey | None, began_at: float) -> None:
        if key is None:
            self._unknown.put(name, _Kept(None, began_at + min(self._seconds, UNKNOWN_SECONDS)))
        else:
            self._found.put(name, _Kept(key, began_at + self._seconds))

    async def _read_hash(self, key_sha256: str) -> VirtualKey | None:
        record = await self._stored.get_by_hash(key_sha256)
        return None if record is None else record.key(key_sha256)

    async def _read_id(self, key_id: str) -> VirtualKey | None:
        record = await self._stored.get(key_id)
        return None if record is None else record.key()


class _Lru:
    """What was kept, up to a number; what has not been asked for the longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def get(self, name: str, now: float) -> _Kept | None:
        kept = self._kept.get(name)
        if kept is None:
            return None
        if kept.ends_at <= now:
            del self._kept[name]
            return None
        self._kept.move_to_end(name)
        return kept

    def put(self, name: str, kept: _Kept) -> None:
        self._kept[name] = kept
        self._kept.move_to_end(name)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, unwanted: Callable[[VirtualKey], bool]) -> None:
        for name in [name for name, kept in self._kept.items() if kept.key is not None and unwanted(kept.key)]:
            del self._kept[name]


def _seen(reading: asyncio.Task[VirtualKey | None]) -> None:
    """Take note of how a read ended, also where all who waited for it have gone."""
    if not reading.cancelled():
        reading.exception()
