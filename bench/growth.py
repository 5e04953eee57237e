"""How cost grows: with the number of calls in flight, and with the size of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from bench.arithmetic import MIB, base64_length
from bench.canned import Kind
from bench.measuring import Asked, FaultsError

if TYPE_CHECKING:
    from bench.measuring import Served

Axis = Literal["callers", "characters"]
"""Along what cost grows: the calls in flight, or the size of the answer."""
IN_FLIGHT: Final = (1, 8, 64, 256)
SIZES: Final = (4 * 1024, 64 * 1024, MIB, 4 * MIB, 16 * MIB, base64_length(33_000_000))
"""Base64 characters of an answer; the last is a picture of 33 MB."""
KINDS: Final = tuple(Kind(characters=size) for size in SIZES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve, measured once."""

    contender: str
    axis: Axis
    callers: int
    characters: int
    p50_ms: float
    p99_ms: float
    rps: float
    peak_mib: float | None
    """The most memory during this measurement; None for `direct`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where on an axis a point lies; the other quantity stays at its least."""

    axis: Axis
    callers: int
    kind: Kind


PLACES: Final = (
    *(Place(axis="callers", callers=callers, kind=KINDS[0]) for callers in IN_FLIGHT),
    *(Place(axis="characters", callers=1, kind=kind) for kind in KINDS),
)


def measure_point(served: Served, place: Place, seconds: float) -> Point:
    """Measure a contender that has just been started, so that its memory is that of this place. Raises FaultsError."""
    served.measure(Asked(kind=KINDS[0], callers=8, seconds=1.0))  # to warm up
    served.tree.forget_peak()
    result = served.measure(Asked(kind=place.kind, callers=place.callers, seconds=seconds, warm_seconds=0.5)).result
    if result.latency is None:
        raise FaultsError("no call ended in time")
    return Point(
        contender=served.contender.name,
        axis=place.axis,
        callers=place.callers,
        characters=place.kind.characters,
        p50_ms=result.latency.p50,
        p99_ms=result.latency.p99,
        rps=result.calls / result.seconds,
        peak_mib=None if served.start_seconds is None else served.tree.peak_bytes() / MIB,
    )
