"""`python -m bench.imports`: what a cold start costs, and which imports take it; `--json` for machines.

bench.starts says what is counted. It needs Python 3.13 or later, where Microsoft's worker is a library.

The tree is what `-X importtime` tells. It does not tell of modules that are imported by their name (function_app, by
the worker): what such a module imports stands at the top. Its times are of the clock, and higher for being taken.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench import starts
from bench.arithmetic import Spread, spread
from bench.cold_start import MARK
from bench.import_tree import by_package, lines_of, package_of, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.import_tree import Module
    from bench.starts import Start

RUNS: Final = 9
LEAST_MS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Several starts of the smallest app and of the gateway, in turn."""

    floor: Sequence[Start]
    gateway: Sequence[Start]

    def cost(self) -> dict[str, Spread]:
        """Each figure in ms of CPU time."""
        values = {
            "floor_cpu_ms": [start.listening.cpu_ms for start in self.floor],
            "worker_import_cpu_ms": [start.listening.cpu_ms for start in self.gateway],
            "first_answer_cpu_ms": [
                start.answered.cpu_ms - start.listening.cpu_ms for start in self.gateway if start.answered
            ],
        }
        return {name: found for name, each in values.items() if (found := spread(each))}

    def modules(self) -> dict[str, frozenset[str]]:
        """The modules that were there at each moment, the later ones without the earlier."""
        floor, last = self.floor[-1], self.gateway[-1]
        return {
            "floor": floor.listening.modules,
            "worker_import": last.listening.modules,
            "first_answer": (last.answered or last.listening).modules - last.listening.modules,
        }


def measure(upstream: str, runs: int) -> Measured:
    """Start both in turn, `runs` times, after a start of each that writes byte code and warms the disk's cache."""
    floor, gateway = [], []
    for _ in range(runs + 1):
        floor.append(starts.start(starts.SMALLEST_APP))
        gateway.append(starts.start(starts.ROOT, upstream=upstream))
    return Measured(floor=floor[1:], gateway=gateway[1:])


def traced(upstream: str) -> tuple[list[Module], list[Module]]:
    """The import trees of one start, before and after it listened."""
    report = starts.start(starts.ROOT, upstream=upstream, options=["-X", "importtime"]).said
    before, _, after = report.partition(f"\n{MARK}\n")
    return parsed(before), parsed(after)


def as_json(measured: Measured) -> dict[str, Any]:
    """The figures for machines: CPU times in ms, numbers of modules."""
    cost = {
        name: {"median": round(each.middle, 1), "spread": [round(each.least, 1), round(each.most, 1)]}
        for name, each in measured.cost().items()
    }
    modules = {name: len(each) for name, each in measured.modules().items()}
    return {"python": platform.python_version(), "runs": len(measured.gateway), **cost, "modules": modules}


def told(measured: Measured, before: Iterable[Module], after: Sequence[Module], least_ms: float) -> Iterable[str]:
    """The figures for people."""
    modules = measured.modules()
    names = {"floor_cpu_ms": "floor", "worker_import_cpu_ms": "worker_import", "first_answer_cpu_ms": "first_answer"}
    yield f"CPU ms on Python {platform.python_version()}: median of {len(measured.gateway)} starts (least to most)"
    for name, each in measured.cost().items():
        title = names[name].replace("_", " ")
        count = len(modules[names[name]])
        yield f"  {title:14} {each.middle:6.0f}  ({each.least:.0f} to {each.most:.0f})  {count:4} modules"
    yield from ("", "By package, without what it imports (clock ms, traced, which is slower; modules)")
    for package, microseconds, count in by_package(before):
        if microseconds >= least_ms * 1000:
            yield f"{microseconds / 1000:8.1f}  {count:4}  {package}"
    yield from ("", "Until it listens (clock ms, traced: with what it imports; without)")
    yield from lines_of(before, least_us=round(least_ms * 1000))
    yield from ("", "From there to the first answer")
    yield from lines_of(after, least_us=round(least_ms * 1000))
    yield from ("", f"Modules of the first answer: {_counted(modules['first_answer'])}")


def _counted(modules: Iterable[str]) -> str:
    count = Counter(package_of(name) for name in modules)
    return ", ".join(f"{package} {number}" for package, number in count.most_common()) or "none"


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description=starts.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--runs", type=int, default=RUNS, help="how many starts (default: %(default)s)")
    parser.add_argument("--least", type=float, default=LEAST_MS, metavar="MS", help="leave out what costs less")
    options = parser.parse_args()
    try:
        with starts.emulator() as upstream:
            measured = measure(upstream, options.runs)
            if options.json:
                print(json.dumps(as_json(measured), indent=1))
            else:
                print("\n".join(told(measured, *traced(upstream), options.least)))
    except starts.StartFailed as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
