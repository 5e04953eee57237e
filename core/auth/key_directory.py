"""All keys: those of the setting `GATEWAY_VIRTUAL_KEYS` first, then the stored ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from core.auth.key_record import RECORD_ID
from core.auth.virtual_keys import KeyStoreUnavailable
from core.domain.errors import Misconfigured
from core.domain.settings_error import SettingsError
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    from core.auth.key_cache import KeyCache
    from core.auth.key_store import KeyStore
    from core.auth.virtual_keys import ConfiguredKeys, VirtualKey

SETTING: Final = "GATEWAY_VIRTUAL_KEYS"

_log = logging.getLogger(__name__)


class KeyDirectory:
    """The keys of the setting and the stored ones, as one.

    An id must name one key: limits are counted and calls are recorded under it. The gateway makes the ids of stored
    keys, so only an id of the setting that has their form can clash with one. For such ids, which are rare, the store
    is asked before the first call is answered.
    """

    def __init__(self, setting: ConfiguredKeys, stored: KeyStore, cached: KeyCache) -> None:
        self._setting = setting
        self._stored = stored
        self._cached = cached
        self._unchecked = [key.id for key in setting if RECORD_ID.fullmatch(key.id)]
        self._clash: SettingsError | None = None

    async def get_by_key(self, key: str) -> VirtualKey | None:
        """Look up the record of a whole key."""
        return await self._setting.get_by_key(key) or await self._cached.get_by_key(key)

    async def get_by_id(self, key_id: str) -> VirtualKey | None:
        """Look up a record by its id."""
        return self._setting.get(key_id) or await self._cached.get_by_id(key_id)

    async def check(self) -> None:
        """Raise Misconfigured if an id names two keys, KeyStoreUnavailable if that cannot be found out now."""
        try:
            clash = await self.find_clash()
        except StoreUnavailable:
            raise KeyStoreUnavailable from None
        if clash is not None:
            raise Misconfigured

    async def find_clash(self) -> SettingsError | None:
        """Find an id that names two keys; it is logged once. Raises StoreUnavailable."""
        while self._unchecked and self._clash is None:
            key_id = self._unchecked[-1]
            is_stored = await self._stored.get(key_id) is not None
            if is_stored and self._clash is None:
                self._clash = SettingsError(
                    SETTING,
                    f"has the id {key_id}, which a stored key has too",
                    "give the key of the setting another id, or delete the stored one while that id is not set",
                )
                _log.critical("The gateway is misconfigured. %s", self._clash)
            elif not is_stored and key_id in self._unchecked:
                self._unchecked.remove(key_id)
        return self._clash
