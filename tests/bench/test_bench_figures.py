"""From what was measured to the pages."""

# ruff: noqa: RUF001 -- the pages are for people: a multiplication sign is one

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import pages
from bench.figures import ROWS, MemoryFormula, MemoryUse, Record, Row, Spread, base64_length, fit_memory, format_figure
from bench.processes import Noise

if TYPE_CHECKING:
    from pathlib import Path

ADDED = Row(figure="ms", title="added", unit="ms", goal=1.0, is_added=True)
RATE = Row(figure="rate", title="rate", goal=1000, more_is_better=True)


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 4), (3, 4), (4, 8), (33_000_000, 44_000_000)])
def test_base64_is_four_thirds_with_padding(size: int, expected: int) -> None:
    """Each three bytes become four characters, the last ones padded."""
    assert expected == base64_length(size)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.0743, "0.0743"), (2.719, "2.72"), (99.96, "100"), (1234.5, "1,230"), (-3.14, "-3.14")],
)
def test_a_figure_shows_three_digits(value: float, expected: str) -> None:
    """No figure claims more than three significant digits."""
    assert expected == format_figure(value)


def test_added_is_the_difference_in_the_same_round() -> None:
    """What a gateway adds is told round by round, never from two medians."""
    rounds = [{"direct": {"ms": 0.1}, "gateway": {"ms": 1.1}}, {"direct": {"ms": 5.0}, "gateway": {"ms": 5.5}}]
    assert Spread(middle=0.75, least=0.5, most=1.0) == ADDED.spread("gateway", rounds)
    assert Spread(middle=2.55, least=0.1, most=5.0) == ADDED.spread("direct", rounds)


def test_without_direct_nothing_is_added() -> None:
    """Where the direct call was not measured, there is no difference to tell."""
    assert ADDED.spread("gateway", [{"gateway": {"ms": 1.1}}]) is None


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
    assert expected is row.reaches_goal(value)


def test_a_checkout_is_compared_in_the_same_round() -> None:
    """A ratio above 1 is worse, whether less or more is better, and what is added is compared without the rest."""
    rounds = [
        {"direct": {"ms": 1.0}, "old": {"ms": 2.0, "rate": 100.0}, "gateway": {"ms": 3.0, "rate": 50.0}},
        {"direct": {"ms": 1.0}, "old": {"ms": 2.0, "rate": 100.0}, "gateway": {"ms": 1.5, "rate": 200.0}},
    ]
    assert Spread(middle=1.25, least=0.5, most=2.0) == ADDED.ratio("gateway", "old", rounds)
    assert Spread(middle=1.25, least=0.5, most=2.0) == RATE.ratio("gateway", "old", rounds)
    assert RATE.ratio("gateway", "older", rounds) is None


@pytest.mark.parametrize(("worse", "is_good"), [(1.0, True), (1.19, True), (1.21, False)])
def test_no_row_may_be_much_worse(record: Record, worse: float, is_good: bool) -> None:
    """A row that is worse than its limit is marked, and spoils the comparison."""
    record.rounds[0]["gateway"] = {**record.rounds[0]["old"], "cpu_ms": 3.0 * worse}
    lines, found = pages.compare(record, "old")
    assert is_good is found
    mark = "✓" if is_good else "✗"
    assert f"| CPU per 4 MiB answer, 8 at a time (ms) | 3.00 | {3 * worse:.2f} | {worse:.2f} | 1.2 {mark} |" in lines


def test_what_was_not_measured_is_not_good(record: Record) -> None:
    """A row without a figure spoils the comparison."""
    assert pages.compare(record, "old")[1]
    del record.rounds[0]["gateway"]["rate"]
    assert not pages.compare(record, "old")[1]


SMALL_USE = MemoryUse(title="100 × JSON, small", calls=100, base64_mb=0.4, peak_mb=10)
LARGE_USE = MemoryUse(title="16 × JSON, 4 MB", calls=16, base64_mb=85.3, peak_mb=87)


