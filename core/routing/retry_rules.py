"""What may follow an outcome, one row each. Nothing else in the gateway decides on asking again.

The line between the rows: a request that may have reached a model (`AMBIGUOUS`) is never sent to the same target again,
nor to another target that the caller did not name; it may have been paid for.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from core.domain.outcome import FailureReason, OutcomeKind


class AfterFailure(Enum):
    """A way to go on."""

    SIBLING = auto()
    """Another target of the same deployment, at once."""
    AGAIN = auto()
    """A target that was asked before, after a wait."""
    FALLBACK = auto()
    """The next deployment that the caller listed."""


class RetryRule(Struct, frozen=True, kw_only=True):
    """What may follow one kind of outcome."""

    moves: tuple[AfterFailure, ...]
    """In the order in which they are tried; none: the call has failed."""
    may_be_asked_again: bool = False
    """Whether the very target may get this request once more."""


RULES: Final[dict[OutcomeKind, RetryRule]] = {
    OutcomeKind.REFUSED: RetryRule(moves=()),
    OutcomeKind.REJECTED: RetryRule(moves=()),
    OutcomeKind.THROTTLED: RetryRule(
        moves=(AfterFailure.SIBLING, AfterFailure.FALLBACK, AfterFailure.AGAIN), may_be_asked_again=True
    ),
    OutcomeKind.OVERLOADED: RetryRule(
        moves=(AfterFailure.SIBLING, AfterFailure.AGAIN, AfterFailure.FALLBACK), may_be_asked_again=True
    ),
    OutcomeKind.UNREACHABLE: RetryRule(
        moves=(AfterFailure.SIBLING, AfterFailure.FALLBACK, AfterFailure.AGAIN), may_be_asked_again=True
    ),
    OutcomeKind.BUSY: RetryRule(moves=()),  # every other target would be asked over the same connections
    OutcomeKind.AMBIGUOUS: RetryRule(moves=(AfterFailure.FALLBACK,)),
    OutcomeKind.MISCONFIGURED: RetryRule(moves=(AfterFailure.SIBLING, AfterFailure.FALLBACK)),
    OutcomeKind.BLOCKED: RetryRule(moves=(AfterFailure.SIBLING, AfterFailure.FALLBACK)),
}

REFUSED_MAY_FALL_BACK: Final = RetryRule(moves=(AfterFailure.FALLBACK,))
"""The row of `REFUSED` under `GATEWAY_FALLBACK_ON_REFUSAL=true`."""


class CoolOff(Struct, frozen=True, kw_only=True):
    """When a target is left alone after an outcome, and for how long."""

    after: int = 1
    """How many failures in a row it takes."""
    seconds: float
    per_key: bool = False
    """Whether one caller alone can bring it about, so that it counts for that caller's key (contract §5)."""
    stated: bool = False
    """Whether upstream's own `Retry-After` replaces `seconds`, up to MAX_COOL_OFF_SECONDS."""
    logged: bool = False
    """Whether the operator must act: one error in the log, with the target's name."""


MAX_COOL_OFF_SECONDS: Final = 600.0
FAILURES_IN_A_ROW: Final = 5
"""After how many failures in a row a target is left alone, whatever they are."""
PER_KEY_SECONDS: Final = 30.0

_ONE_CALLER: Final = CoolOff(after=FAILURES_IN_A_ROW, seconds=PER_KEY_SECONDS, per_key=True)

COOL_OFFS: Final[dict[FailureReason, CoolOff]] = {
    # What is not listed here says nothing about the target.
    FailureReason.THROTTLED: CoolOff(seconds=10, stated=True),
    FailureReason.UNREACHABLE: CoolOff(after=3, seconds=30),
    FailureReason.SERVER_ERROR: _ONE_CALLER,
    FailureReason.LATE_SERVER_ERROR: _ONE_CALLER,
    FailureReason.TIMED_OUT: _ONE_CALLER,
    FailureReason.NO_FIRST_BYTE: _ONE_CALLER,
    FailureReason.WENT_SILENT: _ONE_CALLER,
    FailureReason.CUT_SHORT: _ONE_CALLER,
    FailureReason.NO_PICTURE: _ONE_CALLER,
    FailureReason.UNREADABLE: _ONE_CALLER,
    FailureReason.STREAM_ERROR: _ONE_CALLER,
    FailureReason.UNAUTHORIZED: CoolOff(seconds=60, logged=True),
    FailureReason.NO_TOKEN: CoolOff(seconds=10, logged=True),
    FailureReason.BLOCKED: CoolOff(seconds=300, logged=True),
    FailureReason.OUT_OF_QUOTA: CoolOff(seconds=300, logged=True),
}
