"""`python -m bench`: measure this gateway beside others, and write the figures into docs/performance.md and scaling.md.

`--against DIR` compares it with another checkout of it instead: each row in the same rounds, and how many times worse.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import install, pages, processes
from bench.figures import Record
from bench.gateways import Direct, Gateway, LiteLLM, Portkey, ThisGateway
from bench.install import NotInstalled
from bench.measure import MEMORY_CASES, CallsFailed, RunningUpstream, measure_memory, run_gateway, run_upstream
from bench.processes import MAX_OTHERS_CORES, ROOT, Cores, ProcessEnded
from bench.rounds import KINDS, Round

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES: Final = ("direct", "gateway", "litellm", "portkey")
BASELINE: Final = "baseline"
PARTIAL_RECORD: Final = install.CACHE / "record.json"
"""Where the figures of a run go that is not for the pages."""


class Run:
    """One run, which says how far it has come."""

    def __init__(self, gateways: Sequence[Gateway], *, rounds: int, seconds: float) -> None:
        self._gateways = list(gateways)
        self._rounds = rounds
        self._cores = Cores.of_this_machine()
        self._began_at = time.monotonic()
        self.record = Record(
            made_on=dt.datetime.now(dt.UTC).date().isoformat(),
            seconds=seconds,
            machine=processes.describe_machine(self._cores),
            titles={gateway.name: gateway.title for gateway in gateways},
        )

    def measure(self, *, memory: bool) -> None:
        """Measure everything."""
        self._install()
        with run_upstream(self._cores) as upstream:
            self._try_out(upstream)
            for number in range(self._rounds):
                self._measure_round(upstream, number)
            if memory:
                self._measure_memory(upstream)

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began_at:6.0f} s  {what}", flush=True)

    def _install(self) -> None:
        for gateway in list(self._gateways):
            try:
                self.record.versions[gateway.name] = gateway.install()
            except NotInstalled as why:
                self._leave_out(gateway, str(why))

    def _try_out(self, upstream: RunningUpstream) -> None:
        """Start each once, unmeasured: byte code is written, the disk's cache warm, and what cannot start is known."""
        for gateway in list(self._gateways):
            self._say(f"trying out {gateway.title}")
            try:
                with run_gateway(gateway, upstream, self._cores, KINDS):
                    pass
            except ProcessEnded as fault:
                self._leave_out(gateway, str(fault))

    def _leave_out(self, gateway: Gateway, why: str) -> None:
        self._gateways.remove(gateway)
        del self.record.titles[gateway.name]
        self._note_fault(f"{gateway.title} was left out: {why}")

    def _note_fault(self, fault: str) -> None:
        self._say(f"  {fault}")
        self.record.faults.append(fault)

    def _measure_round(self, upstream: RunningUpstream, number: int) -> None:
        noise = processes.measure_noise(self._cores)
        self.record.noise.append(noise)
        self._say(f"round {number + 1} of {self._rounds}: {', '.join(each.title for each in self._gateways)}")
        if noise.others_cores > MAX_OTHERS_CORES:
            self._say(f"  other programs keep {noise.others_cores:.2f} cores busy: the figures will show it")
        measured = Round(self._cores, self.record.seconds)
        # Every other round the other way round, so that what drifts favours nobody.
        measured.measure(self._gateways[:: -1 if number % 2 else 1], upstream)
        self.record.rounds.append(measured.figures)
        for name, figures in measured.figures.items():
            told = (f"{figure} {value:.4g}" for figure, value in figures.items() if ":" not in figure)
            self._say(f"  {name}: {', '.join(told)}")
        for fault in measured.faults:
            self._note_fault(f"round {number + 1}, {fault}")

    def _measure_memory(self, upstream: RunningUpstream) -> None:
        for calls in MEMORY_CASES:
            self._say(f"memory of {calls.describe()}")
            try:
                with run_gateway(ThisGateway(), upstream, self._cores, [*KINDS[:1], calls.kind]) as running:
                    self.record.memory.append(measure_memory(running, calls))
            except (CallsFailed, ProcessEnded) as fault:
                self._note_fault(f"memory of {calls.describe()}: {fault}")
                self.record.memory.clear()  # the formula needs all cases
                return


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two minutes: one short round, nothing written")
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(NAMES)}; nothing is written into the pages")
    parser.add_argument("--against", type=Path, metavar="DIR", help="the other checkout of this gateway")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of this gateway, not of the other"
    )
    parser.add_argument("--rounds", type=int, help="default: 5; with --quick: 1")
    parser.add_argument("--seconds", type=float, help="for each measurement; default: 3; with --quick: 1.5")
    options = parser.parse_args()
    options.only = (options.only or ("direct,gateway" if options.against else ",".join(NAMES))).split(",")
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if any("=" not in each for each in options.set):
        parser.error("--set takes NAME=VALUE")
    return options


def _choose_gateways(options: argparse.Namespace) -> list[Gateway]:
    this = ThisGateway(settings=dict(each.split("=", 1) for each in options.set))
    known: dict[str, Gateway] = {"direct": Direct(), "gateway": this, "litellm": LiteLLM(), "portkey": Portkey()}
    chosen = [known[name] for name in NAMES if name in options.only]
    if options.against:
        chosen.insert(chosen.index(this), ThisGateway(BASELINE, str(options.against), options.against.resolve()))
    return chosen


def main() -> int:
    """Measure and write; the exit status is 1 where something went wrong, or is worse than it may be."""
    options = _read_options()
    is_for_pages = not (options.quick or options.against or options.set or len(options.only) < len(NAMES))
    run = Run(
        _choose_gateways(options),
        rounds=options.rounds or (1 if options.quick else 5),
        seconds=options.seconds or (1.5 if options.quick else 3.0),
    )
    run.measure(memory=is_for_pages)
    record = run.record
    if is_for_pages:
        record.write(pages.RECORD)
        pages.write(record, ROOT / "docs")
        return int(bool(record.faults))
    record.write(PARTIAL_RECORD)
    lines, is_good = pages.compare(record, BASELINE) if options.against else (pages.make_table(record), True)
    print("\n".join([*lines, *record.faults]))
    return int(bool(record.faults) or not is_good)


if __name__ == "__main__":
    sys.exit(main())
