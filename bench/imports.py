"""`python -m bench.imports`: what a cold start costs, and which imports take it.

bench.starts says what is measured. It needs Python 3.13 or later, where Microsoft's worker is a library.

Which imports take it is what `-X importtime` tells. It does not tell of modules that are imported by their name
(function_app, by the worker): what such a module imports stands at the top. Its times are of the clock, and higher for
being taken: they are good for comparing modules with each other.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench import starts
from bench.cold_start import MARK
from bench.figures import make_spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.starts import Start

PYTHON: Final = "Python's own"
_LINE: Final = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| ( *)(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One line of the report: a module stands below those that it was the first to import, which are deeper."""

    name: str
    depth: int
    self_us: int
    """Microseconds without what it imported."""
    total_us: int


def parse_report(report: str) -> list[Import]:
    """Read what `-X importtime` wrote; other lines are passed over."""
    return [
        Import(name=found[4], depth=len(found[3]) // 2, self_us=int(found[1]), total_us=int(found[2]))
        for line in report.splitlines()
        if (found := _LINE.fullmatch(line))
    ]


def find_package(name: str) -> str:
    """The package that a module belongs to: of `azure.…` two names, and one for all that is Python's own."""
    first, *rest = name.split(".")
    if first in sys.stdlib_module_names:
        return PYTHON
    return ".".join([first, *rest[:1]]) if first in {"azure", "azurefunctions"} else first


def sum_packages(imports: Iterable[Import]) -> list[tuple[str, int, int]]:
    """What each package costs by itself, the most expensive first: its name, microseconds, modules."""
    cost: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for each in imports:
        cost[find_package(each.name)] += each.self_us
        count[find_package(each.name)] += 1
    return [(package, microseconds, count[package]) for package, microseconds in cost.most_common()]


def format_tree(imports: Sequence[Import], *, min_us: int) -> Iterator[str]:
    """Each module above those that it imported, in milliseconds with them and without, but for what costs less."""
    for each in reversed(imports):
        if each.total_us >= min_us:
            yield f"{each.total_us / 1000:8.1f} {each.self_us / 1000:7.1f}  {'  ' * each.depth}{each.name}"


def _format_costs(smallest: Sequence[Start], gateway: Sequence[Start]) -> Iterator[str]:
    answered = [(each.answered, each.listening) for each in gateway if each.answered]
    last = gateway[-1].listening.modules
    for title, times, modules in (
        ("smallest app", [each.listening.cpu_ms for each in smallest], smallest[-1].listening.modules),
        ("worker import", [each.listening.cpu_ms for each in gateway], last),
        ("first answer", [end.cpu_ms - start.cpu_ms for end, start in answered], answered[-1][0].modules - last),
    ):
        if found := make_spread(times):
            spread = f"({found.least:.0f} to {found.most:.0f})"
            yield f"  {title:14} {found.middle:6.0f}  {spread}  {len(modules):4} modules"


def report(upstream: str, *, runs: int, min_ms: float) -> Iterator[str]:
    """Measure, and tell. Raises StartFailed."""
    smallest, gateway = [], []
    for _ in range(runs + 1):
        smallest.append(starts.start(starts.SMALLEST_APP))
        gateway.append(starts.start(starts.ROOT, upstream=upstream))
    yield f"CPU ms on Python {platform.python_version()}: median of {runs} starts (least to most)"
    yield from _format_costs(smallest[1:], gateway[1:])  # the first ones write byte code and warm the disk's cache
    said = starts.start(starts.ROOT, upstream=upstream, options=["-X", "importtime"]).said
    before, after = map(parse_report, said.split(f"\n{MARK}\n", 1))
    yield from ("", "By package, without what it imports (clock ms, traced, which is slower; modules)")
    for package, microseconds, count in sum_packages(before):
        if microseconds >= min_ms * 1000:
            yield f"{microseconds / 1000:8.1f}  {count:4}  {package}"
    yield from ("", "Until it listens (clock ms, traced: with what it imports; without)")
    yield from format_tree(before, min_us=round(min_ms * 1000))
    yield from ("", "From there to the first answer")
    yield from format_tree(after, min_us=round(min_ms * 1000))


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.imports",
        description=starts.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=9, help="how many starts (default: %(default)s)")
    parser.add_argument("--least", type=float, default=2.0, metavar="MS", help="leave out what costs less")
    options = parser.parse_args()
    try:
        with starts.run_emulator() as upstream:
            for line in report(upstream, runs=options.runs, min_ms=options.least):
                print(line)
    except starts.StartFailed as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
