"""`python -m bench.pages`: the figures of docs/performance.md and docs/scaling.md anew, from docs/performance.json.

The pages are text like any other. What stands between `<!-- figures: NAME -->` and `<!-- end -->` is written here.
"""

# ruff: noqa: RUF001 -- the text is for people: a multiplication sign is one

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from bench.figures import MB, MIB, ROWS, MemoryFormula, Record, Row, Spread, format_figure
from bench.processes import ROOT
from bench.rounds import make_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

RECORD: Final = ROOT / "docs" / "performance.json"
_BLOCK: Final = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

# What docs/scaling.md reckons with, and says where it is from.
USABLE_MB: Final = 2048 * MIB / MB * 0.8
CONCURRENCY: Final = 64
DRAWING_SECONDS: Final = 40
PER_SECOND: Final = 1_000_000 / 86_400
BUSIEST: Final = 3
IMAGE_MB: Final = 2.0
CALLS: Final = (
    # what a call asks for, and the MB of all its images
    ("1024², 2 MB", IMAGE_MB),
    ("1024², n = 4", 4 * IMAGE_MB),
    ("1024², n = 10", 10 * IMAGE_MB),
    ("4K, 25 MB (33 MB of base64)", 24.75),
)


class NotMeasured(Exception):
    """A figure is missing that others follow from."""


def write(record: Record, folder: Path) -> None:
    """Write the figures into both pages."""
    for name in ("performance.md", "scaling.md"):
        path = folder / name
        path.write_text(fill(path.read_text(), record))


def fill(text: str, record: Record) -> str:
    """Put the figures into a page. Raises KeyError for a block that nobody knows."""

    def replace(found: re.Match[str]) -> str:
        try:
            lines = [*_BLOCKS[found[2]](record)]
        except NotMeasured as why:
            lines = [f"{why}."]
        return "\n".join([found[1], *lines, "", found[3]])

    return _BLOCK.sub(replace, text)


def make_table(record: Record) -> Iterator[str]:
    """The figures of all gateways, each with its spread; those of this one with its goal."""
    lines = [
        [_title(row), _goal(row), *(_cell(row, name, row.spread(name, record.rounds)) for name in record.titles)]
        for row in ROWS
    ]
    return format_table(["", "goal", *record.titles.values()], lines)


def compare(record: Record, baseline: str) -> tuple[list[str], bool]:
    """This gateway beside another checkout of it; whether no row is worse than it may be, and each was measured."""
    lines, is_good = [], True
    for row in ROWS:
        ratio = row.ratio("gateway", baseline, record.rounds)
        worse = row.max_ratio is not None and (ratio is None or ratio.middle > row.max_ratio)
        limit = "" if row.max_ratio is None else f"{row.max_ratio}{' ✗' if worse else ' ✓'}"
        lines.append(_compare_row(row, record, baseline, limit))
        is_good = is_good and not worse
    for step in make_steps(0):
        # Where the machine is busy with other work, this says more than the clock.
        row = Row(figure=f"{step.figure}:cpu", title=f"CPU per call, {step.title}", unit="ms")
        lines.append(_compare_row(row, record, baseline, ""))
    head = ["", record.titles.get(baseline, baseline), record.titles.get("gateway", "gateway"), "times worse", "limit"]
    return [*format_table(head, lines)], is_good


def _compare_row(row: Row, record: Record, baseline: str, limit: str) -> list[str]:
    values = [_spread(row.spread(name, record.rounds)) for name in (baseline, "gateway")]
    return [_title(row), *values, _spread(row.ratio("gateway", baseline, record.rounds)), limit]


def format_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown whose first column is text and the others figures."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'--:|' * (len(head) - 1)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def _title(row: Row) -> str:
    return f"{row.title} ({row.unit})" if row.unit else row.title


def _goal(row: Row) -> str:
    return "" if row.goal is None else f"{'≥' if row.more_is_better else '≤'} {row.goal:,g} {row.unit}".strip()


def _cell(row: Row, name: str, value: Spread | None) -> str:
    if name == "direct":
        return "" if value is None else f"({format_figure(value.middle)})"
    if name != "gateway" or value is None or row.goal is None:
        return _spread(value)
    return f"**{_spread(value)}** {'✓' if row.reaches_goal(value.middle) else '✗'}"


def _spread(value: Spread | None) -> str:
    if value is None:
        return "–"
    if value.least == value.most:
        return format_figure(value.middle)
    return f"{format_figure(value.middle)} <sub>{format_figure(value.least)}–{format_figure(value.most)}</sub>"


