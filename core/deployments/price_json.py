"""A deployment's own price, as the catalogue's JSON has it: US dollars, for each picture or per million tokens.

    {"per_image": 0.04}
    {"text_in": 5, "image_in": 8, "image_out": 30, "as_of": "2026-11-01", "source": "contract 4711"}

A kind of token that has no price would be free without anybody having said so; so all three are given, 0 included.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 -- pydantic reads the annotations
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from core.deployments.prices import Price, per_image, per_million

MOST_USD: Final = 100_000

_LEGAL: Final = "give either per_image, or text_in, image_in and image_out (and text_out, where it is another)"
_Usd = Annotated[Decimal, Field(ge=0, le=MOST_USD, max_digits=18, decimal_places=12)]


class PriceForm(BaseModel):
    """A price. When and where it was looked up is for people, and shown with what it was used for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)

    per_image: _Usd | None = None
    text_in: _Usd | None = None
    image_in: _Usd | None = None
    image_out: _Usd | None = None
    text_out: _Usd | None = None
    """Left out: as `image_out`."""
    cached_text_in: _Usd | None = None
    """Of input tokens from upstream's cache. Left out: as `text_in`."""
    cached_image_in: _Usd | None = None
    as_of: dt.date | None = None
    source: Annotated[str, StringConstraints(max_length=256)] | None = None

    @model_validator(mode="after")
    def _checked(self) -> PriceForm:
        self.price()
        return self

    @property
    def _is_per_image(self) -> bool:
        return self.text_out is None and self.cached_text_in is None and self.cached_image_in is None

    def price(self) -> Price:
        """The same as a value. Raises PydanticCustomError for both kinds of price at once, and for half of one."""
        match (self.per_image, self.text_in, self.image_in, self.image_out):
            case (Decimal() as image, None, None, None) if self._is_per_image:
                return per_image(image, as_of=self.as_of, source=self.source)
            case (None, Decimal() as text_in, Decimal() as image_in, Decimal() as image_out):
                return per_million(
                    text_in,
                    image_in,
                    image_out,
                    text_out=self.text_out,
                    cached_text_in=self.cached_text_in,
                    cached_image_in=self.cached_image_in,
                    as_of=self.as_of,
                    source=self.source,
                )
        raise PydanticCustomError("incomplete_price", _LEGAL)
