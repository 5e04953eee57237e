"""What may follow an outcome, one row each. Nothing else in the gateway decides on asking again.

The line between the rows: a request that may have reached a model (`AMBIGUOUS`) is never sent to the same target again,
nor to another target that the caller did not name; it may have been paid for.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from core.contract.outcomes import Kind, Reason


class Move(Enum):
    """A way to go on."""

    SIBLING = auto()
    """Another target of the same deployment, at once."""
    AGAIN = auto()
    """A target that was asked before, after a wait."""
    FALLBACK = auto()
    """The next deployment that the caller listed."""


class Rule(Struct, frozen=True, kw_only=True):
    """What may follow one kind of outcome."""

    moves: tuple[Move, ...]
    """In the order in which they are tried; none: the call has failed."""
    may_be_asked_again: bool = False
    """Whether the very target may get this request once more."""


RULES: Final[dict[Kind, Rule]] = {
    Kind.REFUSED: Rule(moves=()),
    Kind.REJECTED: Rule(moves=()),
    Kind.THROTTLED: Rule(moves=(Move.SIBLING, Move.FALLBACK, Move.AGAIN), may_be_asked_again=True),
    Kind.OVERLOADED: Rule(moves=(Move.SIBLING, Move.AGAIN, Move.FALLBACK), may_be_asked_again=True),
    Kind.UNREACHABLE: Rule(moves=(Move.SIBLING, Move.FALLBACK, Move.AGAIN), may_be_asked_again=True),
    Kind.BUSY: Rule(moves=()),  # every other target would be asked over the same connections
    Kind.AMBIGUOUS: Rule(moves=(Move.FALLBACK,)),
    Kind.MISCONFIGURED: Rule(moves=(Move.SIBLING, Move.FALLBACK)),
    Kind.BLOCKED: Rule(moves=(Move.SIBLING, Move.FALLBACK)),
}

REFUSED_MAY_FALL_BACK: Final = Rule(moves=(Move.FALLBACK,))
"""The row of `REFUSED` under `GATEWAY_FALLBACK_ON_REFUSAL=true`."""


class Cools(Struct, frozen=True, kw_only=True):
    """When a target is left alone after an outcome, and for how long."""

    after: int
    """How many failures in a row it takes."""
    seconds: float
    stated: bool = False
    """Whether upstream's own `Retry-After` replaces `seconds`, up to MOST_COOLING_SECONDS."""
    logged: bool = False
    """Whether the operator must act: one error in the log, with the target's name."""


MOST_COOLING_SECONDS: Final = 600.0

COOLING: Final[dict[Reason, Cools]] = {
    # What is not listed here says nothing about the target.
    Reason.THROTTLED: Cools(after=1, seconds=10, stated=True),
    Reason.SERVER_ERROR: Cools(after=5, seconds=30),
    Reason.UNREACHABLE: Cools(after=3, seconds=30),
    Reason.LATE_SERVER_ERROR: Cools(after=5, seconds=30),
    Reason.TIMED_OUT: Cools(after=5, seconds=30),
    Reason.NO_FIRST_BYTE: Cools(after=5, seconds=30),
    Reason.WENT_SILENT: Cools(after=5, seconds=30),
    Reason.CUT_SHORT: Cools(after=5, seconds=30),
    Reason.NO_PICTURE: Cools(after=5, seconds=30),
    Reason.UNREADABLE: Cools(after=5, seconds=30),
    Reason.STREAM_ERROR: Cools(after=5, seconds=30),
    Reason.UNAUTHORIZED: Cools(after=1, seconds=60, logged=True),
    Reason.NO_TOKEN: Cools(after=1, seconds=10, logged=True),
    Reason.BLOCKED: Cools(after=1, seconds=300, logged=True),
}
