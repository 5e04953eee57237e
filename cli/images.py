"""Images of a response: read, fetched from their links, and saved."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2
from pydantic import Field

from cli.client import TIMEOUT_SECONDS, ApiModel
from cli.errors import CommandError, invalid_response
from cli.output import progress
from cli.settings import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

_SIGNATURES: Final = ((b"\xff\xd8\xff", "jpg"), (b"RIFF", "webp"))
"""How the bytes of a format begin; everything else is taken for PNG."""


class Image(ApiModel):
    """One image: a link to it, or its bytes in base64."""

    url: str | None = None
    b64_json: str | None = Field(default=None, repr=False)

    def read(self) -> bytes:
        """Give its bytes. Raises CommandError."""
        if self.url:
            return _fetch(self.url)
        try:
            return base64.b64decode(self.b64_json or "", validate=True)
        except (binascii.Error, ValueError):
            raise invalid_response("an image is not base64") from None


def image_format(content: bytes) -> str:
    """Give the ending for a file's name: `png`, `jpg` or `webp`."""
    return next((name for start, name in _SIGNATURES if content.startswith(start)), "png")


def save(content: bytes, path: Path) -> None:
    """Write a file, and make its folder. Raises CommandError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.", "Give another place to save to.") from None


def _fetch(url: str) -> bytes:
    """Fetch an image without a credential. Errors do not show the link: whoever has it may open it."""
    hint = "Links work for a limited time. Try again, or submit the job again."
    try:
        host = urlsplit(url).hostname or ""
        with (
            progress("Fetching the image"),
            httpx2.Client(timeout=TIMEOUT_SECONDS, trust_env=not is_loopback(host)) as http,
        ):
            response = http.get(url)
    except (httpx2.RequestError, httpx2.InvalidURL, ValueError) as error:
        raise CommandError(f"An image could not be fetched: {type(error).__name__}.", hint) from None
    if not response.is_success:
        raise CommandError(f"An image could not be fetched: its link answered {response.status_code}.", hint)
    return response.content
