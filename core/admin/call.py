"""A call of the admin API as it came in, and the answers to it, for whatever carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.domain.response import JSON, HttpResponse, json_response
from core.errors_http import error_body
from core.refusals import request_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from core.domain.errors import BodyTooLarge, BodyTooSlow, GatewayError

REQUEST_TYPE: Final = "governance"
"""What the error body calls every call of the admin API."""


class AdminCall(Struct, frozen=True, kw_only=True):
    """A call as it came in, before anything about it is believed."""

    route: str
    """Which of the routes it came by (see `administration.ROUTES`)."""
    method: str
    headers: Sequence[tuple[str, str]]
    """In their order, names in lower case."""
    query: Sequence[tuple[str, str]] = ()
    body: bytes | BodyTooLarge | BodyTooSlow = b""
    """The body, or why it was not read to its end."""
    key_id: str = ""
    """The key named in the path, decoded but for slashes."""

    @property
    def id(self) -> str:
        """The key named in the path. A slash in it stays encoded on its way through the host."""
        return self.key_id.replace("%2F", "/").replace("%2f", "/")

    @property
    def content(self) -> bytes:
        """The body. Raises BodyTooLarge (413) or BodyTooSlow (408)."""
        if not isinstance(self.body, bytes):
            raise self.body
        return self.body


def answer(status: int, view: BaseModel, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Answer with a view, as JSON: all that was put into it, `null` included."""
    text = view.model_dump_json(by_alias=True, exclude_unset=True)
    return HttpResponse(status=status, headers={**(headers or {}), "content-type": JSON}, body=(text.encode(),))


def refused(error: GatewayError, event_id: str) -> HttpResponse:
    """Answer with an error, in the one shape."""
    headers = dict(error.headers)
    if not error.retry_safe:
        headers["x-should-retry"] = "false"
    body = error_body(error, event_id=event_id, model_requested=None, stream=False, request_type=REQUEST_TYPE)
    return json_response(error.status, body, headers)


def refusal(error: GatewayError, headers: Sequence[tuple[str, str]]) -> HttpResponse:
    """Answer a call for which there is no administration to ask."""
    event_id = request_id(headers)
    return refused(error, event_id).with_headers({"x-request-id": event_id})
