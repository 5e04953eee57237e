"""How one attempt on one target ended: one frozen value, and nothing else decides what follows.

Two questions are asked of an attempt without a picture, and each has a table:

* what may be done next: `OutcomeKind`, which core/routing/retry_rules.py has a row for;
* what the caller is told: `FailureReason`, finer, with its row in `ERROR_MAPPINGS` (contract §5).

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
    """The resource itself is blocked for abuse, or its account has no quota left: an outage of the account."""


class FailureReason(StrEnum):
    """Why there is no picture."""

    REFUSED = "refused"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    OUT_OF_QUOTA = "out_of_quota"
    """The account has no quota left: no wait will help."""
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
    WRONG_ENDPOINT = "wrong_endpoint"
    """A 404 that speaks of something else than the deployment."""
    UNEXPECTED_STATUS = "unexpected_status"
    BLOCKED = "blocked"


GATEWAY_REASONS: Final = frozenset({FailureReason.NO_TIME, FailureReason.NO_TURN})
"""They say nothing of a target: nobody was asked."""


class ErrorMapping(Struct, frozen=True):
    """What the caller sees of a reason. `None` for status, code or message: as upstream gave it."""

    kind: OutcomeKind
    status: int | None = None
    code: str | None = None
    message: str | None = None
    keeps_words: bool = False
    """Whether upstream's own message, if it gave one, goes before `message`."""


_MAY_BE_DRAWN: Final = "; it may have drawn the picture all the same"
ERROR_MAPPINGS: Final[dict[FailureReason, ErrorMapping]] = {
    # Contract §5, "upstream did / the caller sees", in its order.
    FailureReason.REFUSED: ErrorMapping(OutcomeKind.REFUSED, 400),
    FailureReason.REJECTED: ErrorMapping(OutcomeKind.REJECTED),
    FailureReason.UNAUTHORIZED: ErrorMapping(
        OutcomeKind.MISCONFIGURED,
        502,
        "upstream_auth_failed",
        "Azure OpenAI did not accept the gateway's own credentials; your key is not at fault",
    ),
    FailureReason.NO_TOKEN: ErrorMapping(
        OutcomeKind.MISCONFIGURED,
        502,
        "upstream_auth_failed",
        "The gateway has no credentials for Azure OpenAI at the moment; your key is not at fault",
    ),
    FailureReason.BLOCKED: ErrorMapping(
        OutcomeKind.BLOCKED,
        502,
        "upstream_blocked",
        "The Azure OpenAI resource behind this deployment is blocked; your prompt is not at fault",
    ),
    FailureReason.NOT_FOUND: ErrorMapping(
        OutcomeKind.MISCONFIGURED, 404, "deployment_not_found", "Azure OpenAI does not know this deployment"
    ),
    FailureReason.WRONG_ENDPOINT: ErrorMapping(
        OutcomeKind.MISCONFIGURED,
        502,
        "upstream_error",
        "Azure OpenAI does not know what it was asked: the api-version or the endpoint is wrong",
        keeps_words=True,
    ),
    FailureReason.THROTTLED: ErrorMapping(OutcomeKind.THROTTLED, 429),
    FailureReason.OUT_OF_QUOTA: ErrorMapping(OutcomeKind.BLOCKED, 429),
    FailureReason.SERVER_ERROR: ErrorMapping(
        OutcomeKind.OVERLOADED, 502, "upstream_error", "Azure OpenAI failed before it drew"
    ),
    FailureReason.LATE_SERVER_ERROR: ErrorMapping(
        OutcomeKind.AMBIGUOUS, 502, "upstream_error", "Azure OpenAI failed while it may have been drawing"
    ),
    FailureReason.CUT_SHORT: ErrorMapping(
        OutcomeKind.AMBIGUOUS, 502, "upstream_error", "Azure OpenAI's answer was cut short"
    ),
    FailureReason.NO_PICTURE: ErrorMapping(
        OutcomeKind.AMBIGUOUS, 502, "upstream_error", "Azure OpenAI answered without a picture"
    ),
    FailureReason.UNREADABLE: ErrorMapping(
        OutcomeKind.AMBIGUOUS, 502, "upstream_error", "Azure OpenAI's answer could not be read"
    ),
    FailureReason.STREAM_ERROR: ErrorMapping(
        OutcomeKind.AMBIGUOUS,
        502,
        "upstream_error",
        "Azure OpenAI failed in the middle of its stream",
        keeps_words=True,
    ),
    FailureReason.UNEXPECTED_STATUS: ErrorMapping(
        OutcomeKind.MISCONFIGURED,
        502,
        "upstream_error",
        "Azure OpenAI gave an answer that this gateway does not expect",
    ),
    FailureReason.UNREACHABLE: ErrorMapping(
        OutcomeKind.UNREACHABLE, 502, "upstream_unreachable", "Azure OpenAI could not be reached"
    ),
    FailureReason.NO_TIME: ErrorMapping(
        OutcomeKind.UNREACHABLE, 502, "upstream_unreachable", "Azure OpenAI could not be asked in time"
    ),
    FailureReason.NO_TURN: ErrorMapping(
        OutcomeKind.BUSY, 503, "gateway_busy", "The gateway has no connection to Azure OpenAI free at the moment"
    ),
    FailureReason.TIMED_OUT: ErrorMapping(
        OutcomeKind.AMBIGUOUS, 504, "upstream_timeout", f"Azure OpenAI did not answer in time{_MAY_BE_DRAWN}"
    ),
    FailureReason.NO_FIRST_BYTE: ErrorMapping(
        OutcomeKind.AMBIGUOUS, 504, "upstream_timeout", f"Azure OpenAI did not begin to answer in time{_MAY_BE_DRAWN}"
    ),
    FailureReason.WENT_SILENT: ErrorMapping(
        OutcomeKind.AMBIGUOUS, 504, "upstream_timeout", f"Azure OpenAI began a stream and fell silent{_MAY_BE_DRAWN}"
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
    """Seconds that upstream asked to wait; never 0."""
    relayed: Mapping[str, str] = field(default_factory=dict)
    """Upstream's headers that the caller may see."""
    has_drawn: bool = False
    """Whether something was drawn before it failed, a partial image or a withheld one: it may be billed."""
    only_cooling: bool = False
    """Nothing was sent in this call: the target is left alone after such a failure of others."""

    @property
    def kind(self) -> OutcomeKind:
        """What this means for what is tried next."""
        return ERROR_MAPPINGS[self.reason].kind

    @property
    def perhaps_billed(self) -> bool:
        """Whether a picture may have been bought all the same."""
        return self.has_drawn or self.kind is OutcomeKind.AMBIGUOUS


class Success(Struct, frozen=True, kw_only=True):
    """An attempt that gave what was asked: the answer in the form of the JSON contract."""

    answer: ImageJson
    withheld: tuple[Mapping[str, Any], ...] = ()
    """What upstream said of the pictures that it did not hand out: their place, their filter results."""
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
