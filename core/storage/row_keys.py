"""The tables, partitions and keys of the ledger's rows (docs/prices-and-ledger.md has the arithmetic).

    GatewayLedger    {party}~2026-10    c~{milliseconds}~{random}              one call
    GatewayLedger    {party}~2026-10    s~2026-10-05~{deployment}~{random}     totals of that day, by one process
    GatewayCounters  callers~2026-10    {party}                                who has called in that month
    GatewayCounters  {key id}           used                                   when a key was last used

A party is who is billed. Its month is one partition, so a month of one key is one range of keys, and a report reads one
page for it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.storage.tables import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

LEDGER: Final = "GatewayLedger"
COUNTERS: Final = "GatewayCounters"

MAX_NAME_LENGTH: Final = 384
"""A virtual key's id of 128 characters always fits; Azure lets a key have 512 (Table service data model)."""
_SHOWN_OF_A_LONG_NAME: Final = 256
_ADMIN: Final = "admin~"
_CALL: Final = re.compile(r"c~[0-9]{13}(~[0-9a-f]{16}!?)?")
"""With an `!`: what follows that call. It sorts before every other character."""
_AFTER_EVERY_DEPLOYMENT: Final = "~~"


class BilledParty(Struct, frozen=True, kw_only=True):
    """Who is billed for a call: a virtual key, or an admin, who may have the same id as some key."""

    id: str
    is_admin: bool = False

    @property
    def name(self) -> str:
        """As part of a partition."""
        return (_ADMIN if self.is_admin else "") + key_part(self.id)


def key_part(text: str) -> str:
    """Any text as part of a key: readable, and never too long. A JWT's `sub` may have thousands of characters."""
    name = safe(clean(text, MAX_NAME_LENGTH))
    if len(text) <= MAX_NAME_LENGTH and len(name) <= MAX_NAME_LENGTH:
        return name
    return f"{name[:_SHOWN_OF_A_LONG_NAME]}|{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"


def clean(text: str, max_length: int = 1_024) -> str:
    """Text that a row can hold: lone surrogates become `?`, and what is too long is cut."""
    return text[:max_length].encode(errors="replace").decode()


def month_of(day: dt.date) -> str:
    """The month of a day, `2026-10`."""
    return day.isoformat()[: len("2026-10")]


def months(first: dt.date, last: dt.date) -> Iterator[str]:
    """All months from that of one day to that of another."""
    month = first.replace(day=1)
    while month <= last:
        yield month_of(month)
        month = (month + dt.timedelta(days=31)).replace(day=1)


def partition_of(party: str, month: str) -> str:
    """Where the calls of one billed party and month are."""
    return f"{party}~{month}"


def callers_partition(month: str) -> str:
    """The partition that lists who has called in a month."""
    return f"callers~{month}"


def call_key(at: dt.datetime) -> str:
    """A new key for a call, in the order of their times."""
    return f"{_first_of(at)}~{secrets.token_hex(8)}"


def is_call_key(text: str) -> bool:
    """Whether a text is where a page of calls may begin."""
    return _CALL.fullmatch(text) is not None


def call_range(first: dt.date, last: dt.date) -> tuple[str, str]:
    """From which key on, and before which, the calls of these days are."""
    return _first_of(_midnight(first)), _first_of(_midnight(last) + dt.timedelta(days=1))


def rollup_key(day: dt.date, deployment: str) -> str:
    """A new key for one process's totals of a day's calls on one deployment."""
    return f"s~{day.isoformat()}~{key_part(deployment)}~{secrets.token_hex(6)}"


def rollup_range(first: dt.date, last: dt.date) -> tuple[str, str]:
    """From which key on, and before which, the totals of these days are."""
    return f"s~{first.isoformat()}", f"s~{last.isoformat()}{_AFTER_EVERY_DEPLOYMENT}"


def _first_of(at: dt.datetime) -> str:
    return f"c~{round(at.timestamp() * 1000):013d}"


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
