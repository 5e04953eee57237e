"""What happens in one generation, attempt by attempt: for the next decision, the trail, the log and the bill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from core.domain.outcome import Failure, Outcome, OutcomeKind
from core.domain.tokens import AttemptUsage
from core.routing.next_attempt import FinishedAttempt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.deployments.route_plan import PlanStep, RoutePlan
    from core.routing.next_attempt import Stop, TryTarget


class AttemptEntry(Struct, frozen=True, kw_only=True):
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


class AttemptSummary(Struct, frozen=True, kw_only=True):
    """What was tried, in order."""

    entries: tuple[AttemptEntry, ...] = ()
    calls: int = 0
    """How often upstream was called."""
    ambiguous: bool = False
    """Whether an attempt that ended without a picture may have reached a model."""
    in_flight: str | None = None
    """The deployment of an attempt that has begun and not ended."""
    is_sent: bool = False
    """Whether that one has been sent."""
    goes_on: bool = False
    """Whether the generation has not ended: more may be sent."""

    @property
    def perhaps_billed(self) -> bool:
        """Whether a picture may have been bought that the caller did not get."""
        return self.ambiguous or self.is_sent or self.goes_on

    @property
    def costs_nothing(self) -> bool:
        """Whether surely nothing was bought, for this caller or for nobody."""
        return not self.perhaps_billed and all(trace.outcome != OutcomeKind.PICTURE for trace in self.entries)

    @property
    def lines(self) -> tuple[AttemptEntry, ...]:
        """All that was tried, with what has not ended."""
        unended = () if self.in_flight is None else (AttemptEntry(deployment=self.in_flight, outcome="in_flight"),)
        return (*self.entries, *unended)

    def as_json(self) -> list[dict[str, Any]]:
        """The trail as callers see it."""
        return [trace.as_json() for trace in self.lines]


class AttemptLog:
    """What has happened in one generation: for the next decision, for the trail, for the log and for the bill."""

    def __init__(self) -> None:
        self.tried: list[FinishedAttempt] = []
        self.summary = AttemptSummary()
        self._ended: list[AttemptUsage] = []
        self._step = 0
        """The step of the attempt that began last."""
        self._passed_over: set[int] = set()

    @property
    def consumed(self) -> tuple[AttemptUsage, ...]:
        """What each attempt drew, or may have drawn, in their order; with one whose end nobody has seen.

        While the generation goes on that is also one that has not been sent yet, or not even begun.
        """
        unended = (AttemptUsage(step=self._step, kind=None),) if self.summary.is_sent or self.summary.goes_on else ()
        return (*self._ended, *unended)

    def open(self) -> None:
        """Note that the generation begins."""
        self.summary = replace(self.summary, goes_on=True)

    def close(self) -> None:
        """Note that it has ended, also where it was left: what has not been sent by now never is."""
        self.summary = replace(self.summary, goes_on=False)

    def begin(self, plan: RoutePlan, move: TryTarget) -> None:
        """Note that an attempt begins."""
        self.pass_over(plan, move.passed_over)
        self._go_on(calls=1, in_flight=plan.steps[move.step].deployment.name)
        self._step = move.step

    def sending(self) -> None:
        """Note that its request goes out. Until it has ended, nobody knows that it will not be billed."""
        self.summary = replace(self.summary, is_sent=True)

    def end(self, step: PlanStep, move: TryTarget, outcome: Outcome, *, began_at: float, now: float) -> None:
        """Note how an attempt ended; with a picture, the generation has."""
        failed = outcome if isinstance(outcome, Failure) else None
        trace = AttemptEntry(
            deployment=step.deployment.name,
            outcome=failed.reason if failed else outcome.kind,
            status=outcome.status,
            latency_ms=round((now - began_at) * 1000),
        )
        self._go_on(trace, ambiguous=failed is not None and failed.perhaps_billed)
        self._ended.append(AttemptUsage.by(move.step, outcome))
        if failed is None:
            self.close()
        else:
            self.tried.append(FinishedAttempt(step=move.step, target=move.target, outcome=failed, ended_at=now))

    def give_up(self, plan: RoutePlan, move: Stop) -> None:
        """Note that there is nothing left to ask."""
        self.pass_over(plan, move.passed_over, is_out_of_time=move.is_out_of_time)
        self.close()

    def pass_over(self, plan: RoutePlan, indexes: Iterable[int], *, is_out_of_time: bool = False) -> None:
        """Note which deployments of the plan could not be asked, by their fallback indexes, and why; once each."""
        cannot_now = "out_of_time" if is_out_of_time else "cooling_off"
        lines = {
            step.fallback_index: AttemptEntry(deployment=step.deployment.name, outcome=cannot_now)
            for step in plan.steps
        } | {
            step.fallback_index: AttemptEntry(
                deployment=step.deployment.name, outcome="passed_over", reason=step.reason.message
            )
            for step in plan.skipped
        }
        for index in indexes:
            if index not in self._passed_over:
                self._passed_over.add(index)
                self._go_on(lines[index])

    def _go_on(
        self, *entries: AttemptEntry, calls: int = 0, ambiguous: bool = False, in_flight: str | None = None
    ) -> None:
        """Add to the trail."""
        before = self.summary
        self.summary = AttemptSummary(
            entries=(*before.entries, *entries),
            calls=before.calls + calls,
            ambiguous=before.ambiguous or ambiguous,
            in_flight=in_flight,
            goes_on=before.goes_on,
        )
