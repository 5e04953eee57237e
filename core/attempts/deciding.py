"""Given what has been tried: what next? One pure function, `next_move`.

It sees frozen values only. Time comes in as numbers on one monotonic clock, chance as a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from core.attempts.rules import REFUSED_MAY_FALL_BACK, RULES, Move, Rule
from core.contract.errors import InvalidRequest
from core.contract.outcomes import OF_OUR_OWN, Failed, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.attempts.cooling import Health
    from core.catalogue.deployments import Target
    from core.catalogue.plan import Plan

LONGEST_WAIT_SECONDS: Final = 10.0
"""A stated wait beyond this is the caller's to wait, not ours."""
FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 8.0
SHORTEST_RETRY_AFTER_SECONDS: Final = 1.0
"""What a caller is told while another call tries out whether a target is well again."""


class Policy(Struct, frozen=True, kw_only=True):
    """The operator's choices."""

    max_retries: int = 2
    """How often the same target may be asked again (`GATEWAY_MAX_RETRIES`)."""
    fallback_on_refusal: bool = False
    """Whether a refusal may go to a fallback (`GATEWAY_FALLBACK_ON_REFUSAL`)."""


class Tried(Struct, frozen=True, kw_only=True):
    """One attempt that has ended without a picture."""

    step: int
    target: Target
    outcome: Failed
    ended_at: float


class AskNext(Struct, frozen=True, kw_only=True):
    """Ask this target, after a wait."""

    step: int
    target: Target
    wait: float = 0.0
    """Seconds."""
    passed_over: tuple[int, ...] = ()
    """Steps that come before it and can now not be asked."""


class GiveUp(Struct, frozen=True, kw_only=True):
    """There is nothing left to ask; this is what the caller is told."""

    failure: Failed
    passed_over: tuple[int, ...] = ()
    """Steps that could not be asked."""
    is_out_of_time: bool = False
    """Whether they could not for want of time."""


class Situation(Struct, frozen=True, kw_only=True):
    """All that a decision depends on."""

    plan: Plan
    tried: Sequence[Tried]
    health: Callable[[Target], Health]
    now: float
    ends_at: float
    """When the whole call must have ended."""
    least_seconds: float = 0.0
    """How much of it must be left for what is asked next."""
    policy: Policy
    chance: Callable[[], float]
    """Gives a number from 0 up to 1."""


def next_move(situation: Situation) -> AskNext | GiveUp:
    """Decide what is asked next."""
    moves = (
        _rule(situation.tried[-1].outcome, situation.policy).moves
        if situation.tried
        else (Move.FALLBACK,)  # the first step is asked as if something before it had failed
    )
    last_begin = situation.ends_at - situation.least_seconds
    for move in moves:
        found = _MOVES[move](situation)
        if found is not None and situation.now + found.wait < last_begin:
            return found
    passed_over = _steps_left(situation) if Move.FALLBACK in moves else ()
    return GiveUp(
        failure=_failure_of_the_primary(situation),
        passed_over=passed_over,
        is_out_of_time=situation.now >= last_begin,
    )


def _rule(outcome: Failed, policy: Policy) -> Rule:
    if outcome.kind is Kind.REFUSED and policy.fallback_on_refusal:
        return REFUSED_MAY_FALL_BACK
    return RULES[outcome.kind]


def _steps_left(situation: Situation) -> tuple[int, ...]:
    furthest = max((tried.step for tried in situation.tried), default=-1)
    return tuple(range(furthest + 1, len(situation.plan.steps)))


def _barred(situation: Situation) -> int:
    """The last step that may have drawn: it and those before it are not asked again, by any of their targets."""
    return max((tried.step for tried in situation.tried if tried.outcome.kind is Kind.AMBIGUOUS), default=-1)


def _sibling(situation: Situation) -> AskNext | None:
    step = situation.tried[-1].step
    return _first_time(situation, step) if step > _barred(situation) else None


def _fallback(situation: Situation) -> AskNext | None:
    left = _steps_left(situation)
    for passed, step in enumerate(left):
        if isinstance(situation.plan.steps[step].fitted, InvalidRequest):
            continue
        if found := _first_time(situation, step, passed_over=left[:passed]):
            return found
    return None


def _first_time(situation: Situation, step: int, passed_over: tuple[int, ...] = ()) -> AskNext | None:
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
    return AskNext(step=step, target=target, passed_over=passed_over) if target else None


def _again(situation: Situation) -> AskNext | None:
    """The target that can be asked again soonest, among all that were asked."""
    options: list[AskNext] = []
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
            options.append(AskNext(step=last.step, target=target, wait=wait))
    return min(options, key=lambda option: option.wait, default=None)


_MOVES: Final = {Move.SIBLING: _sibling, Move.FALLBACK: _fallback, Move.AGAIN: _again}


def _wait_before(last: Tried, times: int, situation: Situation) -> float | None:
    """How long to wait before a target is asked again, in seconds; None: too long, or it cools for another cause."""
    health = situation.health(last.target)
    if last.outcome.kind is Kind.THROTTLED and last.outcome.retry_after is not None:
        if last.outcome.retry_after > LONGEST_WAIT_SECONDS:
            return None
        return max(0.0, last.ended_at + last.outcome.retry_after - situation.now)
    if last.outcome.kind is not Kind.THROTTLED and health.cools_until > situation.now:
        return None
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (times - 1))
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


def _failure_of_the_primary(situation: Situation) -> Failed:
    """What the caller is told: that time is over, or the primary's error, or what keeps all its targets cool."""
    if (
        situation.tried
        and situation.now >= situation.ends_at
        and situation.tried[-1].outcome.reason is Reason.TIMED_OUT
    ):
        return situation.tried[-1].outcome
    own = [tried for tried in situation.tried if tried.step == 0]
    if own:
        # What a target has said is worth more than that one could not be asked.
        said = [tried for tried in (*situation.tried, *own) if tried.outcome.reason not in OF_OUR_OWN]
        return (said or own)[-1].outcome
    healths = [situation.health(target) for target in situation.plan.steps[0].deployment.targets]
    coolest = min(healths, key=lambda health: health.cools_until)
    if coolest.cause is None:
        # It has become well while fallbacks were asked, or the call's time was over before anything was sent.
        return situation.tried[-1].outcome if situation.tried else Failed(reason=Reason.NO_TIME)
    wait = max(SHORTEST_RETRY_AFTER_SECONDS, coolest.cools_until - situation.now)
    return replace(coolest.cause, retry_after=wait, only_cooling=True)
