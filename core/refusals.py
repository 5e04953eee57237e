"""What is answered without a gateway: an unknown path, a wrong method, wrong settings; and the id of any answer."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from core.domain.errors import BodyTooLarge, BodyTooSlow, GatewayError, MethodNotAllowed, Misconfigured, NotFound
from core.domain.request import MAX_BODY_BYTES
from core.domain.response import json_response
from core.errors_http import error_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.domain.response import HttpResponse

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


def request_id(headers: Sequence[tuple[str, str]]) -> str:
    """The caller's `x-request-id`, if it is 1 to 128 printable characters without spaces; else a new one."""
    given = next((value for name, value in headers if name == "x-request-id"), "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def refusal(error: GatewayError, headers: Sequence[tuple[str, str]]) -> HttpResponse:
    """Answer a call that no gateway needs to be built for: an unknown path, a wrong method, wrong settings."""
    event_id = request_id(headers)
    value = error_body(error, event_id=event_id, model_requested=None, stream=False)
    once = {} if error.retry_safe else {"x-should-retry": "false"}
    return json_response(error.status, value, {**error.headers, **once, "x-request-id": event_id})


def unknown_path(headers: Sequence[tuple[str, str]]) -> HttpResponse:
    """404 for every path that is not the gateway's."""
    return refusal(NotFound("There is nothing at this path"), headers)


def wrong_method(method: str, allowed: str, headers: Sequence[tuple[str, str]]) -> HttpResponse:
    """405 for the right path with the wrong method."""
    return refusal(MethodNotAllowed(method, allowed), headers)


def misconfigured(headers: Sequence[tuple[str, str]]) -> HttpResponse:
    """503 while the settings are wrong."""
    return refusal(Misconfigured(), headers)


def too_large() -> BodyTooLarge:
    """What stands in the place of a body beyond the limit."""
    return BodyTooLarge(f"The request body must be at most {MAX_BODY_BYTES:,} bytes")


def too_slow() -> BodyTooSlow:
    """What stands in the place of a body that does not come."""
    return BodyTooSlow("The request body did not arrive in time")
