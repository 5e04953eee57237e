"""The page on prices says what the data says."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.deployments.families import FAMILIES
from core.deployments.prices import GPT_IMAGE_TOKENS, ImagePrice, TokenPrice

PAGE = (Path(__file__).parents[2] / "docs" / "prices-and-ledger.md").read_text(encoding="utf-8")


def usd(nanos: int, units: int = 1) -> str:
    """Dollars as the page writes them."""
    return f"{nanos * units / 10**9:g}"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_on_the_page(name: str) -> None:
    """Each family has a row with its own prices."""
    match FAMILIES[name].price:
        case TokenPrice() as price:
            kinds = (price.text_in, price.image_in, price.image_out, price.text_out)
            row = " | ".join(usd(nanos, 1_000_000) for nanos in kinds)
            assert f"| `{name}` | {row} | |" in PAGE
        case ImagePrice() as price:
            cheapest = min(price.rows.values(), default=price.nanos)
            picture = usd(price.nanos) if cheapest == price.nanos else f"{usd(cheapest)} to {usd(price.nanos)}"
            assert f"| `{name}` | | | | | {picture} |" in PAGE


@pytest.mark.parametrize("size", GPT_IMAGE_TOKENS.rows)
def test_every_count_of_tokens_is_on_the_page(size: str) -> None:
    """Each size has a row with its counts."""
    row = " | ".join(f"{GPT_IMAGE_TOKENS.tokens(quality, size):,}" for quality in ("low", "medium", "high"))
    assert f"| {size} | {row} |" in PAGE