def test_no_case_exceeds_the_formula() -> None:
    """The constants are those of the worst case, so that the formula is an upper bound of all of them."""
    worst = MemoryUse(title="4 × stream, 33 MB", calls=4, base64_mb=176, peak_mb=176 * 1.3 + 0.4)
    found = fit_memory([SMALL_USE, LARGE_USE, worst], idle_mib=50)
    assert (52.4288, 0.1) == (found.idle_mb, found.call_mb)
    assert pytest.approx(1.3) == found.factor
    for use in (SMALL_USE, LARGE_USE, worst):
        whole = found.estimate(calls=use.calls, image_mb=use.base64_mb / use.calls * 3 / 4)
        assert whole - found.idle_mb >= use.peak_mb - 0.001


def test_instances_follow_from_littles_law() -> None:
    """As many calls are in flight as come in the time that one takes; 64 fit one instance."""
    full = pages.CONCURRENCY / pages.DRAWING_SECONDS
    assert [1, 2] == [pages.count_instances(full), pages.count_instances(full + 0.1)]
    formula = MemoryFormula(idle_mb=50, call_mb=1, factor=0.75)
    assert formula.estimate(calls=10, image_mb=2) == 50 + 10 * (1 + 2)


@pytest.fixture
def record() -> Record:
    """A short run, in which one gateway could not be installed and one step went wrong."""
    figures = {row.figure: 3.0 for row in ROWS}
    return Record(
        made_on="2026-11-22",
        seconds=3.0,
        machine="2 cores of an Abacus",
        titles={"direct": "direct", "gateway": "this gateway", "litellm": "LiteLLM"},
        versions={"gateway": {"python": "3.13.0", "orjson": "3.11.0"}},
        faults=["Portkey was left out: there is no npm"],
        noise=[Noise(loop_ms=10.0, others_cores=0.0), Noise(loop_ms=11.0, others_cores=0.25)],
        rounds=[
            {
                "direct": {"latency_ms": 0.1, "first_event_ms": 1.0, "busy_first_event_ms": 1.0},
                "gateway": {**figures},
                "old": {**figures},
                "litellm": {"latency_ms": 20.0},
            }
        ],
        memory=[SMALL_USE, LARGE_USE],
    )


def test_a_record_is_kept_whole(record: Record, tmp_path: Path) -> None:
    """What was written is read again as it was."""
    record.write(tmp_path / "docs" / "performance.json")
    assert record == Record.read(tmp_path / "docs" / "performance.json")


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ("table", "| added p50 at 4 KiB, 1 at a time (ms) | ≤ 1 ms | (0.100) | **2.90** ✗ | 19.9 |"),
        ("table", "| start to first answer, warm (s) | ≤ 0.6 s |  | **3.00** ✗ | – |"),
        ("conditions", "- this gateway: python 3.13.0, orjson 3.11.0"),
        ("conditions", "Went wrong: Portkey was left out: there is no npm"),
        ("memory", "| 16 × JSON, 4 MB | 85.3 | 87.0 | 1.02 |"),
        ("processor", "| their CPU, a second: 1.60 × 3.00 ms | 4.80 ms |"),
        ("day", "| **instances**, at 64 calls each | **8** | **22** |"),
        ("instance", "| 1024², 2 MB | 91.8 | 180 | 280 | 619 |"),
    ],
)
def test_the_pages_tell_what_was_measured(record: Record, block: str, line: str) -> None:
    """Figures, goals reached or not, what is missing and what went wrong all stand between the marks of a page."""
    text = pages.fill(f"Words.\n<!-- figures: {block} -->\nold\n<!-- end -->\nMore words.\n", record)
    assert text.startswith(f"Words.\n<!-- figures: {block} -->\n\n")
    assert text.endswith("\n\n<!-- end -->\nMore words.\n")
    assert line in text.split("\n")
    assert "old" not in text
    assert text == pages.fill(text, record)


def test_what_is_missing_is_told(record: Record) -> None:
    """Where a figure was not measured that others follow from, the page says so."""
    record.memory.clear()
    text = pages.fill("<!-- figures: instance -->\nold\n<!-- end -->", record)
    assert text == "<!-- figures: instance -->\n\nThe memory was not measured.\n\n<!-- end -->"


def test_the_pages_of_this_project_are_filled() -> None:
    """What stands in the pages is what was measured."""
    record = Record.read(pages.RECORD)
    for name in ("performance.md", "scaling.md"):
        text = (pages.RECORD.parent / name).read_text()
        assert text == pages.fill(text, record)
