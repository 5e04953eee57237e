"""The totals of calls: for a roll-up row, a line of a report, and a whole report."""

from __future__ import annotations

from operator import add, attrgetter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import fields

from core.domain.limits import NANOS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.storage.tables import Value


class Totals(Struct, frozen=True, kw_only=True):
    """Whole numbers only, so that sums are exact in any order. Money is in billionths of a US dollar."""

    calls: int = 0
    failed_calls: int = 0
    """Those that were not answered with a picture, whether they cost something or not."""
    images: int = 0
    """Pictures that were generated."""
    possible_images: int = 0
    """Pictures that may have been generated, and did not arrive."""
    text_in: int = 0
    image_in: int = 0
    image_out: int = 0
    text_out: int = 0
    nanos: int = 0
    """The whole known cost."""
    estimated_nanos: int = 0
    """The part of it that is an estimate: pictures that came without a count of their tokens."""
    possible_nanos: int = 0
    """The part of it that Azure may not bill at all: attempts whose outcome is unknown."""
    possibly_billed_calls: int = 0
    """Calls with such an attempt."""
    unpriced_calls: int = 0
    """Calls of which a part has no known cost, so that the whole costs more than is said here."""

    def __add__(self, other: Totals) -> Totals:
        """Add up, field by field."""
        return Totals(**dict(zip(_NAMES, map(add, _counts(self), _counts(other)), strict=True)))

    def values(self) -> dict[str, Value]:
        """As values of a row; what is 0 is left out."""
        return {name: count for name, count in zip(_NAMES, _counts(self), strict=True) if count}

    @classmethod
    def from_values(cls, values: Mapping[str, Value]) -> Totals:
        """Read from the values of a row. Unknown values are ignored."""
        return cls(**{name: _whole(values.get(name)) for name in _NAMES})

    def as_json(self) -> dict[str, Any]:
        """As a report shows it, money in US dollars."""
        return {
            "calls": self.calls,
            "failed_calls": self.failed_calls,
            "images": self.images,
            "possible_images": self.possible_images,
            "tokens": {
                "text_in": self.text_in,
                "image_in": self.image_in,
                "image_out": self.image_out,
                "text_out": self.text_out,
            },
            "cost_usd": usd(self.nanos),
            "estimated_usd": usd(self.estimated_nanos),
            "possibly_billed_usd": usd(self.possible_nanos),
            "possibly_billed_calls": self.possibly_billed_calls,
            "unpriced_calls": self.unpriced_calls,
        }


_NAMES: Final = tuple(each.name for each in fields(Totals))
_counts: Final[Callable[[Totals], tuple[int, ...]]] = attrgetter(*_NAMES)
"""All numbers, in the order of the fields."""


def usd(nanos: int) -> float:
    """US dollars for display: the nearest float. Nothing is added up after this."""
    return nanos / NANOS


def _whole(value: Value | None) -> int:
    return value if isinstance(value, int) else 0
