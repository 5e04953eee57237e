"""The paths of the admin API."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

KEYS: Final = "/api/governance/virtual-keys"
USAGE: Final = "/api/governance/usage"


def key_path(key_id: str, *more: str) -> str:
    """The path of one key, or of something of it."""
    return "/".join((KEYS, quote(key_id, safe=""), *more))
