"""The keys as an operator handles them: those of the setting can be read, the stored ones also changed."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from core.admin.parsing import make_cursor, read_cursor
from core.admin.views import KeyPage, KeyView, NewSecret, etag_of, view_of, view_of_setting
from core.auth.key_directory import SETTING
from core.auth.key_record import RECORD_ID
from core.domain.errors import Conflict, EtagMismatch, NotFound
from core.domain.json_input import shown
from core.ledger.last_used import last_used
from core.storage.tables import Changed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Sequence

    from core.auth.key_cache import KeyCache
    from core.auth.key_record import IssuedKey, KeyRecord, KeyTerms
    from core.auth.key_store import KeyStore
    from core.auth.virtual_keys import ConfiguredKeys, VirtualKey
    from core.domain.limits import Limits
    from core.storage.tables import Table

MAX_RACES: Final = 5
"""How often a change with `If-Match: *` is tried again if the key was changed meanwhile."""
ANYTHING: Final = "*"

_READS_AT_ONCE: Final = 16
_SETTING_POSITION: Final = re.compile(r"#([0-9]{1,9})")
"""In a cursor: the place of a key within the setting. Else it is the id of a stored one."""
_MAX_POSITION_LENGTH: Final = 40
"""Longer than any id, and short enough for the key of a row in whatever characters."""

_T = TypeVar("_T")
_U = TypeVar("_U")


class Condition(Struct, frozen=True):
    """The condition of a change: the key has one of these ETags, or any."""

    etags: frozenset[str] | None
    """None: no condition was given."""

    @property
    def is_any(self) -> bool:
        """Whether every state of the key will do."""
        return self.etags is None or ANYTHING in self.etags

    def check(self, record: KeyRecord) -> None:
        """Raise EtagMismatch if the key was changed since it was read."""
        if not self.is_any and etag_of(record) not in (self.etags or ()):
            raise EtagMismatch


class Keys:
    """Every method raises NotFound (404), Conflict (409), EtagMismatch (412), and the store's StoreUnavailable."""

    def __init__(
        self,
        setting: ConfiguredKeys,
        stored: KeyStore,
        cached: KeyCache,
        counters: Table,
        now: Callable[[], dt.datetime],
    ) -> None:
        """`cached` is what this process authenticates with: what is changed here is dropped there at once.

        `counters` is the table in which it is noted when keys were used; `now` is the wall clock, in UTC.
        """
        self._setting = setting
        self._stored = stored
        self._cached = cached
        self._counters = counters
        self._now = now

    async def page(self, *, cursor: str | None, limit: int) -> KeyPage:
        """List keys: those of the setting, then the stored ones by age. Raises InvalidRequest for what is no cursor."""
        begin, first_id = _position(cursor)
        of_setting = [] if first_id else list(self._setting)[begin:]
        if len(of_setting) > limit:
            views = await _each(of_setting[:limit], self._view_of_setting)
            return KeyPage(virtual_keys=views, next_cursor=make_cursor(f"#{begin + limit}"))
        views = await _each(of_setting, self._view_of_setting)
        # One more than is shown, so that a page which the setting has filled also knows whether there is another.
        page = await self._stored.page(first_id=first_id, limit=limit - len(of_setting) + 1)
        records = page.records[: limit - len(of_setting)]
        views += await _each(records, self._view_of_stored)
        following = page.records[len(records)].id if len(page.records) > len(records) else page.next_id
        return KeyPage(virtual_keys=views, next_cursor=None if following is None else make_cursor(following))

    async def get(self, key_id: str) -> KeyView:
        """Show one key."""
        key = self._setting.get(key_id)
        if key is not None:
            return await self._view_of_setting(key)
        return await self._view_of_stored(await self._record(key_id))

    async def limits(self, key_id: str) -> Limits:
        """Read a key's limits from the store."""
        key = self._setting.get(key_id)
        return (await self._record(key_id)).terms.limits if key is None else key.limits

    async def create(self, terms: KeyTerms) -> NewSecret:
        """Make a key."""
        return self._with_secret(await self._stored.create(terms), None)

    async def change(self, key_id: str, condition: Condition, changed: Callable[[KeyTerms], KeyTerms]) -> KeyView:
        """Change what an operator decides about a key."""
        used_at = await last_used(self._counters, key_id)
        record = await self._changed(
            key_id, condition, lambda record: self._stored.change(record, changed(record.terms))
        )
        return self._view(record, used_at)

    async def rotate(self, key_id: str, condition: Condition, grace: dt.timedelta) -> NewSecret:
        """Give a key a new secret."""
        used_at = await last_used(self._counters, key_id)
        issued = await self._changed(key_id, condition, lambda record: self._stored.rotate(record, grace))
        return self._with_secret(issued, used_at)

    async def delete(self, key_id: str, condition: Condition) -> None:
        """Delete a key."""
        await self._changed(key_id, condition, self._stored.delete)

    async def _changed(self, key_id: str, condition: Condition, change: Callable[[KeyRecord], Awaitable[_T]]) -> _T:
        """Make a change. All that is shown of the key is read before: what has been made must be answered."""
        for _ in range(MAX_RACES):
            record = await self._record(key_id)
            condition.check(record)
            try:
                return await change(record)
            except Changed:
                if not condition.is_any:
                    break
            finally:
                self._cached.forget(key_id)
        raise EtagMismatch

    async def _record(self, key_id: str) -> KeyRecord:
        if self._setting.get(key_id) is not None:
            raise Conflict(
                f"This key is one of {SETTING} and can only be read here; change it there, or make a stored key"
                " in its place",
                code="read_only_key",
            )
        record = await self._stored.get(key_id) if RECORD_ID.fullmatch(key_id) else None
        if record is None:
            raise _not_found(key_id)
        return record

    def _view(self, record: KeyRecord, used_at: dt.datetime | None) -> KeyView:
        return view_of(record, now=self._now(), last_used_at=used_at)

    def _with_secret(self, issued: IssuedKey, used_at: dt.datetime | None) -> NewSecret:
        return NewSecret(virtual_key=self._view(issued.record, used_at), key=issued.key.reveal())

    async def _view_of_stored(self, record: KeyRecord) -> KeyView:
        return self._view(record, await last_used(self._counters, record.id))

    async def _view_of_setting(self, key: VirtualKey) -> KeyView:
        return view_of_setting(key, last_used_at=await last_used(self._counters, key.id))


async def _each(items: Sequence[_T], view: Callable[[_T], Awaitable[_U]]) -> list[_U]:
    """View each, some at a time."""
    views: list[_U] = []
    for begin in range(0, len(items), _READS_AT_ONCE):
        views += await asyncio.gather(*map(view, items[begin : begin + _READS_AT_ONCE]))
    return views


def _not_found(key_id: str) -> NotFound:
    return NotFound(f"There is no key with the id {shown(key_id)}", code="key_not_found", param="id")


def _position(cursor: str | None) -> tuple[int, str]:
    """Where a page begins: at which key of the setting, or at which stored one."""
    position = "#0" if cursor is None else read_cursor(cursor)
    found = _SETTING_POSITION.fullmatch(position)
    return (0, position[:_MAX_POSITION_LENGTH]) if found is None else (int(found[1]), "")
