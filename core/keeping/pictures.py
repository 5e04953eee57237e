"""Pictures under a link: what a model gave as base64 is stored as bytes, and the answer carries a URL.

A picture that cannot be stored is not lost: its item keeps the base64.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.contract.document import Document
from core.keeping.base64_text import NotBase64, decoded
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from core.contract.document import Buffer
    from core.storage.blobs import Container, Content

CONTAINER: Final = "gateway-images"

_KINDS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (b"RIFF", "image/webp", "webp"),
)
"""How a picture begins, its media type, and the ending of its name."""
_UNKNOWN: Final = ("application/octet-stream", "bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """An answer whose pictures have been stored."""

    answer: Document
    failed: bool
    """Whether at least one item has kept its base64."""


class Pictures:
    """Stores pictures and gives links to them."""

    def __init__(self, container: Container, *, lifetime: dt.timedelta, now: Callable[[], dt.datetime]) -> None:
        """`lifetime` is how long a link works; `now` is the wall clock, in UTC."""
        self._container = container
        self._lifetime = lifetime
        self._now = now

    async def host(self, answer: Document, *, base_url: str, seconds: float) -> Hosted:
        """Store each picture of an images answer, side by side, within so many seconds.

        `base_url` is the gateway's own, without a slash at its end: where the store has no address for callers, the
        gateway serves its pictures itself.
        """
        items = answer.value["data"]
        hosted = await asyncio.gather(*(self._item(item, answer, f"{base_url}/images", seconds) for item in items))
        literals = dict(answer.literals)
        for before, after in zip(items, hosted, strict=True):
            if "b64_json" in before and "b64_json" not in after:
                literals.pop(before["b64_json"], None)  # megabytes that are not sent
        return Hosted(
            answer=Document({**answer.value, "data": hosted}, literals),
            failed=any("b64_json" in item and "url" not in item for item in hosted),
        )

    async def open(self, name: str) -> Content | None:
        """Begin to read a stored picture. Raises StoreUnavailable."""
        return await self._container.get(name)

    async def _item(self, item: dict[str, Any], answer: Document, own_url: str, seconds: float) -> dict[str, Any]:
        text = item.get("b64_json")
        if not isinstance(text, str) or not text or item.get("url"):
            return item
        try:
            async with asyncio.timeout(seconds):
                url = await self._store(answer.literals.get(text, [text.encode()]), own_url)
        except (StoreUnavailable, NotBase64, TimeoutError):
            return item
        return {**{name: value for name, value in item.items() if name != "b64_json"}, "url": url}

    async def _store(self, text: Sequence[Buffer], own_url: str) -> str:
        content = decoded(text)
        first = next(content)
        media_type, ending = _kind_of(first)
        name = f"{secrets.token_urlsafe(32)}.{ending}"
        expires_at = self._now() + self._lifetime
        await self._container.put(
            name, itertools.chain((first,), content), content_type=media_type, expires_at=expires_at
        )
        return await self._container.link(name, expires_at=expires_at) or f"{own_url}/{name}"


def _kind_of(first: bytes) -> tuple[str, str]:
    return next(((media_type, ending) for start, media_type, ending in _KINDS if first.startswith(start)), _UNKNOWN)
