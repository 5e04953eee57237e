"""What one attempt on one target came to: one frozen value, and nothing else decides what follows.

Two questions are asked of an attempt without a picture, and each has a table:

* what may be done next -- `Kind`, read by the `attempts` room;
* what the caller is told -- `Reason`, finer, with its row in `SHOWN` (contract §5).

The line that matters runs between *surely no picture was bought* and *perhaps one was* (`AMBIGUOUS`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.domain.image_json import ImageJson


class OutcomeKind(StrEnum):
    """What an outcome means for what is tried next."""

    PICTURE = "picture"
    REFUSED = "refused"
    """The prompt or the image went against the content policy. Asking again will not help."""
    REJECTED = "rejected"
    """The request is wrong for the target: 400, 413, 422."""
    THROTTLED = "throttled"
    """Not now: the target's quota is used up. Nothing was drawn."""
    OVERLOADED = "overloaded"
    """An early 5xx: the service turned the call away before a model could have drawn."""
    UNREACHABLE = "unreachable"
    """Surely not sent."""
    BUSY = "busy"
    """Surely not sent, as this gateway has no connection left for any target."""
    AMBIGUOUS = "ambiguous"
    """Sent, and then no answer that can be read: a picture may have been drawn, and billed."""
    MISCONFIGURED = "misconfigured"
    """The target does not take the gateway's key, or does not exist."""
    BLOCKED = "blocked"
    """The resource itself is blocked for abuse: an outage of the account."""


class FailureReason(StrEnum):
    """Why there is no picture."""

    REFUSED = "refused"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    LATE_SERVER_ERROR = "late_server_error"
    UNREACHABLE = "unreachable"
    NO_TIME = "no_time"
    """The time of the attempt, or of the whole call, was over before it was sent."""
    NO_TURN = "no_turn"
    """All connections of this gateway are in use."""
    TIMED_OUT = "timed_out"
    """The time of the attempt, or of the whole call, is over, and it was sent."""
    NO_FIRST_BYTE = "no_first_byte"
    WENT_SILENT = "went_silent"
    """A stream began and then said nothing more."""
    CUT_SHORT = "cut_short"
    NO_PICTURE = "no_picture"
    UNREADABLE = "unreadable"
    STREAM_ERROR = "stream_error"
    UNAUTHORIZED = "unauthorized"
    NO_TOKEN = "no_token"  # noqa: S105 -- no password but a reason
    NOT_FOUND = "not_found"
    UNEXPECTED_STATUS = "unexpected_status"
    BLOCKED = "blocked"


GATEWAY_REASONS: Final = frozenset({FailureReason.NO_TIME, FailureReason.NO_TURN})
"""They say nothing of a target: nobody was asked."""


class ErrorMapping(Struct, frozen=True, kw_only=True):
    """What the caller sees of a reason. `None` for status, code or message: as upstream gave it."""

    kind: OutcomeKind
    status: int | None
    code: str | None
    message: str | None


