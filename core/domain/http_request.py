"""What came in over HTTP, before anything about it is believed, for whatever carried it."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import force_setattr

from core.domain.errors import BodyTooLarge, BodyTooSlow, InvalidRequest, UnsupportedEncoding
from core.domain.json_input import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BODY_BYTES: Final = 1 << 20
"""The largest request body that is read, in bytes."""

_GZIP_OR_ZLIB: Final = 47
_BARE_DEFLATE: Final = -15
"""As zlib names them (zlib manual, inflateInit2). Some clients send bare data as `deflate` (RFC 9110 §8.4.1.2)."""
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


class HttpRequest(Struct, frozen=True, kw_only=True):
    """One request. Its `event_id` is the caller's `x-request-id` if that can be used, else a new one."""

    method: str = "GET"
    path: str = "/"
    """As it was sent, percent-encoded, without the query."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the route's template names in the path, decoded."""
    headers: Sequence[tuple[str, str]] = ()
    """In their order, names in lower case."""
    query: Sequence[tuple[str, str]] = ()
    body: bytes | BodyTooLarge | BodyTooSlow = b""
    """The body, or why it was not read to its end."""
    arrived_at: float | None = None
    """When its head was there, by the gateway's monotonic clock in seconds; None: now."""
    event_id: str = ""

    def __post_init__(self) -> None:
        """Take the caller's id, if it is 1 to 128 printable characters without spaces; else make one."""
        if not self.event_id:
            given = self.header("x-request-id") or ""
            force_setattr(self, "event_id", given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16))

    def header(self, name: str) -> str | None:
        """The first header of this name, given in lower case."""
        return next((value for each, value in self.headers if each == name), None)

    @property
    def content(self) -> bytes:
        """The body, decompressed where it is compressed, at most `MAX_BODY_BYTES`.

        Raises BodyTooSlow (408), BodyTooLarge (413), UnsupportedEncoding (415) or InvalidRequest (400).
        """
        if not isinstance(self.body, bytes):
            raise self.body
        given = ",".join(value for name, value in self.headers if name == "content-encoding")
        encodings = [each for each in given.replace(" ", "").lower().split(",") if each not in {"", "identity"}]
        content = _decompress(self.body, given, encodings) if encodings else self.body
        if len(content) > MAX_BODY_BYTES:
            raise body_too_large()
        return content


def body_too_large() -> BodyTooLarge:
    """What stands in the place of a body beyond the limit."""
    return BodyTooLarge(f"The request body must be at most {MAX_BODY_BYTES:,} bytes")


def _decompress(body: bytes, given: str, encodings: list[str]) -> bytes:
    """Inflate a body, at most one byte further than it may be long."""
    import zlib  # noqa: PLC0415 -- few clients compress

    if len(encodings) > 1 or encodings[0] not in {"gzip", "x-gzip", "deflate"}:
        raise UnsupportedEncoding(shown(given))
    is_bare = encodings[0] == "deflate" and body[:1] != b"\x78"
    inflater = zlib.decompressobj(_BARE_DEFLATE if is_bare else _GZIP_OR_ZLIB)
    try:
        content = inflater.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        content = b""
    if len(content) <= MAX_BODY_BYTES and (not inflater.eof or inflater.unused_data):
        raise InvalidRequest(f"The request body is not valid {encodings[0]}", param="Content-Encoding")
    return content
