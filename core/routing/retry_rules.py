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

    after: int
    """How many failures in a row it takes."""
    seconds: float
    stated: bool = False
    """Whether upstream's own `Retry-After` replaces `seconds`, up to MOST_COOLING_SECONDS."""
    logged: bool = False
    """Whether the operator must act: one error in the log, with the target's name."""


MAX_COOL_OFF_SECONDS: Final = 600.0

COOL_OFFS: Final[dict[FailureReason, CoolOff]] = {
    # What is not listed here says nothing about the target.
    FailureReason.THROTTLED: CoolOff(after=1, seconds=10, stated=True),
    FailureReason.SERVER_ERROR: CoolOff(after=5, seconds=30),
    FailureReason.UNREACHABLE: CoolOff(after=3, seconds=30),
    FailureReason.LATE_SERVER_ERROR: CoolOff(after=5, seconds=30),
    FailureReason.TIMED_OUT: CoolOff(after=5, seconds=30),
    FailureReason.NO_FIRST_BYTE: CoolOff(after=5, seconds=30),
    FailureReason.WENT_SILENT: CoolOff(after=5, seconds=30),
    FailureReason.CUT_SHORT: CoolOff(after=5, seconds=30),
    FailureReason.NO_PICTURE: CoolOff(after=5, seconds=30),
    FailureReason.UNREADABLE: CoolOff(after=5, seconds=30),
    FailureReason.STREAM_ERROR: CoolOff(after=5, seconds=30),
    FailureReason.UNAUTHORIZED: CoolOff(after=1, seconds=60, logged=True),
    FailureReason.NO_TOKEN: CoolOff(after=1, seconds=10, logged=True),
    FailureReason.BLOCKED: CoolOff(after=1, seconds=300, logged=True),
    FailureReason.OUT_OF_QUOTA: CoolOff(after=1, seconds=300, logged=True),
}
