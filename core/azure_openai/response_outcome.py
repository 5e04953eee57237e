"""Reading what upstream answered into one outcome. Pure functions over a status, headers and bytes.

What an error means is a row of `_BY_CODE`, `_IN_A_200` or `_BY_STATUS`, never a word of its message. Two exceptions,
both of the contract (§5): the 403 of a blocked resource, whose code is that of any network 403, and a 404 without a
code of its own that speaks of a deployment.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from typing import TYPE_CHECKING, Any, Final

from core.domain.image_json import ImageJson, InvalidImageJson, parse_json
from core.domain.image_response import completed_to_response, has_picture
from core.domain.outcome import Failure, FailureReason, Success, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EARLY_SECONDS: Final = 10.0
"""A failure within this time of sending came before a model can have drawn."""

_BY_CODE: Final[Mapping[str, FailureReason]] = {
    # The code of the error or of its inner error, in lower case, whatever the status is. Sources: Azure OpenAI docs,
    # "Content filtering" and "Error codes"; gpt-image's own moderation (OpenAI API reference); user reports.
    "content_policy_violation": FailureReason.REFUSED,
    "contentfilter": FailureReason.REFUSED,
    "content_filter": FailureReason.REFUSED,
    "moderation_blocked": FailureReason.REFUSED,
    "responsibleaipolicyviolation": FailureReason.REFUSED,
    "insufficient_quota": FailureReason.OUT_OF_QUOTA,
}
_IN_A_200: Final[Mapping[str, FailureReason]] = {
    # The code, else the type, of an error that came under status 200. Sources: events quoted in user reports, and
    # the types that the same errors have under a status of their own (OpenAI docs, "Error codes").
    "rate_limit_exceeded": FailureReason.THROTTLED,
    "too_many_requests": FailureReason.THROTTLED,
    "429": FailureReason.THROTTLED,
    "image_generation_user_error": FailureReason.REJECTED,
    "invalid_request_error": FailureReason.REJECTED,
    "400": FailureReason.REJECTED,
    "rate_limit_error": FailureReason.THROTTLED,
}
_BY_STATUS: Final[Mapping[int, FailureReason]] = {
    # The status, where neither the body nor the time says otherwise (contract §5).
    400: FailureReason.REJECTED,
    401: FailureReason.UNAUTHORIZED,
    403: FailureReason.UNAUTHORIZED,
    404: FailureReason.WRONG_ENDPOINT,
    408: FailureReason.THROTTLED,
    413: FailureReason.REJECTED,
    422: FailureReason.REJECTED,
    429: FailureReason.THROTTLED,
}
_NO_DEPLOYMENT: Final = frozenset({"deploymentnotfound", "deployment_not_found", "model_not_found"})
"""The codes of a 404 that speaks of the deployment."""
_BLOCKED_WORDS: Final = "temporarily blocked"
_INNER: Final = ("inner_error", "innererror")
_STANDARD: Final = frozenset({"code", "message", "param", "type"})
_FILTER_RESULTS: Final = ("content_filter_results", "prompt_filter_results")
_RELAYED: Final = ("apim-request-id", "x-ms-region")
_MAX_RELAYED_CHARACTERS: Final = 256
_PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")


def read_answer(status: int, headers: Mapping[str, str], answer: ImageJson, *, images: int) -> Success | Failure:
    """Read a 2xx answer that is a JSON object, whatever its content type says. Of its items, `images` count."""
    if is_error(answer.value):
        return read_error_event(answer.value, headers)
    data = answer.value.get("data")
    items = data[:images] if isinstance(data, list) else []
    withheld = tuple(_withheld(index, item) for index, item in enumerate(items) if not has_picture(item))
    if len(withheld) == len(items):
        return _no_picture(withheld, status, headers)
    pictures = [item for item in items if has_picture(item)]
    return Success(
        answer=ImageJson({**answer.value, "data": pictures}, answer.literals),
        withheld=withheld,
        status=status,
        relayed=relayed(headers),
    )


def read_completed(events: Sequence[ImageJson], headers: Mapping[str, str]) -> Success | Failure:
    """Read a stream that has ended, from its `completed` events."""
    if not events:
        return Failure(reason=FailureReason.CUT_SHORT, status=200, relayed=relayed(headers))
    return read_answer(200, headers, completed_to_response(events), images=len(events))


def _withheld(index: int, item: object) -> dict[str, Any]:
    """What is told of a picture that was not handed out."""
    results = {} if not isinstance(item, dict) else {name: item[name] for name in _FILTER_RESULTS if name in item}
    return {"index": index, **results}


def _no_picture(withheld: Sequence[Mapping[str, Any]], status: int, headers: Mapping[str, str]) -> Failure:
    """The failure of an answer without a picture: a refusal where the filter results say that something was."""
    filtered = [item for item in withheld if any(_has_filtered(item.get(name)) for name in _FILTER_RESULTS)]
    if not filtered:
        return Failure(reason=FailureReason.NO_PICTURE, status=status, relayed=relayed(headers))
    results = {name: filtered[0][name] for name in _FILTER_RESULTS if name in filtered[0]}
    message = "Azure OpenAI withheld the picture: its content filter found something in it"
    return Failure(
        reason=FailureReason.REFUSED,
        status=status,
        error=UpstreamError(code="content_filter", message=message, details=results),
        relayed=relayed(headers),
        has_drawn=True,
    )


def _has_filtered(results: object) -> bool:
    """Whether filter results name a category that was filtered."""
    return isinstance(results, dict) and any(
        isinstance(category, dict) and category.get("filtered") is True for category in results.values()
    )


def read_error_event(value: Mapping[str, Any], headers: Mapping[str, str], *, has_drawn: bool = False) -> Failure:
    """Read an error that came under status 200. `has_drawn`: a partial image came before it."""
    error = error_of(value)
    names = [name.lower() for name in (error.code, error.type) if name]
    reason = _reason_by_code(error) or next((_IN_A_200[name] for name in names if name in _IN_A_200), None)
    if reason is None or (has_drawn and reason is FailureReason.THROTTLED):
        reason = FailureReason.STREAM_ERROR
    return Failure(
        reason=reason,
        status=200,
        error=error,
        retry_after=retry_after(headers),
        relayed=relayed(headers),
        has_drawn=has_drawn and reason is FailureReason.REJECTED,
    )


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
        error = error_of(parse_json(body))
    except InvalidImageJson:
        error = UpstreamError()
    return Failure(
        reason=_reason(status, error, seconds),
        status=status,
        error=error,
        retry_after=retry_after(headers, now),
        relayed=relayed(headers),
    )


def _reason(status: int, error: UpstreamError, seconds: float) -> FailureReason:
    by_code = _reason_by_code(error)
    if by_code is not None:
        return by_code
    if status == 403 and _BLOCKED_WORDS in (error.message or "").lower():
        return FailureReason.BLOCKED
    if status == 404 and _is_about_the_deployment(error):
        return FailureReason.NOT_FOUND
    late = seconds > EARLY_SECONDS
    if status == 408 and late:
        return FailureReason.TIMED_OUT
    if status >= 500:
        return FailureReason.LATE_SERVER_ERROR if late else FailureReason.SERVER_ERROR
    # What is not in the table is not known to have come before a model could draw, if it came late.
    return _BY_STATUS.get(status, FailureReason.LATE_SERVER_ERROR if late else FailureReason.UNEXPECTED_STATUS)


def _reason_by_code(error: UpstreamError) -> FailureReason | None:
    """What the error's code says, or else its inner error's."""
    inner = next((error.details[name] for name in _INNER if name in error.details), None)
    codes = (error.code, inner.get("code") if isinstance(inner, dict) else None)
    return next((_BY_CODE[str(code).lower()] for code in codes if str(code).lower() in _BY_CODE), None)


def _is_about_the_deployment(error: UpstreamError) -> bool:
    code = (error.code or "404").lower()
    return code in _NO_DEPLOYMENT or (code == "404" and "deployment" in (error.message or "").lower())


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
    is_inside = error is not value
    return UpstreamError(
        code=_text(error.get("code")),
        message=_text(error.get("message")),
        param=_text(error.get("param")),
        type=_text(error.get("type")) if is_inside else None,
        details={name: part for name, part in error.items() if name not in _STANDARD} if is_inside else {},
    )


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def relayed(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of upstream's that a caller may see: what Azure's support asks for."""
    found = {name: headers.get(name) for name in _RELAYED}
    return {
        name: value
        for name, value in found.items()
        if value and len(value) <= _MAX_RELAYED_CHARACTERS and value.isascii() and value.isprintable()
    }


def retry_after(headers: Mapping[str, str], now: dt.datetime | None = None) -> float | None:
    """How long upstream asks to wait, in seconds (RFC 9110 §10.2.3, and Azure's milliseconds).

    None where it states no wait, a wait of 0 or nonsense. A date is compared with `now`, or else with the answer's
    own `Date`; one that has gone by states no wait.
    """
    milliseconds = [_number(headers.get(name)) for name in ("retry-after-ms", "x-ms-retry-after-ms")]
    text = headers.get("retry-after")
    stated = [*(each and each / 1000 for each in milliseconds), _number(text)]
    seconds = next((each for each in stated if each), None)
    if seconds is not None:
        return seconds
    date, now = _date(text), now or _date(headers.get("date"))
    return None if date is None or now is None or date <= now else (date - now).total_seconds()


def _number(text: str | None) -> float | None:
    plain = _PLAIN_NUMBER.fullmatch((text or "").strip())
    return float(plain.group()) if plain else None


def _date(text: str | None) -> dt.datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)
