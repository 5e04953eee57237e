"""What goes back to the caller, for whatever carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import orjson
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from core.domain.image_json import Buffer

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"


@runtime_checkable
class Stream(Protocol):
    """Pieces to come. Whoever takes it closes it, read or not."""

    def __aiter__(self) -> AsyncIterator[Buffer]:
        """Read it."""
        ...

    async def aclose(self) -> None:
        """Free all that stands behind it."""
        ...


class HttpResponse(Struct, frozen=True, kw_only=True):
    """A status, headers (names in lower case), and a body: pieces that are there, or pieces to come."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: tuple[Buffer, ...] | Stream = ()

    @property
    def whole(self) -> tuple[Buffer, ...]:
        """The body of an answer that is there whole."""
        if isinstance(self.body, tuple):
            return self.body
        raise TypeError("this body is yet to come")

    def with_headers(self, headers: Mapping[str, str]) -> HttpResponse:
        """Return the same with more headers."""
        return HttpResponse(status=self.status, headers={**self.headers, **headers}, body=self.body)


def json_response(status: int, value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Answer with a small JSON object."""
    return HttpResponse(status=status, headers={**(headers or {}), "content-type": JSON}, body=(orjson.dumps(value),))
