"""What Azure takes for a picture: prices, and how many tokens one picture has where Azure did not count them.

All as data. Money is whole billionths of a US dollar (`NANOS`), so that sums are exact: a token at $5 per million costs
5,000 of them. A price that is finer than one billionth for a token is rounded up.

Sources: Microsoft's "Azure OpenAI Service pricing" and OpenAI's "API pricing" pages for prices; OpenAI's image
generation guide, "Cost and latency", for tokens; all as of November 2026.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct, field

from core.domain.limits import NANOS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.domain.tokens import Tokens

_MILLION: Final = 1_000_000
_AS_OF: Final = dt.date(2026, 11, 1)
_SOURCE: Final = "list prices: Azure OpenAI Service pricing, OpenAI API pricing"


class TokenPrice(Struct, frozen=True, kw_only=True):
    """What one token of each kind costs, in billionths of a US dollar."""

    text_in: int
    image_in: int
    image_out: int
    text_out: int
    cached_text_in: int | None = None
    """What an input token costs that upstream had in its cache; None: as much as any other."""
    cached_image_in: int | None = None
    as_of: dt.date | None = None
    """When it was looked up."""
    source: str | None = None
    """Where it stands."""

    def cost(self, tokens: Tokens) -> int:
        """What these tokens cost."""
        cached_text_in = self.text_in if self.cached_text_in is None else self.cached_text_in
        cached_image_in = self.image_in if self.cached_image_in is None else self.cached_image_in
        return (
            (tokens.text_in - tokens.cached_text_in) * self.text_in
            + tokens.cached_text_in * cached_text_in
            + (tokens.image_in - tokens.cached_image_in) * self.image_in
            + tokens.cached_image_in * cached_image_in
            + tokens.image_out * self.image_out
            + tokens.text_out * self.text_out
        )


class ImagePrice(Struct, frozen=True, kw_only=True):
    """What one picture costs, in billionths of a US dollar, whatever tokens it has."""

    nanos: int
    """What has no row of its own costs this: the highest."""
    rows: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    """By quality and size."""
    unstated: tuple[str, str] = ("", "")
    """The quality and size of a picture for which none are asked."""
    as_of: dt.date | None = None
    source: str | None = None

    def cost(self, quality: object, size: object) -> int:
        """What one picture of this quality and size costs; None: not asked for."""
        usual_quality, usual_size = self.unstated
        return self.rows.get((str(quality or usual_quality), str(size or usual_size)), self.nanos)


Price = TokenPrice | ImagePrice
Amount = str | Decimal
"""US dollars as a decimal number, exact; never a float."""


class TokenTable(Protocol):
    """How many output tokens a picture has, by size and quality. An estimate: what Azure counts goes before it."""

    def tokens(self, quality: object, size: object) -> int:
        """How many tokens a picture of this quality and size has; None: not asked for.

        `auto`, an absent value and one that is not known count as the highest.
        """
        ...


class PublishedTokens(Struct, frozen=True, kw_only=True):
    """A count for each of the sizes that there are."""

    rows: Mapping[str, Mapping[str, int]]
    """WIDTHxHEIGHT: quality: tokens."""

    def tokens(self, quality: object, size: object) -> int:
        """How many tokens a picture has."""
        row = self.rows.get(str(size))
        return max(_of_quality(each, quality) for each in ([row] if row is not None else self.rows.values()))


class TokensByFormula(Struct, frozen=True, kw_only=True):
    """Counts of the families with free sizes: by pixels, the ratio of the edges, and a number for each quality.

    With `a` of the quality, and `b` = a * short edge / long edge, rounded half up, a picture has
    a * b * (2,000,000 + width * height) / 4,000,000 tokens, rounded up. This reconstruction of OpenAI's calculator by
    its users gives the published list prices. `xhigh` and `max` of 2.5 are not known: they count as the dearest known.
    """

    edges: Mapping[str, int]
    """Quality: `a`."""

    def tokens(self, quality: object, size: object) -> int:
        """How many tokens a picture has."""
        edges = _edges(size)
        if edges is None:
            return max(self.tokens(quality, each) for each in _CHOSEN_BY_AUTO)
        short, long = min(edges), max(edges)
        a = _of_quality(self.edges, quality)
        b = (2 * a * short + long) // (2 * long)
        return ceil(Fraction(a * b * (2_000_000 + short * long), 4_000_000))


SQUARE: Final = "1024x1024"
PARTIAL_TOKENS: Final = 100
"""How many output tokens each partial image costs, about (Azure OpenAI how-to, "Streaming")."""
_CHOSEN_BY_AUTO: Final = (SQUARE, "1024x1536", "1536x1024")
"""What a size of `auto` may become (OpenAI's "Create image" reference)."""


def per_million(
    text_in: Amount,
    image_in: Amount,
    image_out: Amount,
    *,
    text_out: Amount | None = None,
    cached_text_in: Amount | None = None,
    cached_image_in: Amount | None = None,
    as_of: dt.date | None = _AS_OF,
    source: str | None = _SOURCE,
) -> TokenPrice:
    """Make a price of US dollars per million tokens, given as decimal numbers; `text_out` is by default `image_out`."""
    return TokenPrice(
        text_in=_nanos(text_in, _MILLION),
        image_in=_nanos(image_in, _MILLION),
        image_out=_nanos(image_out, _MILLION),
        text_out=_nanos(image_out if text_out is None else text_out, _MILLION),
        cached_text_in=None if cached_text_in is None else _nanos(cached_text_in, _MILLION),
        cached_image_in=None if cached_image_in is None else _nanos(cached_image_in, _MILLION),
        as_of=as_of,
        source=source,
    )


def per_image(usd: Amount, *, as_of: dt.date | None = _AS_OF, source: str | None = _SOURCE) -> ImagePrice:
    """Make a price of US dollars for each picture, given as a decimal number."""
    return ImagePrice(nanos=_nanos(usd), as_of=as_of, source=source)


def _nanos(usd: Amount, units: int = 1) -> int:
    """Billionths of a US dollar for one of so many units, exact or rounded up."""
    return ceil(Fraction(usd) * NANOS / units)


def _of_quality(row: Mapping[str, int], quality: object) -> int:
    return row.get(str(quality), max(row.values()))


def _edges(size: object) -> tuple[int, int] | None:
    width, _, height = str(size).partition("x")
    edges = (int(width), int(height)) if width.isdecimal() and height.isdecimal() else (0, 0)
    return edges if min(edges) > 0 else None


GPT_IMAGE_TOKENS: Final = PublishedTokens(
    rows=MappingProxyType(
        {
            SQUARE: MappingProxyType({"low": 272, "medium": 1056, "high": 4160}),
            "1024x1536": MappingProxyType({"low": 408, "medium": 1584, "high": 6240}),
            "1536x1024": MappingProxyType({"low": 400, "medium": 1568, "high": 6208}),
        }
    )
)
GPT_IMAGE_2_TOKENS: Final = TokensByFormula(edges=MappingProxyType({"low": 16, "medium": 48, "high": 96}))

GPT_IMAGE_1: Final = per_million("5", "10", "40")
GPT_IMAGE_1_MINI: Final = per_million("2", "2.5", "8")
GPT_IMAGE_1_5: Final = per_million("5", "8", "32", text_out="10")
GPT_IMAGE_2: Final = per_million("5", "8", "30", cached_text_in="1.25", cached_image_in="2")
"""Of gpt-image-2 and 2.5."""
FLUX: Final = per_image("0.04")
"""Of FLUX 1.1 [pro] and FLUX.1 Kontext [pro]."""
DALL_E_3: Final = ImagePrice(
    nanos=_nanos("0.12"),
    rows=MappingProxyType(
        {
            ("standard", SQUARE): _nanos("0.04"),
            ("standard", "1024x1792"): _nanos("0.08"),
            ("standard", "1792x1024"): _nanos("0.08"),
            ("hd", SQUARE): _nanos("0.08"),
            ("hd", "1024x1792"): _nanos("0.12"),
            ("hd", "1792x1024"): _nanos("0.12"),
        }
    ),
    unstated=("standard", SQUARE),  # OpenAI's "Create image" reference: the defaults of DALL·E 3
    as_of=_AS_OF,
    source=_SOURCE,
)
