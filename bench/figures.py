"""What a run has measured, as values, and what follows from them. No I/O but reading and writing the record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

from bench.processes import Noise  # noqa: TC001 -- msgspec reads the types of Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MIB: Final = 1 << 20
MB: Final = 1_000_000
SMALL_CHARACTERS: Final = 4 * 1024
"""The base64 of an image so small that only the call itself costs."""

Figures = dict[str, float]
"""What was measured of one gateway in one round, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Several measurements of one thing: the middle one, and how far apart they are."""

    middle: float
    least: float
    most: float


def make_spread(values: Sequence[float]) -> Spread | None:
    """The median with the least and the most; None where nothing was measured."""
    return Spread(middle=median(values), least=min(values), most=max(values)) if values else None


def base64_length(size: int) -> int:
    """How many characters the base64 of `size` bytes has, padding included."""
    return 4 * math.ceil(size / 3)


def format_figure(value: float) -> str:
    """A figure with three significant digits, without a fraction from 100 on."""
    short = float(f"{value:.3g}")
    whole_digits = 1 if short == 0 else math.floor(math.log10(abs(short))) + 1
    return f"{short:,.{max(0, 3 - whole_digits) if short else 0}f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table."""

    figure: str
    title: str
    unit: str = ""
    goal: float | None = None
    is_added: bool = False
    """Whether it is what comes on top of the direct call of the same round."""
    more_is_better: bool = False
    max_ratio: float | None = 1.4
    """How many times worse a change may make it; None: it says nothing about the gateway."""

    def value(self, name: str, figures: dict[str, Figures]) -> float | None:
        """A gateway's value in one round; None where it was not measured. Direct's own value is no difference."""
        own, direct = figures.get(name, {}).get(self.figure), figures.get("direct", {}).get(self.figure)
        if not self.is_added or name == "direct":
            return own
        return None if own is None or direct is None else own - direct

    def spread(self, name: str, rounds: Sequence[dict[str, Figures]]) -> Spread | None:
        """A gateway's value over all rounds."""
        return make_spread([value for each in rounds if (value := self.value(name, each)) is not None])

    def ratio(self, name: str, baseline: str, rounds: Sequence[dict[str, Figures]]) -> Spread | None:
        """How many times worse a gateway is than another, each time in the same round; below 1 it is better."""
        found = []
        for each in rounds:
            value, base = self.value(name, each), self.value(baseline, each)
            if value and base:
                found.append(base / value if self.more_is_better else value / base)
        return make_spread(found)

    def reaches_goal(self, value: float) -> bool | None:
        """None where there is no goal."""
        if self.goal is None:
            return None
        return value >= self.goal if self.more_is_better else value <= self.goal


ROWS: Final = (
    Row(figure="latency_ms", title="added p50 at 4 KiB, 1 at a time", unit="ms", goal=1.0, is_added=True),
    Row(figure="rate", title="requests/s/core at 4 KiB, 64 at a time", goal=1000, more_is_better=True),
    Row(
        figure="throughput",
        title="throughput at 2 MiB, 8 at a time",
        unit="MB/s",
        goal=350,
        more_is_better=True,
        max_ratio=1.2,
    ),
    Row(figure="cpu_ms", title="CPU per 4 MiB answer, 8 at a time", unit="ms", goal=8, max_ratio=1.2),
    Row(figure="first_event_ms", title="added time to first event, 16 streams", unit="ms", goal=2, is_added=True),
    Row(figure="busy_first_event_ms", title="the same, 16 streams without a pause", unit="ms", is_added=True),
    Row(figure="idle_mib", title="memory idle", unit="MiB", goal=70),
    Row(figure="peak_mib", title="memory peak", unit="MiB", goal=110),
    Row(figure="start_seconds", title="start to first answer, warm", unit="s", goal=0.6),
    Row(figure="worker_import_ms", title="worker import (CPU)", unit="ms", goal=400),
    Row(figure="others_percent", title="upstream and load generator, of their core", unit="%", max_ratio=None),
)


class MemoryUse(msgspec.Struct, frozen=True, kw_only=True):
    """What images in flight take in a gateway that has just been started."""

    title: str
    calls: int
    base64_mb: float
    """The base64 in flight, in MB."""
    peak_mb: float
    """The most memory from the first byte to the last, in MB over the idle gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFormula:
    """Memory = idle + `call_mb` for each call + `factor` x 4/3 x the MB of all images in flight."""

    idle_mb: float
    call_mb: float
    factor: float

    def estimate(self, *, calls: int, image_mb: float) -> float:
        """The memory with so many calls in flight, each with so many MB of images, in MB."""
        return self.idle_mb + calls * (self.call_mb + self.factor * 4 / 3 * image_mb)


def fit_memory(measured: Sequence[MemoryUse], idle_mib: float) -> MemoryFormula:
    """The formula that no measurement exceeds; the first one is that of calls with small images."""
    small, *large = measured
    call = small.peak_mb / small.calls
    factor = max((each.peak_mb - call * each.calls) / each.base64_mb for each in large)
    return MemoryFormula(idle_mb=idle_mib * MIB / MB, call_mb=call, factor=factor)


class Record(msgspec.Struct, kw_only=True):
    """All that a run has measured, kept as JSON, so that the pages can be written again without measuring."""

    made_on: str
    """The day, in ISO form."""
    seconds: float
    """How long one measurement of a round took."""
    machine: str
    titles: dict[str, str]
    """Of each gateway, by name, in the order of the columns."""
    versions: dict[str, dict[str, str]] = {}
    """By gateway: what it is made of."""
    faults: list[str] = []
    """All that went wrong, and what was left out, one line each."""
    noise: list[Noise] = []
    rounds: list[dict[str, Figures]] = []
    memory: list[MemoryUse] = []

    def memory_formula(self) -> MemoryFormula | None:
        """The memory of this gateway; None where it was not measured."""
        idle = self.spread("idle_mib")
        return fit_memory(self.memory, idle.middle) if idle and self.memory else None

    def spread(self, figure: str, name: str = "gateway") -> Spread | None:
        """A row's value, by the name of its figure."""
        return next(row for row in ROWS if row.figure == figure).spread(name, self.rounds)

    def write(self, path: Path) -> None:
        """Write it as JSON, figures rounded to what counts."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(_round(msgspec.to_builtins(self))), indent=1) + b"\n")

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read what `write` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def _round(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _round(each) for name, each in value.items()}
    return [_round(each) for each in value] if isinstance(value, list) else value
