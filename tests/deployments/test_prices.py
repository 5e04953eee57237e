"""Prices and tokens, row by row, against what is published; and that money is exact."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.deployments.families import FAMILIES
from core.deployments.prices import ImagePrice, TokenPrice, per_image, per_million
from core.domain.tokens import Tokens

MILLION = 1_000_000
GPT_1 = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")
GPT_2 = ("gpt-image-2", "gpt-image-2.5-flare", "gpt-image-2.5-sunburst")


def token_price(name: str) -> TokenPrice:
    """The price of a family that is billed by tokens."""
    price = FAMILIES[name].price
    assert isinstance(price, TokenPrice)
    return price


def image_price(name: str) -> ImagePrice:
    """The price of a family that is billed by the picture."""
    price = FAMILIES[name].price
    assert isinstance(price, ImagePrice)
    return price


# ------------------------------------------------------------------------------------------------ the published rows


@pytest.mark.parametrize(
    ("name", "text_in", "image_in", "image_out", "text_out"),
    [
        ("gpt-image-1", "5", "10", "40", "40"),
        ("gpt-image-1-mini", "2", "2.5", "8", "8"),
        ("gpt-image-1.5", "5", "8", "32", "10"),
        *((name, "5", "8", "30", "30") for name in GPT_2),
    ],
)
def test_usd_per_million(name: str, text_in: str, image_in: str, image_out: str, text_out: str) -> None:
    """A million tokens of each kind cost what the price page says, to the last billionth of a dollar."""
    price = token_price(name)
    expected = [int(Decimal(usd) * 10**9) for usd in (text_in, image_in, image_out, text_out)]
    assert expected == [
        price.cost(Tokens(text_in=MILLION)),
        price.cost(Tokens(image_in=MILLION)),
        price.cost(Tokens(image_out=MILLION)),
        price.cost(Tokens(text_out=MILLION)),
    ]


@pytest.mark.parametrize("name", GPT_2)
@pytest.mark.parametrize(("quality", "usd"), [("low", "0.006"), ("medium", "0.053"), ("high", "0.211")])
def test_the_list_price_of_a_square(name: str, quality: str, usd: str) -> None:
    """A square costs what the price page says, rounded to a tenth of a cent."""
    nanos = token_price(name).cost(Tokens(image_out=tokens(name, quality, "1024x1024")))
    assert Decimal(usd) == round(Decimal(nanos) / 10**9, 3)


@pytest.mark.parametrize("name", GPT_2)
def test_cached_input(name: str) -> None:
    """Input tokens from upstream's cache have a price of their own, a quarter."""
    price = token_price(name)
    cached = Tokens(text_in=MILLION, image_in=MILLION, cached_text_in=MILLION, cached_image_in=MILLION)
    half = Tokens(text_in=MILLION, cached_text_in=MILLION // 2)
    assert (3_250_000_000, 3_125_000_000) == (price.cost(cached), price.cost(half))


@pytest.mark.parametrize("name", GPT_1)
def test_cached_input_without_a_price(name: str) -> None:
    """Where no price for them is known they cost what all others do."""
    price = token_price(name)
    assert price.cost(Tokens(text_in=7, cached_text_in=5)) == price.cost(Tokens(text_in=7))


@pytest.mark.parametrize("name", ["flux-1.1-pro", "flux.1-kontext-pro"])
@pytest.mark.parametrize(("quality", "size"), [(None, None), ("high", "1024x1024"), ("auto", "1440x256")])
def test_flux(name: str, quality: str | None, size: str | None) -> None:
    """A FLUX picture costs 4 cents, whatever its size."""
    assert 40_000_000 == image_price(name).cost(quality, size)


@pytest.mark.parametrize(
    ("quality", "size", "cents"),
    [
        ("standard", "1024x1024", 4),
        ("standard", "1024x1792", 8),
        ("standard", "1792x1024", 8),
        ("hd", "1024x1024", 8),
        ("hd", "1024x1792", 12),
        ("hd", "1792x1024", 12),
        (None, None, 4),
        ("hd", None, 8),
        (None, "1792x1024", 8),
        ("of tomorrow", "1024x1024", 12),
        ("standard", "4096x4096", 12),
    ],
)
def test_dall_e_3(quality: str | None, size: str | None, cents: int) -> None:
    """DALL·E 3 has a price for each quality and size; absent is standard and square, unknown the highest."""
    assert cents * 10_000_000 == image_price("dall-e-3").cost(quality, size)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_price_says_when_and_where(name: str) -> None:
    """Each list price has the date on which it was looked up, and where."""
    price = FAMILIES[name].price
    assert (dt.date(2026, 11, 1), True) == (price.as_of, bool(price.source))


# ------------------------------------------------------------------------------------------------ tokens of a picture


def tokens(name: str, quality: str | None, size: str | None) -> int:
    """The tokens of a picture of a family."""
    table = FAMILIES[name].token_table
    assert table is not None
    return table.tokens(quality, size)


@pytest.mark.parametrize("name", GPT_1)
@pytest.mark.parametrize(
    ("size", "low", "medium", "high"),
    [
        ("1024x1024", 272, 1056, 4160),
        ("1024x1536", 408, 1584, 6240),
        ("1536x1024", 400, 1568, 6208),
        ("auto", 408, 1584, 6240),
        (None, 408, 1584, 6240),
        ("of tomorrow", 408, 1584, 6240),
        ("x", 408, 1584, 6240),
    ],
)
def test_published_tokens(name: str, size: str | None, low: int, medium: int, high: int) -> None:
    """The published table; `auto`, absent and unknown sizes and qualities count as the highest."""
    qualities = ("low", "medium", "high", "auto", None, "of tomorrow")
    expected = [low, medium, high, high, high, high]
    assert expected == [tokens(name, quality, size) for quality in qualities]


@pytest.mark.parametrize("name", GPT_2)
@pytest.mark.parametrize(
    ("size", "quality", "expected"),
    [
        ("1024x1024", "low", 196),
        ("1024x1024", "medium", 1756),
        ("1024x1024", "high", 7024),
        ("1536x1024", "high", 5488),
        ("1024x1536", "high", 5488),
        ("3840x2160", "high", 13_342),
        ("3472x1488", "low", 201),
        ("1024x640", "low", 107),  # 106.2…
        ("auto", "high", 7024),
        ("0x1024", "low", 196),
        (None, None, 7024),
        ("3840x2160", "xhigh", 13_342),
        ("1024x1024", "max", 7024),
    ],
)
def test_tokens_by_formula(name: str, size: str | None, quality: str | None, expected: int) -> None:
    """Free sizes are counted by the formula that gives the published list prices."""
    assert expected == tokens(name, quality, size)


@pytest.mark.parametrize("name", ["dall-e-3", "flux-1.1-pro", "flux.1-kontext-pro"])
def test_no_tokens(name: str) -> None:
    """What is billed by the picture has no tokens."""
    assert FAMILIES[name].token_table is None


# ------------------------------------------------------------------------------------------------ exact money

_USD = st.decimals(min_value=0, max_value=100_000, places=3, allow_nan=False)
_COUNT = st.integers(min_value=0, max_value=10**8)


@given(usd=_USD, count=_COUNT)
def test_tokens_cost_exactly(usd: Decimal, count: int) -> None:
    """With prices of at most three decimals, no fraction of a billionth is gained or lost, however many tokens."""
    price = per_million(usd, usd, usd)
    assert Fraction(usd) * count * 10**9 == price.cost(Tokens(image_out=count)) * MILLION


@given(usd=st.decimals(min_value=0, max_value=10, places=12, allow_nan=False))
def test_finer_prices_are_rounded_up(usd: Decimal) -> None:
    """A price finer than a billionth for a token is rounded up, by less than one of them."""
    price = per_million(usd, "0", "0")
    assert 0 <= price.text_in - Fraction(usd) * 1000 < 1
    assert 0 <= per_image(usd).nanos - Fraction(usd) * 10**9 < 1


@given(first=st.lists(_COUNT, min_size=4, max_size=4), second=st.lists(_COUNT, min_size=4, max_size=4))
def test_sums(first: list[int], second: list[int]) -> None:
    """Tokens cost the same together as apart."""
    price = token_price("gpt-image-1.5")
    names = ("text_in", "image_in", "image_out", "text_out")
    one, other = (Tokens(**dict(zip(names, counts, strict=True))) for counts in (first, second))
    assert price.cost(one + other) == price.cost(one) + price.cost(other)


def test_text_out() -> None:
    """Text that a model gives costs as much as its pictures, unless it has a price of its own."""
    given_none, given_own = per_million("1", "2", "3"), per_million("1", "2", "3", text_out="4")
    assert (3000, 4000) == (given_none.text_out, given_own.text_out)
