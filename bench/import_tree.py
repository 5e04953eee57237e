"""What `python -X importtime` reports, as a tree. Pure: text in, values out.

Each line is `import time: self [us] | cumulative | name`; a module stands below those that it imported, which are
indented by two more spaces (Python's documentation, "Command line and environment", `-X importtime`). Times are of the
clock, and timing an import makes it slower: what they are good for is comparing modules with each other.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PYTHON: Final = "Python's own"

_LINE: Final = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| ( *)(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """An imported module and what it was the first to import."""

    name: str
    self_us: int
    """Microseconds without what it imported."""
    total_us: int
    imported: tuple[Module, ...] = ()

    def all(self) -> Iterator[Module]:
        """Itself and all below it."""
        yield self
        for module in self.imported:
            yield from module.all()


def parsed(report: str) -> list[Module]:
    """Read a report; lines that are none of it are passed over."""
    waiting: list[tuple[int, Module]] = []  # those whose importer has not come yet, each deeper one before it
    for line in report.splitlines():
        if not (found := _LINE.fullmatch(line)):
            continue
        depth = len(found[3])
        first = len(waiting)
        while first and waiting[first - 1][0] > depth:
            first -= 1
        imported = tuple(module for _, module in waiting[first:])
        module = Module(name=found[4], self_us=int(found[1]), total_us=int(found[2]), imported=imported)
        waiting[first:] = [(depth, module)]
    return [module for _, module in waiting]


def package_of(name: str) -> str:
    """The package that a module belongs to, for people: of `azure.…` two names, and one for all that is Python's."""
    first, *rest = name.split(".")
    if first in sys.stdlib_module_names:
        return PYTHON
    return ".".join([first, *rest[:1]]) if first in {"azure", "azurefunctions"} else first


def by_package(modules: Iterable[Module]) -> list[tuple[str, int, int]]:
    """What each package costs by itself, the dearest first: its name, microseconds, modules."""
    cost: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for root in modules:
        for module in root.all():
            cost[package_of(module.name)] += module.self_us
            count[package_of(module.name)] += 1
    return [(package, microseconds, count[package]) for package, microseconds in cost.most_common()]


def lines_of(modules: Iterable[Module], *, least_us: int, depth: int = 0) -> Iterator[str]:
    """The tree for people: the dearest first, in milliseconds, without what costs less than `least_us`."""
    for module in sorted(modules, key=lambda each: -each.total_us):
        if module.total_us < least_us:
            return
        yield f"{module.total_us / 1000:8.1f} {module.self_us / 1000:7.1f}  {'  ' * depth}{module.name}"
        yield from lines_of(module.imported, least_us=least_us, depth=depth + 1)
