"""The arithmetic of the figures."""

from __future__ import annotations

import pytest

from bench.arithmetic import Spread, base64_length, percentile, rounded, spread


def test_a_spread_has_the_middle_and_both_ends() -> None:
    """Of several measurements, the median is told, with the least and the most."""
    assert Spread(middle=2.5, least=1, most=9) == spread([9, 2, 1, 3])


def test_nothing_has_no_spread() -> None:
    """What was not measured has no median."""
    assert spread([]) is None


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 2), (0.51, 3), (0.9, 4), (1.0, 4)])
def test_a_percentile_has_been_measured(share: float, expected: float) -> None:
    """A percentile is one of the values, the smallest that so many do not exceed."""
    assert expected == percentile([1, 2, 3, 4], share)


def test_nothing_has_no_percentile() -> None:
    """Asking for a percentile of no values is a mistake, and said so."""
    with pytest.raises(ValueError, match="percentile of nothing"):
        percentile([], 0.5)


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 4), (3, 4), (4, 8), (33_000_000, 44_000_000)])
def test_base64_is_four_thirds_with_padding(size: int, expected: int) -> None:
    """Each three bytes become four characters, the last ones padded."""
    assert expected == base64_length(size)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.0743, "0.0743"),
        (2.719, "2.72"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1234.5, "1,230"),
        (-3.14, "-3.14"),
    ],
)
def test_a_figure_shows_three_digits(value: float, expected: str) -> None:
    """No figure claims more than three digits that count."""
    assert expected == rounded(value)
