"""Reading what upstream answered into one outcome. Pure functions over a status, headers and bytes.

Refusals are told by `code` and shape, never by words of the message; the one exception is the 403 of a blocked
resource, whose code is that of any network 403 (contract §5).
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from core.domain.image_json import ImageJson, is_too_deep
from core.domain.image_response import completed_to_response, has_picture
from core.domain.outcome import Failure, FailureReason, Success, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EARLY_SECONDS: Final = 10.0
"""A failure within this time of sending came before a model can have drawn."""

_REFUSALS: Final = frozenset({"content_policy_violation", "contentfilter", "content_filter", "moderation_blocked"})
_INNER_REFUSAL: Final = "responsibleaipolicyviolation"
_INNER: Final = ("inner_error", "innererror")
_BLOCKED_WORDS: Final = "temporarily blocked"
_RELAYED: Final = ("apim-request-id", "x-ms-region")
_LONGEST_RELAYED: Final = 256
_PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")

_BY_STATUS: Final[Mapping[int, FailureReason]] = {
    # status: reason, where neither the body nor the time says otherwise (contract §5)
    400: FailureReason.REJECTED,
    401: FailureReason.UNAUTHORIZED,
    403: FailureReason.UNAUTHORIZED,
    404: FailureReason.NOT_FOUND,
    408: FailureReason.THROTTLED,
    413: FailureReason.REJECTED,
    422: FailureReason.REJECTED,
    429: FailureReason.THROTTLED,
}


def read_answer(status: int, headers: Mapping[str, str], answer: ImageJson) -> Success | Failure:
    """Read a 2xx answer that is a JSON object, whatever its content type says."""
    if is_error(answer.value):
        return read_error_event(answer.value, headers)
    data = answer.value.get("data")
    if not isinstance(data, list) or not any(has_picture(item) for item in data):
        return Failure(reason=FailureReason.NO_PICTURE, status=status, relayed=relayed(headers))
    items = [item for item in data if isinstance(item, dict)]
    return Success(
        answer=ImageJson({**answer.value, "data": items}, answer.literals),
        status=status,
        relayed=relayed(headers),
    )


def read_completed(events: Sequence[ImageJson], headers: Mapping[str, str]) -> Success | Failure:
    """Read a stream that has ended, from its `completed` events."""
    if not events:
        return Failure(reason=FailureReason.CUT_SHORT, status=200, relayed=relayed(headers))
    if not any(has_picture(event.value) for event in events):
        return Failure(reason=FailureReason.NO_PICTURE, status=200, relayed=relayed(headers))
    return Success(answer=completed_to_response(events), relayed=relayed(headers))


def read_error_event(value: Mapping[str, Any], headers: Mapping[str, str]) -> Failure:
    """Read an error that came under status 200: the model was reached, so only a refusal is certain."""
    error = error_of(value)
    reason = FailureReason.REFUSED if _is_refusal(error) else FailureReason.STREAM_ERROR
    return Failure(reason=reason, status=200, error=error, relayed=relayed(headers))


def read_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    seconds: float,
    now: dt.datetime,
) -> Failure:
    """Read an answer that is not 2xx. `seconds` have gone by since it was sent; `now` is the wall clock, in UTC."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    error = UpstreamError() if is_too_deep(body, value) else error_of(value)
    return Failure(
        reason=_reason(status, error, seconds),
        status=status,
        error=error,
        retry_after=retry_after(headers, now),
        relayed=relayed(headers),
    )


def _reason(status: int, error: UpstreamError, seconds: float) -> FailureReason:
    if _is_refusal(error):
        return FailureReason.REFUSED
    if status == 403 and _BLOCKED_WORDS in (error.message or "").lower():
        return FailureReason.BLOCKED
    late = seconds > EARLY_SECONDS
    if status == 408 and late:
        return FailureReason.TIMED_OUT
    if status >= 500:
        return FailureReason.LATE_SERVER_ERROR if late else FailureReason.SERVER_ERROR
    # What is not in the table is not known to have come before a model could draw, if it came late.
    return _BY_STATUS.get(status, FailureReason.LATE_SERVER_ERROR if late else FailureReason.UNEXPECTED_STATUS)


def _is_refusal(error: UpstreamError) -> bool:
    inner = next((error.details[name] for name in _INNER if name in error.details), None)
    inner_code = str(inner.get("code")) if isinstance(inner, dict) else ""
    return (error.code or "").lower() in _REFUSALS or inner_code.lower() == _INNER_REFUSAL


def is_error(value: Mapping[str, Any]) -> bool:
    """Whether a JSON object that came under status 200 says that there is an error."""
    return isinstance(value.get("error"), dict) or value.get("type") == "error"


def error_of(value: object) -> UpstreamError:
    """Find what upstream said of its error, in any of the shapes that it uses."""
    if not isinstance(value, dict):
        return UpstreamError()
    error = value.get("error", value)
    if isinstance(error, str):
        return UpstreamError(message=error)
    if not isinstance(error, dict):
        return UpstreamError()
    standard = {"code", "message", "param", "type"}
    return UpstreamError(
        code=_text(error.get("code")),
        message=_text(error.get("message")),
        param=_text(error.get("param")),
        type=_text(error.get("type")) if error is not value else None,
        details={name: part for name, part in error.items() if name not in standard and error is not value},
    )


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def relayed(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of upstream's that a caller may see: what Azure's support asks for."""
    found = {name: headers.get(name) for name in _RELAYED}
    return {
        name: value
        for name, value in found.items()
        if value and len(value) <= _LONGEST_RELAYED and value.isascii() and value.isprintable()
    }


def retry_after(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """How long upstream asks to wait, in seconds (RFC 9110 §10.2.3, and Azure's milliseconds). Nonsense: None."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _number(headers.get(name))
        if milliseconds is not None:
            return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(0.0, (date - now).total_seconds())


def _number(text: str | None) -> float | None:
    plain = _PLAIN_NUMBER.fullmatch((text or "").strip())
    return float(plain.group()) if plain else None
