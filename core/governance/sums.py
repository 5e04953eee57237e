"""What calls add up to: one value for a roll-up row, a group of a report, and its totals."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from core.contract.allowance import NANOS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.storage.tables import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Whole numbers only, so that sums are exact in any order. Money is in billionths of a US dollar."""

    calls: int = 0
    failed_calls: int = 0
    """Those that were not answered with a picture, whether they cost something or not."""
    images: int = 0
    """Pictures that were drawn."""
    possible_images: int = 0
    """Pictures that may have been drawn, and did not come."""
    text_in: int = 0
    image_in: int = 0
    image_out: int = 0
    text_out: int = 0
    nanos: int = 0
    """The whole known cost."""
    estimated_nanos: int = 0
    """The part of it that is an estimate: pictures that came without a count of their tokens."""
    possible_nanos: int = 0
    """The part of it that Azure may not bill at all: attempts whose end nobody saw."""
    possibly_billed_calls: int = 0
    """Calls with such an attempt."""
    unpriced_calls: int = 0
    """Calls of which a part has no known cost, so that the whole costs more than is said here."""

    def __add__(self, other: Sums) -> Sums:
        """Add up, field by field."""
        return Sums(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Sums)})

    def values(self) -> dict[str, Value]:
        """As values of a row; what is 0 is left out."""
        counts = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: count for name, count in counts.items() if count}

    @classmethod
    def of_values(cls, values: Mapping[str, Value]) -> Sums:
        """Read from the values of a row. What this version does not know is passed over."""
        return cls(**{each.name: _whole(values.get(each.name)) for each in fields(cls)})

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


def usd(nanos: int) -> float:
    """US dollars, for people: the number nearest to the exact one. Nothing is added up after this."""
    return nanos / NANOS


def _whole(value: Value | None) -> int:
    return value if isinstance(value, int) else 0
