"""One generation: attempts on the targets of a plan, one after the other, until there is a picture or nothing left."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from core.azure_openai.client import AttemptRequest
from core.deployments.parameters import takes_api_version
from core.domain.outcome import Failure, FailureReason, Outcome, Success, UpstreamPartial
from core.routing.next_attempt import RetryPolicy, RoutingState, Stop, TryTarget, choose_next

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.azure_openai.response_reader import Timeouts
    from core.deployments.catalogue import Target
    from core.deployments.route_plan import PlanStep, RoutePlan
    from core.routing.attempt_log import AttemptLog, AttemptSummary
    from core.routing.circuit_breaker import CircuitBreaker
    from core.routing.next_attempt import FinishedAttempt

MIN_SECONDS_LEFT: Final = 1.0
"""What is left of a call for another attempt at least: no model draws in less, and what it begins may be billed."""

_log = logging.getLogger(__name__)


class Asks(Protocol):
    """What a generation needs of the upstream room."""

    async def attempt(
        self, ask: AttemptRequest, show: Callable[[UpstreamPartial], Awaitable[None]], sending: Callable[[], None]
    ) -> Outcome:
        """Show partial images as they come, and give the outcome; `sending` is called before anything goes out."""
        ...


class Succeeded(Struct, frozen=True, kw_only=True):
    """The end of a generation that went well."""

    picture: Success
    step: PlanStep
    summary: AttemptSummary


class Failed(Struct, frozen=True, kw_only=True):
    """The end of a generation without a picture."""

    failure: Failure
    step: PlanStep
    summary: AttemptSummary


class PartialImage(Struct, frozen=True, kw_only=True):
    """A partial image for the caller."""

    partial: UpstreamPartial
    step: PlanStep
    summary: AttemptSummary


End = Succeeded | Failed
Progress = PartialImage | End
Show = Callable[[PartialImage], Awaitable[None]]
"""Takes a partial image for the caller; it returns when more is wanted."""


class TimeLimits(Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds."""

    call: float = 220.0
    attempt: float = 200.0

    def time(self, began_at: float, *, overruns: bool = False) -> GenerationTime:
        """The time of a call that began then."""
        return GenerationTime(ends_at=began_at + self.call, attempt_seconds=self.attempt, overruns=overruns)


class GenerationTime(Struct, frozen=True, kw_only=True):
    """The time that one generation has."""

    ends_at: float
    """When the whole call must have ended; from then on nothing more is asked."""
    attempt_seconds: float
    timeouts: Timeouts | None = None
    """With each attempt, in the place of the usual one."""
    overruns: bool = False
    """Whether an attempt that has begun may go on beyond the call's end: its outcome can be asked for again."""

    def least_seconds(self, tried: Sequence[FinishedAttempt]) -> float:
        """What must be left of the call for another attempt. However short a call is, it is asked for once."""
        return MIN_SECONDS_LEFT if tried and not self.overruns else 0.0

    def end_of_attempt(self, began_at: float) -> float:
        """When an attempt that begins then must have ended."""
        ends_at = began_at + self.attempt_seconds
        return ends_at if self.overruns else min(self.ends_at, ends_at)


class Executor:
    """Carries out generations."""

    def __init__(
        self,
        upstream: Asks,
        cooling: CircuitBreaker,
        *,
        policy: RetryPolicy,
        clock: Callable[[], float],
        wait: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, in seconds; `wait` lets seconds go by; `chance` gives a number from 0 up to 1."""
        self._upstream = upstream
        self._cooling = cooling
        self._policy = policy
        self._clock = clock
        self._wait = wait
        self._chance = chance

    async def generate(
        self,
        plan: RoutePlan,
        log: AttemptLog,
        *,
        images: int,
        api_version: str | None,
        event_id: str,
        key: str,
        time: GenerationTime,
        partials: int = 0,
        show: Show | None = None,
    ) -> End:
        """Show partial images as they come, at most `partials`, and give the end. Without `show` nobody looks.

        `key` is the id of the caller's key. What happens is written into `log` as it happens, so that it can be read
        also where the caller leaves.
        """
        window = _Window(show, partials)
        log.open()
        try:
            while isinstance(move := self._next(plan, log.tried, time, key), TryTarget):
                if move.wait > 0:
                    await self._wait(move.wait)
                step = plan.steps[move.step]
                began_at = self._clock()
                log.begin(plan, move)
                ask = AttemptRequest(
                    target=move.target,
                    body=step.body,
                    api_version=api_version if takes_api_version(step.deployment.family, api_version) else None,
                    images=images,
                    event_id=event_id,
                    ends_at=time.end_of_attempt(began_at),
                    begins_by=time.ends_at - time.least_seconds(log.tried),
                    timeouts=time.timeouts,
                )
                outcome = await self._watched(ask, key, window.of(step, log), log.sending)
                log.end(step, move, outcome, began_at=began_at, now=self._clock())
                if isinstance(outcome, Success):
                    return Succeeded(picture=outcome, step=step, summary=log.summary)
            log.give_up(plan, move)
            return Failed(failure=move.failure, step=plan.steps[0], summary=log.summary)
        finally:
            log.close()

    def _next(
        self, plan: RoutePlan, tried: Sequence[FinishedAttempt], time: GenerationTime, key: str
    ) -> TryTarget | Stop:
        return choose_next(
            RoutingState(
                plan=plan,
                tried=tried,
                health=lambda target: self._cooling.of(target, key),
                now=self._clock(),
                ends_at=time.ends_at,
                least_seconds=time.least_seconds(tried),
                policy=self._policy,
                chance=self._chance,
            )
        )

    async def _watched(
        self,
        ask: AttemptRequest,
        key: str,
        show: Callable[[UpstreamPartial], Awaitable[None]],
        sending: Callable[[], None],
    ) -> Outcome:
        """One attempt, whose end is noted in the target's health."""
        self._cooling.began(ask.target, key)
        try:
            outcome = await self._upstream.attempt(ask, show, sending)
        except BaseException:
            self._cooling.left(ask.target, key)
            raise
        if self._cooling.ended(ask.target, key, outcome) and isinstance(outcome, Failure):
            _tell_the_operator(ask.target, outcome)
        return outcome


class _Window:
    """Where the caller sees partial images, whichever attempt they are from, until it has seen as many as it wants."""

    def __init__(self, show: Show | None, partials: int) -> None:
        self._show = show
        self._left = partials

    def of(self, step: PlanStep, log: AttemptLog) -> Callable[[UpstreamPartial], Awaitable[None]]:
        """Show what an attempt of this step draws."""

        async def show(partial: UpstreamPartial) -> None:
            if self._show is not None and self._left > 0:
                self._left -= 1
                await self._show(PartialImage(partial=partial, step=step, summary=log.summary))

        return show


def _tell_the_operator(target: Target, outcome: Failure) -> None:
    said = outcome.error.message if outcome.reason is FailureReason.NO_TOKEN else f"code {outcome.error.code}"
    _log.error(
        "Target %s is left alone for a while and needs you: %s (status %s; %s)",
        target.name,
        outcome.reason,
        outcome.status,
        said,
    )
