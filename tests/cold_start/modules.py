"""What a cold start imports, as the list `modules.txt` has it; `python -m tests.cold_start.modules` makes it anew.

Counted is what the gateway imports beyond the smallest app there is, so that neither Microsoft's library nor the
Python that runs it is on the list. Our own modules are listed by their names. Of others the number counts, for each
package, and may grow a little: a new version of a package is not ours to answer for, a new package is.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import starts
from tools.packing import APP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bench.starts import Start

LIST: Final = Path(__file__).parent / "modules.txt"
OURS: Final = frozenset(name.removesuffix(".py") for name in APP)
LISTENING: Final = "until the server listens"
ANSWERED: Final = "from there to the first answer"
_SHARED: Final = frozenset({"azure", "azurefunctions"})
"""Names under which several packages live."""
_MADE_UP: Final = "cython_runtime"
_PYTHON: Final = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imports:
    """What was imported between two moments."""

    own: frozenset[str]
    packages: Mapping[str, int]
    """The numbers of modules of all other packages, Python's own public ones included."""

    def grown_beyond(self, listed: Imports, *, same_python: bool) -> list[str]:
        """What was not to be expected from a list, one line each."""
        lines = [f"{name}: new" for name in sorted(self.own - listed.own)]
        for name, count in sorted(self.packages.items()):
            if name in sys.stdlib_module_names and not same_python:
                continue
            known = listed.packages.get(name, 0)
            if known == 0:
                lines.append(f"{name}: new, {count} modules")
            elif count > known + max(3, known // 5):
                lines.append(f"{name}: {count} modules, {known} listed")
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The list."""

    python: str
    """The Python whose own modules it has."""
    listening: Imports
    answered: Imports


def imports_of(modules: Iterable[str]) -> Imports:
    """Sort modules into ours and others'. Private ones are left out, and those that Cython makes up."""
    own = set()
    packages: Counter[str] = Counter()
    for module in modules:
        first, *rest = module.split(".")
        if first in OURS:
            own.add(module)
        elif not first.startswith("_") and first != _MADE_UP:
            packages[".".join([first, *rest[:1]]) if first in _SHARED else first] += 1
    return Imports(own=frozenset(own), packages=packages)


def listing_of(floor: Start, gateway: Start) -> Listing:
    """What one start of the gateway imported beyond one of the smallest app."""
    answered = gateway.answered or gateway.listening
    return Listing(
        python=this_python(),
        listening=imports_of(gateway.listening.modules - floor.listening.modules),
        answered=imports_of(answered.modules - gateway.listening.modules - floor.listening.modules),
    )


def this_python() -> str:
    """The minor version that runs."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def read(text: str) -> Listing:
    """Read a list."""
    python, heading = "", ""
    own: dict[str, set[str]] = {LISTENING: set(), ANSWERED: set()}
    packages: dict[str, dict[str, int]] = {LISTENING: {}, ANSWERED: {}}
    for line in text.splitlines():
        name, _, count = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        if not line.startswith(" "):
            heading = line
            python = count if name == _PYTHON else python
        elif count:
            packages[heading][name] = int(count)
        else:
            own[heading].add(name)
    found = {each: Imports(own=frozenset(own[each]), packages=packages[each]) for each in own}
    return Listing(python=python, listening=found[LISTENING], answered=found[ANSWERED])


def written(listing: Listing, head: str) -> str:
    """Write a list, below a head of comments."""
    lines = [head, f"{_PYTHON} {listing.python}"]
    for heading, imports in ((LISTENING, listing.listening), (ANSWERED, listing.answered)):
        lines += ["", heading, *_rows(imports)]
    return "\n".join(lines) + "\n"


def head_of(text: str) -> str:
    """The comments that a list begins with, and the empty line behind them."""
    return text[: text.index(f"\n{_PYTHON} ") + 1].rstrip("\n") + "\n"


def _rows(imports: Imports) -> Iterator[str]:
    yield from (f"  {name}" for name in sorted(imports.own))
    yield from (f"  {name} {count}" for name, count in sorted(imports.packages.items()))


def main() -> None:
    """Write the list anew to stdout, with the head that it has."""
    head = head_of(LIST.read_text(encoding="utf-8"))
    floor = starts.start(starts.SMALLEST_APP)
    with starts.run_emulator() as upstream:
        gateway = starts.start(starts.ROOT, upstream=upstream)
    sys.stdout.write(written(listing_of(floor, gateway), head))


if __name__ == "__main__":
    main()
