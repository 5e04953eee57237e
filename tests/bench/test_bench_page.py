"""From what was measured to the pages."""

# ruff: noqa: RUF001 -- the pages are for people: a multiplication sign is one

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import page, scaling
from bench.arithmetic import Spread
from bench.growth import Point
from bench.machine import Machine, Quiet
from bench.memory import CASES, Formula, Held, formula
from bench.record import Record
from bench.rows import ROWS, Row, Turn

if TYPE_CHECKING:
    from pathlib import Path

ADDED = Row(title="added", unit="ms", goal=1.0, figure="one_ms", added=True)
RATE = Row(title="rate", unit="", goal=1000, figure="many_rps", more_is_better=True)


def turn(**figures: float) -> Turn:
    """A turn with these figures."""
    return Turn(figures=figures, busy={"4 KiB, 1 at a time": (0.95, 0.04, 0.03)})


def test_added_is_the_difference_in_the_same_round() -> None:
    """What a gateway adds is told round by round, never from two medians."""
    rounds = [
        {"direct": turn(one_ms=0.1), "gateway": turn(one_ms=1.1)},
        {"direct": turn(one_ms=5.0), "gateway": turn(one_ms=5.5)},
    ]
    assert Spread(middle=0.75, least=0.5, most=1.0) == ADDED.spread("gateway", rounds)
    assert Spread(middle=2.55, least=0.1, most=5.0) == ADDED.spread("direct", rounds)


def test_without_direct_nothing_is_added() -> None:
    """Where the direct call was not measured, there is no difference to tell."""
    assert ADDED.spread("gateway", [{"gateway": turn(one_ms=1.1)}]) is None
    assert ADDED.spread("gateway", [{"direct": turn(), "gateway": turn(one_ms=1.1)}]) is None


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [
        (ADDED, 1.0, True),
        (ADDED, 1.1, False),
        (RATE, 1000, True),
        (RATE, 999, False),
        (replace(RATE, goal=None), 1, None),
    ],
)
def test_a_goal_has_a_direction(row: Row, value: float, expected: bool | None) -> None:
    """More requests and less time reach a goal; without one there is nothing to reach."""
    assert expected is row.is_reached(value)


def held(index: int, *, per_base64: float, each_call: float = 0.0) -> Held:
    """A case in which every byte of base64 took so much, and every call so many MB besides."""
    case = CASES[index]
    size = round(case.base64_mb * per_base64 + case.callers * each_call, 2)
    return Held(case=case, held_mb=size, peak_mb=size)


def test_no_case_exceeds_the_formula() -> None:
    """The constants are those of the worst case, so that the formula is an upper bound of all of them."""
    measured = [held(0, per_base64=0, each_call=0.1), held(1, per_base64=1.02), held(9, per_base64=1.3, each_call=0.1)]
    found = formula(measured, idle_mib=50)
    assert (52.4288, 0.1) == (found.idle_mb, found.call_mb)
    assert pytest.approx(1.3) == found.factor
    for each in measured:
        whole = found.at(calls=each.case.callers, picture_mb=each.case.images * each.case.picture_bytes / 1e6)
        assert whole - found.idle_mb >= each.peak_mb - 0.001


def test_a_formula_needs_small_and_large_cases() -> None:
    """One kind of case cannot tell a call's share from a picture's."""
    with pytest.raises(ValueError, match="small pictures and with large ones"):
        formula([held(1, per_base64=1)], idle_mib=50)


def test_instances_follow_from_littles_law() -> None:
    """As many calls are in flight as come in the time that one takes; 64 fit one instance."""
    instance = scaling.Instance(formula=Formula(idle_mb=50, call_mb=0, factor=0.75))
    assert [1, 2] == [instance.needed(64 / scaling.DRAWING_SECONDS), instance.needed(64.1 / scaling.DRAWING_SECONDS)]
    assert int((instance.usable_mb - 50) / 10) == instance.most_calls(10)