def _conditions(record: Record) -> Iterator[str]:
    yield f"{record.made_on}, {len(record.rounds)} rounds with {format_figure(record.seconds)} s for each measurement."
    yield f"{record.machine}.\n"
    for name, title in record.titles.items():
        if versions := record.versions.get(name):
            yield f"- {title}: {', '.join(f'{package} {version}' for package, version in versions.items())}"
    if record.noise:
        loops = [each.loop_ms for each in record.noise]
        yield (
            f"\nNoise, measured before each round: the same loop took {format_figure(min(loops))} to "
            f"{format_figure(max(loops))} ms on the gateway's core,\nand other programs kept up to "
            f"{max(each.others_cores for each in record.noise):.2f} cores busy."
        )
    for fault in record.faults:
        yield f"\nWent wrong: {fault}"


def _formula(record: Record) -> MemoryFormula:
    if (found := record.memory_formula()) is None:
        raise NotMeasured("The memory was not measured")
    return found


def _memory(record: Record) -> Iterator[str]:
    found = _formula(record)
    call, factor = format_figure(found.call_mb), f"{found.factor:.2f}"
    idle = format_figure(found.idle_mb)
    yield f"memory in MB ≤ {idle} + {call} × calls in flight + {factor} × 4/3 × MB of all images in flight\n"
    lines = [
        [use.title, *map(format_figure, (use.base64_mb, use.peak_mb)), f"{use.peak_mb / use.base64_mb:.2f}"]
        for use in record.memory
    ]
    yield from format_table(["in flight", "base64, MB", "peak, MB", "peak / base64"], lines)


def _instance(record: Record) -> Iterator[str]:
    """What fits into the memory of one instance."""
    formula = _formula(record)
    idle, call = format_figure(formula.idle_mb), format_figure(formula.call_mb)
    yield f"    MB = {idle} + calls × ({call} + {formula.factor:.2f} × 4/3 × MB of the images of one call)\n"
    lines = []
    for title, image_mb in CALLS:
        needs = [formula.estimate(calls=count, image_mb=image_mb) for count in (32, 64, 100)]
        each = formula.estimate(calls=1, image_mb=image_mb) - formula.idle_mb
        cells = [f"{format_figure(need)}{'' if need <= USABLE_MB else ' ✗'}" for need in needs]
        lines.append([title, *cells, f"{int((USABLE_MB - formula.idle_mb) / each):,}"])
    yield from format_table(["MB, with", "32 calls", "64 calls", "100 calls", "most calls at once"], lines)


def _cpu_ms(record: Record) -> float:
    if (found := record.spread("cpu_ms")) is None:
        raise NotMeasured("The CPU time of an answer was not measured")
    return found.middle


def _processor(record: Record) -> Iterator[str]:
    cpu, rate = _cpu_ms(record), record.spread("rate")
    ends = CONCURRENCY / DRAWING_SECONDS
    lines = [
        [f"calls that end a second: {CONCURRENCY} / {DRAWING_SECONDS}", format_figure(ends)],
        [f"their CPU, a second: {format_figure(ends)} × {format_figure(cpu)} ms", f"{format_figure(ends * cpu)} ms"],
        ["of one core", f"{ends * cpu / 1000:.1%}"],
        [f"answers of 4 MiB a second that fill it: 1000 / {format_figure(cpu)}", format_figure(1000 / cpu)],
        ["small answers a second that fill it, such as errors", format_figure(rate.middle) if rate else "–"],
    ]
    yield from format_table(["", "one instance"], lines)


def count_instances(per_second: float) -> int:
    """How many instances carry so many calls a second (Little's law: in flight = rate x time)."""
    return math.ceil(per_second * DRAWING_SECONDS / CONCURRENCY)


def _day(record: Record) -> Iterator[str]:
    cpu = _cpu_ms(record)
    rates = (PER_SECOND, PER_SECOND * BUSIEST)
    lines = [
        [title, *(format_figure(rate * factor) for rate in rates)]
        for title, factor in (
            ("images a second", 1.0),
            (f"in flight, at {DRAWING_SECONDS} s each", DRAWING_SECONDS),
            (f"cores, at {format_figure(cpu)} ms of CPU each", cpu / 1000),
            (f"MB/s from upstream, and again to callers, at 4/3 × {IMAGE_MB:g} MB each", IMAGE_MB * 4 / 3),
        )
    ]
    counts = [count_instances(rate) for rate in rates]
    lines.append([f"**instances**, at {CONCURRENCY} calls each", *(f"**{count}**" for count in counts)])
    lines.append(
        ["images that one of them ends a second", *(format_figure(r / c) for r, c in zip(rates, counts, strict=True))]
    )
    worst = format_figure(_formula(record).estimate(calls=CONCURRENCY, image_mb=IMAGE_MB))
    lines.append([f"MB of one of them with all {CONCURRENCY} images in flight at once", worst, worst])
    yield from format_table(["", "the day's mean", "busiest hour"], lines)


_BLOCKS: Final[dict[str, Callable[[Record], Iterator[str]]]] = {
    "table": make_table,
    "conditions": _conditions,
    "memory": _memory,
    "instance": _instance,
    "processor": _processor,
    "day": _day,
}


if __name__ == "__main__":
    write(Record.read(RECORD), ROOT / "docs")
