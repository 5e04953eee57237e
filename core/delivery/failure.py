"""From the end of a generation without a picture to the error that the caller sees (contract §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.contract.errors import UpstreamFailure, wait_headers
from core.contract.outcomes import OF_OUR_OWN, SHOWN, Kind

if TYPE_CHECKING:
    from core.contract.outcomes import Failed
    from core.generation import GaveUp

UNSTATED_RETRY_AFTER_SECONDS: Final = 10.0
"""For a 429 without a word on waiting: with 5 to 12 calls a minute, the usual quota, one frees about so often."""

ONLY_COOLING: Final = "This deployment is being left alone for a while after failures"
NOTHING_DRAWN: Final = "; nothing was drawn for this call"
"""Said where the words before it leave that open, and it is true of all that was tried."""

_TYPES: Final = {
    Kind.REFUSED: "image_generation_user_error",
    Kind.REJECTED: "invalid_request_error",
    Kind.THROTTLED: "rate_limit_error",
}
_MESSAGES: Final = {
    Kind.REFUSED: "Azure OpenAI refused the prompt or the picture",
    Kind.REJECTED: "Azure OpenAI did not take the request",
    Kind.THROTTLED: "Azure OpenAI has no capacity left for this deployment at the moment",
}


def failure_of(end: GaveUp) -> UpstreamFailure:
    """The error of a generation that found no picture: the primary's, as the table of contract §5 shows it."""
    failure = end.failure
    shown = SHOWN[failure.reason]
    as_it_came = shown.message is None
    error = failure.error
    message = (error.message if as_it_came else shown.message) or _MESSAGES[failure.kind]
    if failure.only_cooling:
        message = ONLY_COOLING
    if (failure.only_cooling or failure.reason in OF_OUR_OWN) and end.trail.costs_nothing:
        message += NOTHING_DRAWN
    return UpstreamFailure(
        message,
        status=shown.status or failure.status or 400,
        code=shown.code or error.code or failure.reason,
        type=(error.type if as_it_came else None) or _TYPES.get(failure.kind, "upstream_error"),
        param=error.param if as_it_came else None,
        details=error.details if as_it_came else {},
        is_bifrost_error=not _upstream_said_so(failure),
        retry_safe=not end.trail.perhaps_billed,
        headers=_retry_headers(failure),
    )


def _upstream_said_so(failure: Failed) -> bool:
    """Whether upstream itself answered with an error."""
    return failure.status is not None and (failure.status >= 400 or failure.error.message is not None)


def _retry_headers(failure: Failed) -> dict[str, str]:
    seconds = failure.retry_after
    if seconds is None:
        if failure.kind is not Kind.THROTTLED:
            return {}
        seconds = UNSTATED_RETRY_AFTER_SECONDS
    return wait_headers(seconds)
