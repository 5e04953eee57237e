"""One generation: attempts on the targets of a plan, one after the other, until there is a picture or nothing left."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from core.attempts.deciding import AskNext, GiveUp, Policy, Situation, Tried, next_move
from core.catalogue.fitting import Fitted
from core.contract.errors import InvalidRequest
from core.contract.outcomes import Failed, Kind, Outcome, Partial, Picture, Reason
from core.upstream.attempt import Ask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from core.attempts.cooling import Cooling
    from core.catalogue.deployments import Target
    from core.catalogue.plan import Plan, Step

_log = logging.getLogger(__name__)


class Asks(Protocol):
    """What a generation needs of the upstream room."""

    def attempt(self, ask: Ask) -> AsyncGenerator[Partial | Outcome]:
        """Yield partial images as they come, then one outcome."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One line of the attempts trail (contract §5): no hosts, no secrets."""

    deployment: str
    outcome: str
    status: int | None = None
    latency_ms: int = 0
    reason: str | None = None
    """Why a fallback was passed over."""

    def as_json(self) -> dict[str, Any]:
        """The line as callers see it."""
        line = {
            "deployment": self.deployment,
            "outcome": self.outcome,
            "status": self.status,
            "latency_ms": self.latency_ms,
        }
        return line if self.reason is None else {**line, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What was tried, in order."""

    traces: tuple[Trace, ...] = ()
    calls: int = 0
    """How often upstream was called."""
    ambiguous: bool = False
    """Whether an attempt that ended without a picture may have reached a model."""
    in_flight: str | None = None
    """The deployment of an attempt that has begun and not ended."""

    @property
    def perhaps_billed(self) -> bool:
        """Whether a picture may have been bought that the caller did not get."""
        return self.ambiguous or self.in_flight is not None

    @property
    def lines(self) -> tuple[Trace, ...]:
        """All that was tried, with what has not ended."""
        unended = () if self.in_flight is None else (Trace(deployment=self.in_flight, outcome="in_flight"),)
        return (*self.traces, *unended)

    def as_json(self) -> list[dict[str, Any]]:
        """The trail as callers see it."""
        return [trace.as_json() for trace in self.lines]


class Journal:
    """What has happened in one generation: for the next decision, for the trail, and for the log."""

    def __init__(self) -> None:
        self.tried: list[Tried] = []
        self.trail = Trail()
        self._passed_over: set[int] = set()

    def begin(self, plan: Plan, move: AskNext) -> None:
        """Note that an attempt begins. Until it has ended, nobody knows that it will not be billed."""
        self.pass_over(plan, move.passed_over)
        self.trail = replace(self.trail, calls=self.trail.calls + 1, in_flight=plan.steps[move.step].deployment.name)

    def end(self, step: Step, move: AskNext, outcome: Outcome, *, began_at: float, now: float) -> None:
        """Note how an attempt ended."""
        failed = outcome if isinstance(outcome, Failed) else None
        self._add(
            Trace(
                deployment=step.deployment.name,
                outcome=failed.reason if failed else outcome.kind,
                status=outcome.status,
                latency_ms=round((now - began_at) * 1000),
            )
        )
        ambiguous = failed is not None and failed.kind is Kind.AMBIGUOUS
        self.trail = replace(self.trail, in_flight=None, ambiguous=self.trail.ambiguous or ambiguous)
        if failed:
            self.tried.append(Tried(step=move.step, target=move.target, outcome=failed, ended_at=now))

    def pass_over(self, plan: Plan, steps: Iterable[int]) -> None:
        """Note that steps of the plan could not be asked, and why; once each."""
        for number in steps:
            if number in self._passed_over:
                continue
            self._passed_over.add(number)
            step = plan.steps[number]
            misfit = step.fitted if isinstance(step.fitted, InvalidRequest) else None
            self._add(
                Trace(
                    deployment=step.deployment.name,
                    outcome="passed_over" if misfit else "cooling_off",
                    reason=misfit.message if misfit else None,
                )
            )

    def _add(self, trace: Trace) -> None:
        self.trail = replace(self.trail, traces=(*self.trail.traces, trace))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The end of a generation that went well."""

    picture: Picture
    step: Step
    trail: Trail


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp:
    """The end of a generation without a picture."""

    failure: Failed
    step: Step
    trail: Trail


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """A partial image for the caller."""

    partial: Partial
    step: Step
    trail: Trail


Progress = Showing | Drawn | GaveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds."""

    call: float = 220.0
    attempt: float = 200.0


class Generator:
    """Carries out generations."""

    def __init__(
        self,
        upstream: Asks,
        cooling: Cooling,
        *,
        policy: Policy,
        limits: Limits,
        clock: Callable[[], float],
        wait: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, in seconds; `wait` lets seconds go by; `chance` gives a number from 0 up to 1."""
        self._upstream = upstream
        self._cooling = cooling
        self._policy = policy
        self._limits = limits
        self._clock = clock
        self._wait = wait
        self._chance = chance

    async def generate(
        self,
        plan: Plan,
        journal: Journal,
        *,
        images: int,
        partials: int,
        api_version: str | None,
        event_id: str,
        ends_at: float,
    ) -> AsyncGenerator[Progress]:
        """Yield partial images as they come, at most `partials`, then one end: Drawn or GaveUp.

        `ends_at` is when the whole call must have ended.

        What happens is written into `journal` as it happens, so that it can be read also where the caller leaves.
        """
        while isinstance(move := self._next(plan, journal.tried, ends_at), AskNext):
            if move.wait > 0:
                await self._wait(move.wait)
            step = plan.steps[move.step]
            began_at = self._clock()
            journal.begin(plan, move)
            ask = Ask(
                target=move.target,
                fitted=_fitted(step),
                api_version=api_version,
                images=images,
                event_id=event_id,
                ends_at=min(ends_at, began_at + self._limits.attempt),
            )
            outcome: Outcome | None = None
            async with aclosing(self._watched(ask)) as events:
                async for event in events:
                    if not isinstance(event, Partial):
                        outcome = event
                    elif partials > 0:
                        partials -= 1
                        yield Showing(partial=event, step=step, trail=journal.trail)
                    del event  # megabytes, and the next one may be long in coming
            if outcome is None:
                raise AssertionError("an attempt ended without an outcome")
            journal.end(step, move, outcome, began_at=began_at, now=self._clock())
            if isinstance(outcome, Picture):
                yield Drawn(picture=outcome, step=step, trail=journal.trail)
                return
        journal.pass_over(plan, move.passed_over)
        yield GaveUp(failure=move.failure, step=plan.steps[0], trail=journal.trail)

    def _next(self, plan: Plan, tried: Sequence[Tried], ends_at: float) -> AskNext | GiveUp:
        return next_move(
            Situation(
                plan=plan,
                tried=tried,
                health=self._cooling.of,
                now=self._clock(),
                ends_at=ends_at,
                policy=self._policy,
                chance=self._chance,
            )
        )

    async def _watched(self, ask: Ask) -> AsyncGenerator[Partial | Outcome]:
        """One attempt, whose end is noted in the target's health."""
        ended = False
        self._cooling.began(ask.target)
        try:
            async with aclosing(self._upstream.attempt(ask)) as events:
                async for event in events:
                    if not isinstance(event, Partial):
                        ended = True
                        if self._cooling.ended(ask.target, event) and isinstance(event, Failed):
                            _tell_the_operator(ask.target, event)
                    yield event
                    del event
        finally:
            if not ended:
                self._cooling.left(ask.target)


def _fitted(step: Step) -> Fitted:
    if isinstance(step.fitted, Fitted):
        return step.fitted
    raise AssertionError("a deployment that cannot honour the request was asked")


def _tell_the_operator(target: Target, outcome: Failed) -> None:
    said = outcome.error.message if outcome.reason is Reason.NO_TOKEN else f"code {outcome.error.code}"
    _log.error(
        "Target %s is left alone for a while and needs you: %s (status %s; %s)",
        target.name,
        outcome.reason,
        outcome.status,
        said,
    )
