"""Given what has been tried: what next? One pure function, `next_move`.

It sees frozen values only. Time comes in as numbers on one monotonic clock, chance as a function.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from core.domain.outcome import GATEWAY_REASONS, Failure, FailureReason, OutcomeKind
from core.routing.retry_rules import REFUSED_MAY_FALL_BACK, RULES, AfterFailure, RetryRule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.deployments.catalogue import Target
    from core.deployments.route_plan import RoutePlan
    from core.routing.circuit_breaker import Availability

MAX_WAIT_SECONDS: Final = 10.0
"""A stated wait beyond this is the caller's to wait, not ours."""
FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 8.0
MIN_RETRY_AFTER_SECONDS: Final = 1.0
"""What a caller is told while another call tries out whether a target is well again."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """The operator's choices."""

    max_retries: int = 2
    """How often the same target may be asked again (`GATEWAY_MAX_RETRIES`)."""
    fallback_on_refusal: bool = False
    """Whether a refusal may go to a fallback (`GATEWAY_FALLBACK_ON_REFUSAL`)."""


class FinishedAttempt(Struct, frozen=True, kw_only=True):
    """One attempt that has ended without a picture."""

    step: int
    target: Target
    outcome: Failure
    ended_at: float


class TryTarget(Struct, frozen=True, kw_only=True):
    """Ask this target, after a wait."""

    step: int
    target: Target
    wait: float = 0.0
    """Seconds."""
    passed_over: tuple[int, ...] = ()
    """The fallback indexes of deployments that come before it and cannot be asked now."""


class Stop(Struct, frozen=True, kw_only=True):
    """There is nothing left to ask; this is what the caller is told."""

    failure: Failure
    passed_over: tuple[int, ...] = ()
    """The fallback indexes of deployments that could not be asked."""
    is_out_of_time: bool = False
    """Whether they could not for want of time."""


class RoutingState(Struct, frozen=True, kw_only=True):
    """All that a decision depends on."""

    plan: RoutePlan
    tried: Sequence[FinishedAttempt]
    health: Callable[[Target], Availability]
    now: float
    ends_at: float
    """When the whole call must have ended."""
    least_seconds: float = 0.0
    """How much of it must be left for what is asked next."""
    policy: RetryPolicy
    chance: Callable[[], float]
    """Gives a number from 0 up to 1."""


def choose_next(situation: RoutingState) -> TryTarget | Stop:
    """Decide what is asked next."""
    moves = (
        _rule(situation.tried[-1].outcome, situation.policy).moves
        if situation.tried
        else (AfterFailure.FALLBACK,)  # the first step is asked as if something before it had failed
    )
    last_begin = situation.ends_at - situation.least_seconds
    for move in moves:
        found = _MOVES[move](situation)
        if found is not None and situation.now + found.wait < last_begin:
            return found
    passed_over = _indexes_left(situation) if AfterFailure.FALLBACK in moves else ()
    return Stop(
        failure=_failure_of_the_primary(situation),
        passed_over=passed_over,
        is_out_of_time=situation.now >= last_begin,
    )


def _rule(outcome: Failure, policy: RetryPolicy) -> RetryRule:
    if outcome.kind is OutcomeKind.REFUSED and policy.fallback_on_refusal:
        return REFUSED_MAY_FALL_BACK
    return RULES[outcome.kind]


def _furthest(situation: RoutingState) -> int:
    """The last step that was asked; -1: none was."""
    return max((tried.step for tried in situation.tried), default=-1)


def _indexes_left(situation: RoutingState, *, before: float = inf) -> tuple[int, ...]:
    """The fallback indexes of what comes after the last step that was asked, and `before` an index."""
    plan, furthest = situation.plan, _furthest(situation)
    asked = plan.steps[furthest].fallback_index if furthest >= 0 else -1
    indexes = [step.fallback_index for step in plan.steps] + [step.fallback_index for step in plan.skipped]
    return tuple(index for index in sorted(indexes) if asked < index < before)


def _barred(situation: RoutingState) -> int:
    """The last step that may have drawn: it and those before it are not asked again, by any of their targets."""
    return max((tried.step for tried in situation.tried if tried.outcome.kind is OutcomeKind.AMBIGUOUS), default=-1)


