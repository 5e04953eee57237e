"""The curves of growth, each point the median of its repetitions."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.growth import Axis, Point


def points_of(points: Sequence[Point], contender: str, axis: Axis) -> dict[int, list[Point]]:
    """A contender's points along an axis, by their place on it, in its order."""
    found: dict[int, list[Point]] = {}
    for point in points:
        if point.contender == contender and point.axis == axis:
            found.setdefault(getattr(point, axis), []).append(point)
    return dict(sorted(found.items()))


def curve(points: Sequence[Point], contender: str, axis: Axis) -> dict[int, tuple[float, float | None]]:
    """The median latency (ms) and peak memory (MiB; None for `direct`) at each place of an axis."""
    return {
        place: (median(each.p50_ms for each in found), _peak(found))
        for place, found in points_of(points, contender, axis).items()
    }


def _peak(points: Sequence[Point]) -> float | None:
    peaks = [point.peak_mib for point in points if point.peak_mib is not None]
    return median(peaks) if peaks else None
