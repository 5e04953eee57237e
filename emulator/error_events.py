"""The events by which a stream reports an error, in each shape that Azure was seen to send.

Facts: answers quoted in public issue reports, November 2026. An error is either `{"type": "error", "message", "code"}`,
or it stands inside `error`; it comes with the line `event: error` or without one; and it may be the first event.
"""

from typing import Any

import orjson

from emulator.errors import IMAGE_USER_ERROR

_FAILED = "An error occurred."
_RATE_LIMIT = "Rate limit reached for images."
_BLOCKED = "Your request was rejected by the safety system."

ERRORS: dict[str, dict[str, Any]] = {
    "user-error": {
        "type": IMAGE_USER_ERROR,
        "code": "invalid_value",
        "param": "background",
        "message": "Transparent background is not supported for this model.",
    },
    "rate-limit": {"type": "tokens", "code": "rate_limit_exceeded", "param": None, "message": _RATE_LIMIT},
    "rate-limit-12s": {
        "type": "tokens",
        "code": "rate_limit_exceeded",
        "param": None,
        "message": f"{_RATE_LIMIT} Please try again in 12s.",
    },
    "blocked": {"type": IMAGE_USER_ERROR, "code": "moderation_blocked", "param": None, "message": _BLOCKED},
    "responsible-ai": {
        "type": None,
        "code": "ResponsibleAIPolicyViolation",
        "param": "prompt",
        "message": _BLOCKED,
        "content_filter_results": {"violence": {"filtered": True, "severity": "medium"}},
    },
    "server-error": {"type": "server_error", "code": "server_error", "param": None, "message": _FAILED},
}
"""What the event says, by a name for it: the object inside `error`."""

NOT_JSON = b"event: image_generation.completed\ndata: {<not JSON>\n\n"
"""An event whose data is not JSON."""


def error_event(name: str, *, event_line: bool = True) -> bytes:
    """Make an event that has the error inside `error`."""
    return _event({"type": "error", "error": ERRORS[name]}, event_line=event_line)


def flat_error_event(name: str) -> bytes:
    """Make an event that has the error's message and code beside its type."""
    error = ERRORS[name]
    return _event({"type": "error", "message": error["message"], "code": error["code"]}, event_line=True)


def bare_error_event(name: str) -> bytes:
    """Make an event that has nothing but the error, and no `event:` line."""
    error = ERRORS[name]
    bare = {key: error[key] for key in ("message", "type", "code")}
    return _event({"error": bare}, event_line=False)


def _event(data: dict[str, Any], *, event_line: bool) -> bytes:
    return (b"event: error\n" if event_line else b"") + b"data: %s\n\n" % orjson.dumps(data)