def _sibling(situation: RoutingState) -> TryTarget | None:
    step = situation.tried[-1].step
    return _first_time(situation, step) if step > _barred(situation) else None


def _fallback(situation: RoutingState) -> TryTarget | None:
    for number in range(_furthest(situation) + 1, len(situation.plan.steps)):
        if found := _first_time(situation, number):
            before = situation.plan.steps[number].fallback_index
            return replace(found, passed_over=_indexes_left(situation, before=before))
    return None


def _first_time(situation: RoutingState, step: int) -> TryTarget | None:
    """A target of a step that was not asked before, in this step or another, and does not cool."""
    asked = {tried.target.identity for tried in situation.tried}
    target = _pick(
        [
            target
            for target in situation.plan.steps[step].deployment.targets
            if target.identity not in asked and situation.health(target).is_open(situation.now)
        ],
        situation.chance,
    )
    return TryTarget(step=step, target=target) if target else None


def _again(situation: RoutingState) -> TryTarget | None:
    """The target that can be asked again soonest, among all that were asked."""
    options: list[TryTarget] = []
    for target in {tried.target.identity: tried.target for tried in situation.tried}.values():
        history = [tried for tried in situation.tried if tried.target.identity == target.identity]
        last = history[-1]
        wait = _wait_before(last, len(history), situation)
        if (
            wait is not None
            and last.step > _barred(situation)
            and len(history) <= situation.policy.max_retries
            and all(_rule(each.outcome, situation.policy).may_be_asked_again for each in history)
        ):
            options.append(TryTarget(step=last.step, target=target, wait=wait))
    return min(options, key=lambda option: option.wait, default=None)


_MOVES: Final = {AfterFailure.SIBLING: _sibling, AfterFailure.FALLBACK: _fallback, AfterFailure.AGAIN: _again}


def _wait_before(last: FinishedAttempt, times: int, situation: RoutingState) -> float | None:
    """How long to wait before a target is asked again, in seconds; None: too long, or it cools for another cause."""
    health = situation.health(last.target)
    if last.outcome.kind is OutcomeKind.THROTTLED and last.outcome.retry_after is not None:
        if last.outcome.retry_after > MAX_WAIT_SECONDS:
            return None
        return max(0.0, last.ended_at + last.outcome.retry_after - situation.now)
    if last.outcome.kind is not OutcomeKind.THROTTLED and health.cools_until > situation.now:
        return None
    longest = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (times - 1))
    return situation.chance() * longest


def _pick(targets: list[Target], chance: Callable[[], float]) -> Target | None:
    """The lowest priority first; among equals, by weight."""
    if not targets:
        return None
    first = min(target.priority for target in targets)
    equals = [target for target in targets if target.priority == first]
    point = chance() * sum(target.weight for target in equals)
    for target in equals:
        point -= target.weight
        if point < 0:
            return target
    return equals[-1]


def _failure_of_the_primary(situation: RoutingState) -> Failure:
    """What the caller is told: that time is over, or the primary's error, or what keeps all its targets cool."""
    if (
        situation.tried
        and situation.now >= situation.ends_at
        and situation.tried[-1].outcome.reason is FailureReason.TIMED_OUT
    ):
        return situation.tried[-1].outcome
    own = [tried for tried in situation.tried if tried.step == 0]
    if own:
        # What a target has said is worth more than that one could not be asked.
        said = [tried for tried in (*situation.tried, *own) if tried.outcome.reason not in GATEWAY_REASONS]
        return (said or own)[-1].outcome
    healths = [situation.health(target) for target in situation.plan.steps[0].deployment.targets]
    coolest = min(healths, key=lambda health: health.cools_until)
    if coolest.cause is None:
        # It has become well while fallbacks were asked, or the call's time was over before anything was sent.
        return situation.tried[-1].outcome if situation.tried else Failure(reason=FailureReason.NO_TIME)
    wait = max(MIN_RETRY_AFTER_SECONDS, coolest.cools_until - situation.now)
    return replace(coolest.cause, retry_after=wait, only_cooling=True)
