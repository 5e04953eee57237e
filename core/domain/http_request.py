"""What came in over HTTP, before anything about it is believed, for whatever carried it."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import force_setattr

from core.domain.errors import BodyTooLarge, BodyTooSlow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BODY_BYTES: Final = 1 << 20
"""The largest request body that is read, in bytes."""

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
        """The body. Raises BodyTooLarge (413) or BodyTooSlow (408)."""
        if isinstance(self.body, bytes):
            return self.body
        raise self.body


def body_too_large() -> BodyTooLarge:
    """What stands in the place of a body beyond the limit."""
    return BodyTooLarge(f"The request body must be at most {MAX_BODY_BYTES:,} bytes")
