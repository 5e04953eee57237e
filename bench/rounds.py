"""One round: every gateway is started anew and warmed up, then each step measures one after the other."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from bench import starts
from bench.answers import AnswerKind
from bench.figures import MB, MIB, SMALL_CHARACTERS, Figures
from bench.gateways import ThisGateway
from bench.load import Calls
from bench.measure import WARM_UP, CallsFailed, Measured, RunningGateway, RunningUpstream, run_gateway
from bench.processes import Cores, ProcessEnded, on_core

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.gateways import Gateway

IMPORT_STARTS: Final = 3
"""Starts of the worker in one round."""


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of a round, and the figure that is read from it."""

    title: str
    calls: Calls
    figure: str
    read: Callable[[Measured], float]


def make_steps(seconds: float) -> tuple[Step, ...]:
    """The measurements of a round, each of so many seconds, in their order."""
    small, waits = AnswerKind(characters=SMALL_CHARACTERS), AnswerKind(characters=SMALL_CHARACTERS, wait_ms=100)
    one, many = Calls(kind=small, seconds=seconds), Calls(kind=small, callers=64, seconds=seconds)
    middle = Calls(kind=AnswerKind(characters=2 * MIB), callers=8, seconds=seconds)
    large = Calls(kind=AnswerKind(characters=4 * MIB), callers=8, seconds=seconds)
    apart = 2 * waits.wait_ms / 1000 / 16
    streams = Calls(kind=waits, callers=16, seconds=seconds, partials=1, apart_seconds=apart)
    busy_streams = Calls(kind=small, callers=16, seconds=seconds, partials=1)
    return (
        Step("4 KiB, 1 at a time", one, "latency_ms", lambda each: each.result.latency_ms),
        Step("4 KiB, 64 at a time", many, "rate", lambda each: each.result.calls / each.result.seconds),
        Step("2 MiB, 8 at a time", middle, "throughput", lambda each: each.result.bytes / each.result.seconds / MB),
        Step("4 MiB, 8 at a time", large, "cpu_ms", lambda each: each.cpu_seconds / each.result.all_calls * 1000),
        Step("16 streams", streams, "first_event_ms", lambda each: each.result.first_event_ms),
        Step(
            "16 streams without a pause", busy_streams, "busy_first_event_ms", lambda each: each.result.first_event_ms
        ),
    )


KINDS: Final = tuple({step.calls.kind: None for step in make_steps(0)})
"""The deployments of a round."""


class Round:
    """One round; `figures` by gateway, and `faults`: what went wrong, one line each."""

    def __init__(self, cores: Cores, seconds: float) -> None:
        self._cores = cores
        self._steps = make_steps(seconds)
        self.figures: dict[str, Figures] = {}
        self.faults: list[str] = []

    def measure(self, gateways: Sequence[Gateway], upstream: RunningUpstream) -> None:
        """Measure all of them. A gateway at which calls go wrong lacks the figures of that step."""
        with contextlib.ExitStack() as stack:
            running = [each for gateway in gateways if (each := self._start(gateway, upstream, stack))]
            for step in self._steps:
                for each in running:
                    self._measure_step(each, step)
            for each in running:
                if each.process:
                    self.figures[each.gateway.name]["peak_mib"] = each.tree.peak_bytes() / MIB
        self._measure_imports([each.gateway for each in running if isinstance(each.gateway, ThisGateway)])

    def _start(self, gateway: Gateway, upstream: RunningUpstream, stack: contextlib.ExitStack) -> RunningGateway | None:
        try:
            running = stack.enter_context(run_gateway(gateway, upstream, self._cores, KINDS))
            self.figures[gateway.name] = {}
            if running.process:
                idle = running.tree.wait_for_steady_memory() / MIB
                self.figures[gateway.name] |= {"start_seconds": running.start_seconds, "idle_mib": idle}
            running.measure(WARM_UP)
        except (CallsFailed, ProcessEnded) as fault:
            self.faults.append(f"{gateway.title}: {fault}")
            return None
        return running

    def _measure_step(self, running: RunningGateway, step: Step) -> None:
        try:
            measured = running.measure(step.calls)
        except CallsFailed as fault:
            self.faults.append(f"{running.gateway.title}, {step.title}: {fault}")
            return
        figures = self.figures[running.gateway.name]
        figures[step.figure] = step.read(measured)
        figures[f"{step.figure}:cpu"] = measured.cpu_seconds / measured.result.all_calls * 1000
        if running.process:
            figures["others_percent"] = max(figures.get("others_percent", 0.0), 100 * measured.others_cores)

    def _measure_imports(self, gateways: Sequence[ThisGateway]) -> None:
        """The worker's starts, of all gateways in turn."""
        found: dict[str, list[float]] = {gateway.name: [] for gateway in gateways}
        try:
            for _ in range(IMPORT_STARTS):
                for gateway in gateways:
                    with on_core(self._cores.gateway):
                        found[gateway.name].append(starts.start(gateway.root).listening.cpu_ms)
        except starts.StartFailed as failure:
            self.faults.append(f"worker import: {str(failure).strip().splitlines()[-1]}")
        for name, values in found.items():
            if values:
                self.figures[name]["worker_import_ms"] = median(values)
