"""Targets that failed are left alone for a while, so that calls neither wait for them nor make it worse.

`TargetHealth` is a frozen value and `after` a pure function. `CircuitBreaker` keeps one health per target and process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from core.domain.outcome import GATEWAY_REASONS, Failure, OutcomeKind, UpstreamError
from core.routing.retry_rules import COOL_OFFS, MAX_COOL_OFF_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.deployments.catalogue import Target
    from core.domain.outcome import Outcome

PROBE_SECONDS: Final = 30.0
"""A probe that has not ended after this long no longer keeps others away: drawing may take minutes."""
MAX_TARGETS: Final = 1000
"""How many targets are remembered. Without a catalogue, callers choose the names."""


class TargetHealth(Struct, frozen=True, kw_only=True):
    """What is known of a target."""

    failures: int = 0
    """How many in a row."""
    cools_until: float = 0.0
    """Before this moment it is passed over."""
    cause: Failure | None = None
    """What it cools for, or cooled for last; None: nothing since it last drew."""
    probed_until: float = 0.0
    """Until this moment one call tries out whether it is well again, and others still pass it over."""

    def is_open(self, now: float) -> bool:
        """Whether it may be asked."""
        return now >= self.cools_until and now >= self.probed_until


HEALTHY: Final = TargetHealth()


def begin(health: TargetHealth, now: float) -> TargetHealth:
    """What is known once a call begins. The first one after cooling is the probe, unless the cause was only quota."""
    if health.cause is None or health.cause.kind is OutcomeKind.THROTTLED:
        return health
    return replace(health, probed_until=now + PROBE_SECONDS)


def after(health: TargetHealth, outcome: Outcome, now: float) -> TargetHealth:
    """What is known once a call has ended."""
    if isinstance(outcome, Failure) and outcome.reason in GATEWAY_REASONS:
        return abandoned(health)
    row = COOL_OFFS.get(outcome.reason) if isinstance(outcome, Failure) else None
    if row is None or not isinstance(outcome, Failure):
        # It answers. What another call learnt meanwhile holds all the same: this one began before.
        return health if now < health.cools_until else HEALTHY
    # Quota that is used up is no failure: neither does it count, nor is the call after it a probe.
    failures = health.failures if row.stated else health.failures + 1
    was_ill = health.cause is not None and health.cause.kind is not OutcomeKind.THROTTLED
    if failures < row.after and not row.stated and not was_ill:
        return replace(health, failures=failures)
    wait = row.seconds
    if row.stated and outcome.retry_after is not None:
        wait = min(outcome.retry_after, MAX_COOL_OFF_SECONDS)
    until = max(now + wait, health.cools_until)
    return TargetHealth(failures=failures, cools_until=until, cause=_essence(outcome))


def _essence(outcome: Failure) -> Failure:
    """What others may be told of a failure: the words and ids were for one caller, and may be long."""
    return Failure(reason=outcome.reason, status=outcome.status, error=UpstreamError(code=outcome.error.code))


def abandoned(health: TargetHealth) -> TargetHealth:
    """What is known once a call was left before it ended, or not sent: nothing new, but the next one may probe."""
    return replace(health, probed_until=0.0)


class CircuitBreaker:
    """The health of every target, as this process has seen it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._healths: dict[tuple[str, str], TargetHealth] = {}

    def of(self, target: Target) -> TargetHealth:
        """What is known of a target."""
        return self._healths.get(target.identity, HEALTHY)

    def began(self, target: Target) -> None:
        """Note that a call to a target begins."""
        self._keep(target, begin(self.of(target), self._clock()))

    def ended(self, target: Target, outcome: Outcome) -> bool:
        """Note how it ended. True: the operator must act, and has not been told of this cause yet."""
        before = self.of(target)
        self._keep(target, after(before, outcome, self._clock()))
        row = COOL_OFFS.get(outcome.reason) if isinstance(outcome, Failure) else None
        told = before.cause is not None and isinstance(outcome, Failure) and before.cause.reason is outcome.reason
        return row is not None and row.logged and not told

    def left(self, target: Target) -> None:
        """Note that the caller went away before it ended."""
        self._keep(target, abandoned(self.of(target)))

    def _keep(self, target: Target, health: TargetHealth) -> None:
        if health is HEALTHY or health == HEALTHY:
            self._healths.pop(target.identity, None)
        else:
            self._healths.pop(target.identity, None)
            self._healths[target.identity] = health
            if len(self._healths) > MAX_TARGETS:
                del self._healths[next(iter(self._healths))]  # the one that was heard of least lately
