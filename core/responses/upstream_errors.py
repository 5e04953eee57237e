"""From the end of a generation without a picture to the error that the caller sees (contract §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.domain.errors import UpstreamFailure, wait_headers
from core.domain.outcome import ERROR_MAPPINGS, GATEWAY_REASONS, FailureReason

if TYPE_CHECKING:
    from core.domain.outcome import Failure
    from core.routing.executor import Failed

UNSTATED_RETRY_AFTER_SECONDS: Final = 10.0
"""For a 429 without a word on waiting: with 5 to 12 calls a minute, the usual quota, one frees about so often."""

MIN_RETRY_AFTER_SECONDS: Final = 1.0
"""No caller is told to come back sooner."""

ONLY_COOLING: Final = "This deployment is being left alone for a while after failures"
NOTHING_DRAWN: Final = "; nothing was drawn for this call"
"""Said where the words before it leave that open, and it is true of all that was tried."""

_TYPES: Final = {
    FailureReason.REFUSED: "image_generation_user_error",
    FailureReason.REJECTED: "invalid_request_error",
    FailureReason.THROTTLED: "rate_limit_error",
    FailureReason.OUT_OF_QUOTA: "insufficient_quota",
}
_MESSAGES: Final = {
    FailureReason.REFUSED: "Azure OpenAI refused the prompt or the picture",
    FailureReason.REJECTED: "Azure OpenAI did not take the request",
    FailureReason.THROTTLED: "Azure OpenAI has no capacity left for this deployment at the moment",
    FailureReason.OUT_OF_QUOTA: "The account behind this deployment has no quota left; waiting does not help",
}


def failure_of(end: Failed) -> UpstreamFailure:
    """The error of a generation that found no picture: the primary's, as the table of contract §5 shows it."""
    failure = end.failure
    shown = ERROR_MAPPINGS[failure.reason]
    as_it_came = shown.message is None or (shown.keeps_words and failure.error.message is not None)
    error = failure.error
    message = (error.message if as_it_came else shown.message) or _MESSAGES[failure.reason]
    if failure.only_cooling:
        message = ONLY_COOLING
    if (failure.only_cooling or failure.reason in GATEWAY_REASONS) and end.summary.costs_nothing:
        message += NOTHING_DRAWN
    return UpstreamFailure(
        message,
        status=shown.status or max(400, failure.status or 0),
        code=shown.code or error.code or failure.reason,
        type=(error.type if shown.code is None else None) or _TYPES.get(failure.reason, "upstream_error"),
        param=error.param if as_it_came else None,
        details=error.details if as_it_came else {},
        is_bifrost_error=not _upstream_said_so(failure),
        retry_safe=not end.summary.perhaps_billed and failure.reason is not FailureReason.OUT_OF_QUOTA,
        headers=_retry_headers(failure),
    )


def _upstream_said_so(failure: Failure) -> bool:
    """Whether upstream itself answered with an error."""
    return failure.status is not None and (failure.status >= 400 or failure.error.message is not None)


def _retry_headers(failure: Failure) -> dict[str, str]:
    seconds = failure.retry_after
    if seconds is None:
        if failure.reason is not FailureReason.THROTTLED:
            return {}
        seconds = UNSTATED_RETRY_AFTER_SECONDS
    return wait_headers(max(seconds, MIN_RETRY_AFTER_SECONDS))
