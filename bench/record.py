"""All that a run has measured, kept as JSON, so that page and pictures can be made again without measuring."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bench.growth import Point
from bench.machine import Machine, Quiet
from bench.memory import Case, Formula, Held, formula
from bench.rows import ROWS, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.arithmetic import Spread


@dataclass(slots=True, kw_only=True)
class Record:
    """What has been measured so far."""

    made_on: str
    """The day, in ISO form."""
    seconds: float
    """How long one measurement of a round took."""
    machine: Machine
    pinned: bool
    """Whether the gateway had a core to itself."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """By contender: what it is made of."""
    left_out: dict[str, str] = field(default_factory=dict)
    """By contender: why it was not measured."""
    quiet: list[Quiet] = field(default_factory=list)
    rounds: list[dict[str, Turn]] = field(default_factory=list)
    growth: list[Point] = field(default_factory=list)
    growth_faults: dict[str, dict[str, str]] = field(default_factory=dict)
    memory: list[Held] = field(default_factory=list)
    imports: dict[str, Any] = field(default_factory=dict)
    """What `python -m bench.imports --json` said; empty where it could not be asked."""

    def contenders(self) -> list[str]:
        """Those with figures, in the order in which they were measured."""
        return list(dict.fromkeys(name for each in self.rounds for name in each))

    def row(self, figure: str, contender: str) -> Spread | None:
        """A row's value, by the name of its figure."""
        row = next(row for row in ROWS if row.figure == figure)
        return row.spread(contender, self.rounds)

    def formula(self) -> Formula | None:
        """The memory of the gateway as a formula; None where it was not measured."""
        idle = self.row("idle_mib", "gateway")
        return None if idle is None or not self.memory else formula(self.memory, idle.middle)

    def faults(self) -> Iterable[str]:
        """All that went wrong, one line each."""
        for number, each in enumerate(self.rounds, 1):
            for name, turn in each.items():
                for step, fault in turn.faults.items():
                    yield f"round {number}, {name}, {step}: {fault}"
        for name, faults in self.growth_faults.items():
            for what, fault in faults.items():
                yield f"growth, {name}, {what}: {fault}"

    def write(self, path: Path) -> None:
        """Write it as JSON, figures rounded to what counts."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_rounded(asdict(self)), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        said = json.loads(path.read_text())
        return cls(
            **{
                **said,
                "machine": Machine(**said["machine"]),
                "quiet": [Quiet(**each) for each in said["quiet"]],
                "rounds": [{name: _turn(turn) for name, turn in each.items()} for each in said["rounds"]],
                "growth": [Point(**each) for each in said["growth"]],
                "memory": [Held(**{**each, "case": Case(**each["case"])}) for each in said["memory"]],
            }
        )


def _turn(said: dict[str, Any]) -> Turn:
    return Turn(**{**said, "busy": {step: tuple(cores) for step, cores in said["busy"].items()}})


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
