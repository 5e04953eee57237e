"""The arithmetic of the figures. Pure functions over numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Several measurements of one thing: the middle one, and how far apart they are."""

    middle: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread | None:
    """The median with the least and the most; None where nothing was measured."""
    if not values:
        return None
    return Spread(middle=median(values), least=min(values), most=max(values))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values, given in their order, that `share` (0 to 1) of them do not exceed.

    The nearest-rank method: what comes out has been measured. Raises ValueError where there is no value.
    """
    if not ordered:
        raise ValueError("there is no percentile of nothing")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def base64_length(size: int) -> int:
    """How many characters the base64 of `size` bytes has, padding included."""
    return 4 * math.ceil(size / 3)


def rounded(value: float) -> str:
    """A figure with three digits that count, but no fraction from 100 on."""
    short = float(f"{value:.3g}")
    whole_digits = 1 if short == 0 else math.floor(math.log10(abs(short))) + 1
    return f"{short:,.{max(0, 3 - whole_digits) if short else 0}f}"
