"""`python -m bench [--quick] [--only gateway,direct] [--out docs]`: measure, then write the page and its pictures."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import growth, installing, machine, measuring, memory, page, rows
from bench.canned import Kind
from bench.contenders import CONTENDERS
from bench.measuring import FaultsError
from bench.processes import ROOT, Cores, DiedError
from bench.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contenders import Contender
    from bench.measuring import Upstream

IMPORTS_SECONDS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float
    """For each measurement."""
    growth_rounds: int
    growth_seconds: float = 2.0
    memory: bool = True


FULL: Final = Effort(rounds=5, seconds=3.0, growth_rounds=2)
QUICK: Final = Effort(rounds=1, seconds=1.5, growth_rounds=0, memory=False)


class Run:
    """One run, step by step; each says how far it has come."""

    def __init__(self, contenders: Sequence[Contender], effort: Effort) -> None:
        self._effort = effort
        self._cores = Cores.of_this_machine()
        self._began_at = time.monotonic()
        self._contenders = list(contenders)
        self.record = Record(
            made_on=dt.datetime.now(dt.UTC).date().isoformat(),
            seconds=effort.seconds,
            machine=machine.Machine.this(self._cores),
            pinned=self._cores.are_apart,
        )

    def carry_out(self) -> None:
        """Measure everything."""
        self._install()
        with measuring.upstream(self._cores) as behind:
            self._try_out(behind)
            for number in range(1, self._effort.rounds + 1):
                self._look()
                self.record.rounds.append({})
                for contender in list(self._contenders):
                    self._say(f"round {number} of {self._effort.rounds}: {contender.title}")
                    self._take_turn(contender, behind)
            self._look()
            for number in range(1, self._effort.growth_rounds + 1):
                self._look()
                for contender in self._contenders:
                    self._say(f"growth, {number} of {self._effort.growth_rounds}: {contender.title}")
                    self._measure_growth(contender, behind)
            self._measure_memory(behind)
        self._measure_imports()

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began_at:6.0f} s  {what}", flush=True)

    def _look(self) -> None:
        quiet = machine.look(self._cores)
        self.record.quiet.append(quiet)
        if quiet.others_cores > machine.NOISY_CORES:
            self._say(f"  something else keeps {quiet.others_cores:.2f} cores busy: the figures will show it")

    def _install(self) -> None:
        for contender in list(self._contenders):
            try:
                if installing.can_be_installed(contender.name):
                    installing.install(contender.name)
                self.record.versions[contender.name] = contender.versions()
            except installing.NotInstalledError as why:
                self._leave_out(contender, str(why))

    def _try_out(self, behind: Upstream) -> None:
        """Start each once, unmeasured: byte code is written, the disk's cache warm, and what cannot start is known."""
        for contender in list(self._contenders):
            self._say(f"trying out {contender.title}")
            try:
                with measuring.served(contender, behind, self._cores, rows.KINDS):
                    pass
            except DiedError as fault:
                self._leave_out(contender, str(fault))

    def _leave_out(self, contender: Contender, why: str) -> None:
        self._say(f"{contender.title} is left out: {why}")
        self._contenders.remove(contender)
        self.record.left_out[contender.name] = why

    def _take_turn(self, contender: Contender, behind: Upstream) -> None:
        try:
            with measuring.served(contender, behind, self._cores, rows.KINDS) as served:
                turn = rows.take_turn(served, self._effort.seconds)
        except (DiedError, FaultsError) as fault:
            self._leave_out(contender, str(fault))
            return
        self.record.rounds[-1][contender.name] = turn
        for step, why in turn.faults.items():
            self._say(f"  {step}: {why}")
        self._say("  " + ", ".join(f"{name} {value:.4g}" for name, value in turn.figures.items()))

    def _measure_growth(self, contender: Contender, behind: Upstream) -> None:
        for place in growth.PLACES:
            try:
                with measuring.served(contender, behind, self._cores, growth.KINDS) as served:
                    self.record.growth.append(growth.measure_point(served, place, self._effort.growth_seconds))
            except (DiedError, FaultsError) as fault:
                where = f"{place.callers} at a time, {place.kind.characters} characters"
                self.record.growth_faults.setdefault(contender.name, {})[where] = str(fault)
                self._say(f"  {where}: {fault}")

    def _measure_memory(self, behind: Upstream) -> None:
        gateway = next((each for each in self._contenders if each.name == "gateway"), None)
        if gateway is None or not self._effort.memory:
            return
        for number, case in enumerate(memory.CASES, 1):
            self._say(f"memory, {number} of {len(memory.CASES)}")
            kinds = [Kind(characters=memory.CALL_CHARACTERS), case.kind]
            with measuring.served(gateway, behind, self._cores, kinds) as served:
                self.record.memory.append(memory.measure_case(served, case))

    def _measure_imports(self) -> None:
        self._say("worker import")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bench.imports", "--json"],
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
                timeout=IMPORTS_SECONDS,
            )
        except (subprocess.SubprocessError, OSError) as error:
            said = getattr(error, "stderr", None) or type(error).__name__
            self.record.left_out["worker import"] = said.strip().splitlines()[-1]
            self._say(f"  left out: {self.record.left_out['worker import']}")
            return
        self.record.imports = json.loads(done.stdout)


def _options() -> argparse.Namespace:
    names = [contender.name for contender in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes: the table alone, one round")
    parser.add_argument("--only", default=",".join(names), help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--rounds", type=int, help="how often the table is measured, and at most the curves of growth")
    parser.add_argument(
        "--out",
        type=Path,
        help="where page, pictures and figures go; default: docs; with --quick or --only: .cache/bench/out",
    )
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(names):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


def main() -> int:
    """Measure and write; the exit status is 1 where a call of this gateway went wrong."""
    options = _options()
    contenders = [contender for contender in CONTENDERS if contender.name in options.only]
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = replace(effort, rounds=options.rounds, growth_rounds=min(options.rounds, effort.growth_rounds))
    is_whole = not options.quick and len(contenders) == len(CONTENDERS)
    out = options.out or (ROOT / "docs" if is_whole else installing.CACHE / "out")
    run = Run(contenders, effort)
    if not run.record.pinned:
        print("One core only: gateway, upstream and load generator share it, and the figures are not comparable.")
    run.carry_out()
    run.record.write(out / "performance.json")
    page.write(out)
    print(f"Written: {os.path.relpath(out / 'performance.md')}")
    faults = list(run.record.faults())
    for fault in faults:
        print(fault, file=sys.stderr)
    return int("gateway" in run.record.left_out or any(", gateway, " in fault for fault in faults))


if __name__ == "__main__":
    sys.exit(main())
