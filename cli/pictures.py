"""Saving pictures. A link carries its own permission: it is fetched without a key, and not shown where that fails."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from cli.answers import not_understood
from cli.connection import SECONDS
from cli.failure import Failure
from core.contract.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cli.job import Picture

_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_ENDING: Final = re.compile(r"\.(png|jpg|webp)\Z")
_STARTS: Final = ((b"\xff\xd8\xff", "jpg"), (b"RIFF", "webp"))


def save_pictures(job_id: str, pictures: Sequence[Picture], folder: Path) -> Iterator[Path]:
    """Save pictures into a folder, which is made; give each one's path once it is there. Raises Failure."""
    if not _NAME.fullmatch(job_id):
        raise not_understood("its id is none")
    for number, picture in enumerate(pictures, 1):
        content, ending = _fetched(picture.url) if picture.url else _decoded(picture.b64_json or "")
        path = folder / f"{job_id}-{number}.{ending}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror}.", "Give another --save DIR.") from None
        yield path


def _fetched(url: str) -> tuple[bytes, str]:
    try:
        parts = urlsplit(url)
        with httpx.Client(timeout=SECONDS, trust_env=not is_loopback(parts.hostname or "")) as anybody:
            response = anybody.get(url)
    except (httpx.RequestError, httpx.InvalidURL, ValueError) as error:
        raise Failure(f"A picture could not be fetched: {type(error).__name__}.", _AGAIN) from None
    if not response.is_success:
        raise Failure(f"A picture could not be fetched: its link answered {response.status_code}.", _AGAIN)
    found = _ENDING.search(parts.path)
    return response.content, found[1] if found else _kind(response.content)


def _decoded(text: str) -> tuple[bytes, str]:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise not_understood("a picture is no base64") from None
    return content, _kind(content)


def _kind(content: bytes) -> str:
    return next((ending for start, ending in _STARTS if content.startswith(start)), "png")


_AGAIN: Final = "Links work for a day at most; try again with: python -m cli jobs show ID --save DIR"