@pytest.fixture
def record() -> Record:
    """A short run, in which one contender could not be installed and one step went wrong."""
    figures = {row.figure: 3.0 for row in ROWS}
    peer = Turn(figures={**figures, "one_ms": 20.0}, faults={"2 MiB, 8 at a time": "LiteLLM: no call ended in time"})
    return Record(
        made_on="2026-11-22",
        seconds=3.0,
        machine=Machine(
            processor="Abacus", cores=2, threads_of_one_core=False, memory_gib=24, system="Linux 6.1", python="3.13.0"
        ),
        pinned=True,
        versions={"direct": {}, "gateway": {"python": "3.13.0"}, "litellm": {"litellm": "1.106.2"}},
        left_out={"portkey": "there is no npm"},
        quiet=[
            Quiet(work_ms=10.0, others_cores=0.0, stolen_seconds=1.0),
            Quiet(work_ms=11.0, others_cores=0.25, stolen_seconds=1.5),
        ],
        rounds=[{"direct": turn(one_ms=0.1, many_rps=20_000), "gateway": turn(**figures), "litellm": peer}],
        growth=[
            Point(
                contender="gateway", axis="callers", callers=8, characters=4096, p50_ms=5, p99_ms=6, rps=99, peak_mib=61
            )
        ],
        memory=[held(0, per_base64=0, each_call=0.1), held(1, per_base64=1.02)],
        imports={"python": "3.13.0", "worker_import_cpu_ms": {"median": 334.0, "spread": [314.0, 340.0]}},
    )


def test_a_record_is_kept_whole(record: Record, tmp_path: Path) -> None:
    """What was written is read again as it was."""
    record.write(tmp_path / "docs" / "performance.json")
    assert record == Record.read(tmp_path / "docs" / "performance.json")


@pytest.mark.parametrize(
    "line",
    [
        "| added p50 at 4 KiB, 1 at a time (ms) | ≤ 1 ms | (0.100) | **2.90** ✗ | 19.9 |",
        "| start to first answer, warm (s) | ≤ 0.6 s |  | **3.00** ✗ | 3.00 |",
        "| worker import on Python 3.13.0 (CPU ms) | ≤ 450 ms |  | **334 <sub>314–340</sub>** ✓ |  |",
        "Portkey was left out: there is no npm",
        "| 4 KiB, 1 at a time | 95 · 7 | – |",
        "| 8 in flight, 4 KiB | 5.00 · 61.0 |",
        "Went wrong: round 1, litellm, 2 MiB, 8 at a time: LiteLLM: no call ended in time",
        "| 16 × JSON, 4 MB, upstream still sends | 85.3 | 87.0 | 87.0 | 1.02 |",
    ],
)
def test_the_page_tells_what_was_measured(record: Record, line: str) -> None:
    """Figures, goals reached or not, what is missing and what went wrong all stand in the page."""
    assert line in "\n".join(page.performance(record)).split("\n")


def test_other_clients_are_told_where_they_were_measured(record: Record) -> None:
    """The comparison stands in the page where there is one, with the conditions that it was made under."""
    found = {
        "made_on": "2026-11-28",
        "rounds": 3,
        "seconds": 2.0,
        "versions": {"python": "3.13.0", "httpx": "0.28.1"},
        "work_ms": [17.0, 19.5],
        "others_cores": 0.02,
        "rows": [{"title": "requests/s/core", "values": {"ours": 1700.0, "httpx": 300.0}}],
        "import_ms": {"ours": 1.5, "httpx": 90.0},
    }
    lines = "\n".join(page.performance(record, found)).split("\n")
    assert "|  | ours | httpx, keeps 20 (its default) |" in lines
    assert "| requests/s/core | 1,700 | 300 |" in lines
    assert "| to import and make it, beside the gateway (CPU ms) | 1.50 | 90.0 |" in lines
    assert "## Why a connection of our own" not in "\n".join(page.performance(record))


def test_scaling_is_told_from_the_figures(record: Record) -> None:
    """The arithmetic on Azure uses the measured cost; without it there is no such page."""
    assert "costs 3.00 ms of CPU: 1.60 × 3.00 ms = 4.80 ms a second" in (scaling.page(record) or "")
    record.memory.clear()
    assert scaling.page(record) is None
