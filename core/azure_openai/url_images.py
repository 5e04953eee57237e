"""Fetching the pictures that upstream gave as URLs, for callers who asked for base64.

DALL·E is asked for base64 itself; this is for models that only ever answer `url`. The URL comes from the operator's
own resource, is followed nowhere else, and no credentials go with it.
"""

from __future__ import annotations

import binascii
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from core.domain.image_json import ImageJson, parse_image_json
from core.domain.loopback import is_address, is_loopback
from core.domain.outcome import Success
from core.http import iterate_body, new_request, open_response

MAX_BYTES: Final = 64 << 20
"""The largest picture that is fetched, in bytes."""


async def with_base64(picture: Success, transport: httpx2.AsyncBaseTransport, *, loopback: bool) -> Success:
    """Give each item its `b64_json` in the place of its `url`.

    A picture that cannot be fetched keeps its `url`: it has been paid for and is not thrown away. `loopback` allows
    plain http to this machine, where the resource itself is an emulator on it.
    """
    items: list[dict[str, Any]] = []
    literals = dict(picture.answer.literals)
    for item in picture.answer.value["data"]:
        text = None
        if not item.get("b64_json") and _may_fetch(str(item.get("url")), loopback=loopback):
            text = await _fetch(str(item["url"]), transport)
        if text is None:
            items.append(item)
            continue
        others = {name: value for name, value in item.items() if name != "url"}
        items.append({**others, "b64_json": parse_image_json([memoryview(text)], literals)})
    answer = ImageJson({**picture.answer.value, "data": items}, literals)
    return Success(answer=answer, status=picture.status, relayed=picture.relayed)


def _may_fetch(url: str, *, loopback: bool) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if is_loopback(host):
        return loopback and parts.username is None
    return parts.scheme == "https" and parts.username is None and "." in host and not is_address(host)


async def _fetch(url: str, transport: httpx2.AsyncBaseTransport) -> bytearray | None:
    """Fetch a picture as base64 text, encoded piece by piece so that it is in memory once."""
    text = bytearray()
    rest = b""
    try:
        request = new_request("GET", url, {"accept": "image/*"})
        async with open_response(transport, request) as response, aclosing(iterate_body(response)) as pieces:
            if response.status_code != 200:
                return None
            async for piece in pieces:
                rest += piece
                whole = len(rest) - len(rest) % 3
                text += binascii.b2a_base64(rest[:whole], newline=False)
                rest = rest[whole:]
                if len(text) > MAX_BYTES * 4 // 3:
                    return None
    except (httpx2.RequestError, httpx2.InvalidURL):
        return None
    text += binascii.b2a_base64(rest, newline=False)
    return text or None
