"""Pictures under a link: what a model gave as base64 is stored as bytes, and the answer carries a URL.

A picture that cannot be stored is not lost: its item keeps the base64.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.domain.image_json import ImageJson
from core.domain.loopback import is_loopback
from core.images.base64_stream import NotBase64, decoded
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from core.domain.image_json import Buffer
    from core.storage.blobs import Container, Content

CONTAINER: Final = "gateway-images"
MIN_SECONDS: Final = 5.0
"""How long storing may take, however late the picture came: it has been paid for."""
NAME: Final = re.compile(r"[A-Za-z0-9_-]{43}\.(png|jpg|webp|bin)")
"""The name of a stored picture; to be used with `fullmatch`."""

_KINDS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (b"RIFF", "image/webp", "webp"),
)
"""How a picture begins, its media type, and the ending of its name."""
_LOCAL: Final = re.compile(r"[A-Za-z0-9.\[\]:-]{1,64}")
_PORT: Final = re.compile(r":[0-9]{1,5}\Z")
_UNKNOWN: Final = ("application/octet-stream", "bin")


class HostedResponse(Struct, frozen=True, kw_only=True):
    """An answer whose pictures have been stored."""

    answer: ImageJson
    failed: bool
    """Whether at least one item has kept its base64."""


class CallHosting(Struct, frozen=True, kw_only=True):
    """Stores the pictures of one call."""

    pictures: ImageHosting
    base_url: str
    seconds_left: Callable[[], float]
    """Of the call's time."""
    folder: str = ""

    async def host(self, answer: ImageJson) -> HostedResponse:
        """Store the pictures of an images answer."""
        seconds = max(MIN_SECONDS, self.seconds_left())
        return await self.pictures.host(answer, base_url=self.base_url, seconds=seconds, folder=self.folder)


class ImageHosting:
    """Stores pictures and gives links to them."""

    def __init__(
        self,
        container: Container,
        *,
        lifetime: dt.timedelta,
        now: Callable[[], dt.datetime],
        own_address: bool = True,
        public_url: str | None = None,
    ) -> None:
        """`lifetime` is how long a link works; `now` is the wall clock, in UTC.

        `own_address`: callers reach the store itself. Where they do not, the gateway serves its pictures at
        `public_url`.
        """
        self.own_address = own_address
        self._public_url = public_url
        self._container = container
        self._lifetime = lifetime
        self._now = now

    async def host(self, answer: ImageJson, *, base_url: str, seconds: float, folder: str = "") -> HostedResponse:
        """Store each picture of an images answer, side by side, within so many seconds, their names in a `folder`.

        `base_url` is the gateway's own, without a slash at its end, for a store that has no address for callers.
        """
        items = answer.value["data"]
        hosted = await asyncio.gather(
            *(self._item(item, answer, f"{base_url}/images", seconds, folder) for item in items)
        )
        literals = dict(answer.literals)
        for before, after in zip(items, hosted, strict=True):
            if "b64_json" in before and "b64_json" not in after:
                literals.pop(before["b64_json"], None)  # megabytes that are not sent
        return HostedResponse(
            answer=ImageJson({**answer.value, "data": hosted}, literals),
            failed=any("b64_json" in item and "url" not in item for item in hosted),
        )

    def base_url(self, host: str | None) -> str | None:
        """Where links of the gateway's own begin; None: nobody knows its address.

        `host` is what the caller says, which counts on this machine only: anybody can say anything.
        """
        if self.own_address:
            return ""
        if self._public_url is not None:
            return self._public_url
        return f"http://{host}" if host and _LOCAL.fullmatch(host) and is_loopback(_name_in(host)) else None

    async def open(self, name: str) -> Content | None:
        """Begin to read a stored picture. Raises StoreUnavailable."""
        return await self._container.get(name)

    async def _item(
        self, item: dict[str, Any], answer: ImageJson, own_url: str, seconds: float, folder: str
    ) -> dict[str, Any]:
        text = item.get("b64_json")
        if not isinstance(text, str) or not text or item.get("url"):
            return item
        try:
            async with asyncio.timeout(seconds):
                url = await self._store(answer.literals.get(text, [text.encode()]), own_url, folder)
        except (StoreUnavailable, NotBase64, TimeoutError):
            return item
        return {**{name: value for name, value in item.items() if name != "b64_json"}, "url": url}

    async def _store(self, text: Sequence[Buffer], own_url: str, folder: str) -> str:
        content = decoded(text)
        first = next(content)
        media_type, ending = _kind_of(first)
        name = f"{folder}{secrets.token_urlsafe(32)}.{ending}"
        expires_at = self._now() + self._lifetime
        await self._container.put(
            name, itertools.chain((first,), content), content_type=media_type, expires_at=expires_at
        )
        return await self._container.link(name, expires_at=expires_at) or f"{own_url}/{name}"


def _kind_of(first: bytes) -> tuple[str, str]:
    return next(((media_type, ending) for start, media_type, ending in _KINDS if first.startswith(start)), _UNKNOWN)


def _name_in(host: str) -> str:
    """The name in a Host header, without the port (RFC 9110 §7.2)."""
    return (host.rpartition(":")[0] if _PORT.search(host) else host).strip("[]")