ERROR_MAPPINGS: Final[dict[FailureReason, ErrorMapping]] = {
    # Contract §5, "upstream did / the caller sees", in its order.
    FailureReason.REFUSED: ErrorMapping(kind=OutcomeKind.REFUSED, status=400, code=None, message=None),
    FailureReason.REJECTED: ErrorMapping(kind=OutcomeKind.REJECTED, status=None, code=None, message=None),
    FailureReason.UNAUTHORIZED: ErrorMapping(
        kind=OutcomeKind.MISCONFIGURED,
        status=502,
        code="upstream_auth_failed",
        message="Azure OpenAI did not accept the gateway's own credentials; your key is not at fault",
    ),
    FailureReason.NO_TOKEN: ErrorMapping(
        kind=OutcomeKind.MISCONFIGURED,
        status=502,
        code="upstream_auth_failed",
        message="The gateway has no credentials for Azure OpenAI at the moment; your key is not at fault",
    ),
    FailureReason.BLOCKED: ErrorMapping(
        kind=OutcomeKind.BLOCKED,
        status=502,
        code="upstream_blocked",
        message="The Azure OpenAI resource behind this deployment is blocked; your prompt is not at fault",
    ),
    FailureReason.NOT_FOUND: ErrorMapping(
        kind=OutcomeKind.MISCONFIGURED,
        status=404,
        code="deployment_not_found",
        message="Azure OpenAI does not know this deployment",
    ),
    FailureReason.THROTTLED: ErrorMapping(kind=OutcomeKind.THROTTLED, status=429, code=None, message=None),
    FailureReason.SERVER_ERROR: ErrorMapping(
        kind=OutcomeKind.OVERLOADED,
        status=502,
        code="upstream_error",
        message="Azure OpenAI failed before it drew",
    ),
    FailureReason.LATE_SERVER_ERROR: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=502,
        code="upstream_error",
        message="Azure OpenAI failed while it may have been drawing",
    ),
    FailureReason.CUT_SHORT: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=502,
        code="upstream_error",
        message="Azure OpenAI's answer was cut short",
    ),
    FailureReason.NO_PICTURE: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=502,
        code="upstream_error",
        message="Azure OpenAI answered without a picture",
    ),
    FailureReason.UNREADABLE: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=502,
        code="upstream_error",
        message="Azure OpenAI's answer could not be read",
    ),
    FailureReason.STREAM_ERROR: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=502,
        code="upstream_error",
        message="Azure OpenAI failed in the middle of its stream",
    ),
    FailureReason.UNEXPECTED_STATUS: ErrorMapping(
        kind=OutcomeKind.MISCONFIGURED,
        status=502,
        code="upstream_error",
        message="Azure OpenAI gave an answer that this gateway does not expect",
    ),
    FailureReason.UNREACHABLE: ErrorMapping(
        kind=OutcomeKind.UNREACHABLE,
        status=502,
        code="upstream_unreachable",
        message="Azure OpenAI could not be reached",
    ),
    FailureReason.NO_TIME: ErrorMapping(
        kind=OutcomeKind.UNREACHABLE,
        status=502,
        code="upstream_unreachable",
        message="Azure OpenAI could not be asked in time",
    ),
    FailureReason.NO_TURN: ErrorMapping(
        kind=OutcomeKind.BUSY,
        status=503,
        code="gateway_busy",
        message="The gateway has no connection to Azure OpenAI free at the moment",
    ),
    FailureReason.TIMED_OUT: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=504,
        code="upstream_timeout",
        message="Azure OpenAI did not answer in time; it may have drawn the picture all the same",
    ),
    FailureReason.NO_FIRST_BYTE: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=504,
        code="upstream_timeout",
        message="Azure OpenAI did not begin to answer in time; it may have drawn the picture all the same",
    ),
    FailureReason.WENT_SILENT: ErrorMapping(
        kind=OutcomeKind.AMBIGUOUS,
        status=504,
        code="upstream_timeout",
        message="Azure OpenAI began a stream and fell silent; it may have drawn the picture all the same",
    ),
}


class UpstreamError(Struct, frozen=True, kw_only=True):
    """What upstream said of itself, as it said it."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    type: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """The other fields of the error object: `inner_error`, `innererror` and the like."""


class Failure(Struct, frozen=True, kw_only=True):
    """An attempt that gave no picture."""

    reason: FailureReason
    status: int | None = None
    """What upstream answered; `None` where it did not answer."""
    error: UpstreamError = field(default_factory=UpstreamError)
    retry_after: float | None = None
    """Seconds that upstream asked to wait."""
    relayed: Mapping[str, str] = field(default_factory=dict)
    """Upstream's headers that the caller may see."""
    only_cooling: bool = False
    """Nothing was sent in this call: the target is left alone after such a failure of others."""

    @property
    def kind(self) -> OutcomeKind:
        """What this means for what is tried next."""
        return ERROR_MAPPINGS[self.reason].kind


class Success(Struct, frozen=True, kw_only=True):
    """An attempt that gave what was asked: the answer in the form of the JSON contract."""

    answer: ImageJson
    status: int = 200
    relayed: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> OutcomeKind:
        """Always `PICTURE`."""
        return OutcomeKind.PICTURE


class UpstreamPartial(Struct, frozen=True, kw_only=True):
    """A picture that is not finished: one event of upstream's stream. No outcome; one still follows."""

    event: ImageJson
    relayed: Mapping[str, str] = field(default_factory=dict)


Outcome = Success | Failure
