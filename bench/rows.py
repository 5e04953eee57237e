"""The rows of the table: what each means, its goal, and how it follows from what was measured in a round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.arithmetic import MIB, Spread, spread
from bench.canned import Kind
from bench.measuring import Asked, FaultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.measuring import Measured, Served

SMALL: Final = Kind(characters=4 * 1024)
MIDDLE: Final = Kind(characters=2 * MIB)
LARGE: Final = Kind(characters=4 * MIB)
DRAWN: Final = Kind(characters=4 * 1024, wait_ms=100)
"""A partial image after 100 ms, the finished one 100 ms later."""
KINDS: Final = (SMALL, MIDDLE, LARGE, DRAWN)
STREAMS: Final = 16
_TURN_SECONDS: Final = 2 * DRAWN.wait_ms / 1000

Figures = dict[str, float]
"""What was measured of one contender in one round, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One measurement of a round."""

    name: str
    asked: Asked
    figures: Callable[[Measured], Figures]


def _one(measured: Measured) -> Figures:
    times = measured.result.latency
    return {} if times is None else {"one_ms": times.p50, "one_p99_ms": times.p99}


def _many(measured: Measured) -> Figures:
    rate = measured.result.calls / measured.result.seconds
    return {"many_rps": rate, "many_cpu_ms": measured.gateway_cpu / measured.result.all_calls * 1000}


def _middle(measured: Measured) -> Figures:
    return {"middle_mbps": measured.result.bytes / measured.result.seconds / 1e6}


def _large(measured: Measured) -> Figures:
    return {"large_cpu_ms": measured.gateway_cpu / measured.result.all_calls * 1000}


def _first_event(name: str) -> Callable[[Measured], Figures]:
    def figures(measured: Measured) -> Figures:
        times = measured.result.first_event
        return {} if times is None else {name: times.p50}

    return figures


def steps(seconds: float) -> tuple[Step, ...]:
    """The measurements of a round, each of so many seconds, in their order."""
    return (
        Step(name="4 KiB, 1 at a time", asked=Asked(kind=SMALL, seconds=seconds), figures=_one),
        Step(name="4 KiB, 64 at a time", asked=Asked(kind=SMALL, callers=64, seconds=seconds), figures=_many),
        Step(name="2 MiB, 8 at a time", asked=Asked(kind=MIDDLE, callers=8, seconds=seconds), figures=_middle),
        Step(name="4 MiB, 8 at a time", asked=Asked(kind=LARGE, callers=8, seconds=seconds), figures=_large),
        Step(
            name="16 streams that draw",
            asked=Asked(
                kind=DRAWN, callers=STREAMS, seconds=seconds, partials=1, apart_seconds=_TURN_SECONDS / STREAMS
            ),
            figures=_first_event("drawn_first_ms"),
        ),
        Step(
            name="16 streams back to back",
            asked=Asked(kind=SMALL, callers=STREAMS, seconds=seconds, partials=1),
            figures=_first_event("at_once_first_ms"),
        ),
    )


@dataclass(slots=True, kw_only=True)
class Turn:
    """One contender's turn in a round."""

    figures: Figures = field(default_factory=dict)
    busy: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """By step: how many cores the contender, the upstream and the load generator kept busy."""
    faults: dict[str, str] = field(default_factory=dict)
    """By step: why there is no figure."""


def take_turn(served: Served, seconds: float) -> Turn:
    """Measure one contender, which has just been started."""
    turn = Turn()
    if served.start_seconds is not None:
        turn.figures = {"start_s": served.start_seconds, "idle_mib": served.tree.settled_bytes() / MIB}
    served.measure(Asked(kind=SMALL, callers=STREAMS, seconds=max(1.0, seconds / 2)))  # to warm up
    for step in steps(seconds):
        try:
            measured = served.measure(step.asked)
        except FaultsError as fault:
            turn.faults[step.name] = str(fault)
            continue
        turn.figures |= step.figures(measured)
        turn.busy[step.name] = (measured.gateway_cores, measured.upstream_cores, measured.load_cores)
    if served.start_seconds is not None:
        turn.figures["peak_mib"] = served.tree.peak_bytes() / MIB
    return turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table."""

    title: str
    unit: str
    goal: float | None
    figure: str
    added: bool = False
    """Whether it is what comes on top of the direct call of the same round."""
    more_is_better: bool = False

    @property
    def told_goal(self) -> str:
        """The goal in words; empty where there is none."""
        return "" if self.goal is None else f"{'≥' if self.more_is_better else '≤'} {self.goal:,g} {self.unit}".strip()

    def value(self, figures: Figures, direct: Figures) -> float | None:
        """The row's value for one contender in one round; None where it was not measured."""
        if self.figure not in figures or (self.added and self.figure not in direct):
            return None
        return figures[self.figure] - (direct[self.figure] if self.added else 0.0)

    def spread(self, name: str, rounds: Sequence[Mapping[str, Turn]]) -> Spread | None:
        """The row's value for a contender over all rounds; direct's own value is never a difference."""
        nothing: Figures = {self.figure: 0.0}
        values = [
            self.value(each[name].figures, nothing if name == "direct" else each["direct"].figures)
            for each in rounds
            if name in each and (name == "direct" or not self.added or "direct" in each)
        ]
        return spread([value for value in values if value is not None])

    def is_reached(self, value: float) -> bool | None:
        """Whether a value reaches the goal; None where there is none."""
        if self.goal is None:
            return None
        return value >= self.goal if self.more_is_better else value <= self.goal


ROWS: Final = (
    Row(title="added p50 at 4 KiB, 1 at a time", unit="ms", goal=1.0, figure="one_ms", added=True),
    Row(title="requests/s/core at 4 KiB, 64 at a time", unit="", goal=1000, figure="many_rps", more_is_better=True),
    Row(title="throughput at 2 MiB, 8 at a time", unit="MB/s", goal=350, figure="middle_mbps", more_is_better=True),
    Row(title="CPU per 4 MiB answer, 8 at a time", unit="ms", goal=8, figure="large_cpu_ms"),
    Row(title="added time to first event, 16 streams", unit="ms", goal=2, figure="drawn_first_ms", added=True),
    Row(
        title="the same, 16 streams back to back",
        unit="ms",
        goal=None,
        figure="at_once_first_ms",
        added=True,
    ),
    Row(title="memory idle", unit="MiB", goal=70, figure="idle_mib"),
    Row(title="memory peak", unit="MiB", goal=110, figure="peak_mib"),
    Row(title="start to first answer, warm", unit="s", goal=0.6, figure="start_s"),
)
