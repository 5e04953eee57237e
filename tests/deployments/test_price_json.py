"""A deployment's own price in the catalogue: what is legal, what it means, and errors that name place and cure."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from core.deployments.families import FAMILIES
from core.deployments.prices import ImagePrice, TokenPrice
from core.domain.settings_error import SettingsError
from core.settings.settings import read_settings

if TYPE_CHECKING:
    from core.deployments.prices import Price


def price(entry: object, **deployment: Any) -> Price | None:
    """The price of the one deployment of a catalogue."""
    text = json.dumps({"deployments": {"mine": {"price": entry, **deployment}}})
    catalogue = read_settings(
        {"AZURE_OPENAI_ENDPOINT": "https://one.openai.azure.com", "GATEWAY_CATALOGUE": text}
    ).catalogue
    found = catalogue.find("mine")
    assert found is not None
    return found.price


def test_per_million_tokens() -> None:
    """Prices of tokens are given in US dollars per million, with the date and source for whoever reads them."""
    entry = {"text_in": 5, "image_in": 2.5, "image_out": 29.999, "as_of": "2026-11-01", "source": "contract 4711"}
    expected = TokenPrice(
        text_in=5_000,
        image_in=2_500,
        image_out=29_999,
        text_out=29_999,
        as_of=dt.date(2026, 11, 1),
        source="contract 4711",
    )
    assert expected == price(entry)


def test_text_out_has_a_price_of_its_own() -> None:
    """Text that the model gives may cost something else than its pictures."""
    expected = TokenPrice(text_in=1_000, image_in=1_000, image_out=1_000, text_out=500)
    assert expected == price({"text_in": 1, "image_in": 1, "image_out": 1, "text_out": 0.5})


def test_per_image() -> None:
    """A price for each picture is given in US dollars."""
    assert ImagePrice(nanos=40_000_000) == price({"per_image": 0.04})


def test_free() -> None:
    """A price of 0 is one: somebody has said that it costs nothing."""
    assert ImagePrice(nanos=0) == price({"per_image": 0})


@pytest.mark.parametrize("usd", [0.1, 0.07, 1.1, 2.2, 4.35, 1e-9])
def test_no_float_drift(usd: float) -> None:
    """A price is the decimal number that was written, and not the binary one next to it."""
    assert ImagePrice(nanos=round(usd * 10**9)) == price({"per_image": usd})


def test_its_own_goes_before_the_familys() -> None:
    """A deployment with a price of its own does not have the list price of its family."""
    assert ImagePrice(nanos=10_000_000) == price({"per_image": 0.01}, family="gpt-image-2")


def test_the_familys() -> None:
    """A deployment without a price of its own has the list price of its family."""
    assert FAMILIES["gpt-image-2"].price is price(None, family="gpt-image-2")


def test_none() -> None:
    """A deployment without a family and a price has none."""
    assert price(None) is None


INCOMPLETE = "give either per_image, or text_in, image_in and image_out (and text_out, where it is another)"
WRONG = {
    "nothing": ({}, "", INCOMPLETE),
    "a date only": ({"as_of": "2026-11-01"}, "", INCOMPLETE),
    "one of three": ({"image_out": 30}, "", INCOMPLETE),
    "both kinds": ({"per_image": 1, "text_in": 1, "image_in": 1, "image_out": 1}, "", INCOMPLETE),
    "text beside per_image": ({"per_image": 1, "text_out": 1}, "", INCOMPLETE),
    "misspelt": ({"per_imgae": 1}, ".per_imgae", "there is no such field; check its spelling"),
    "negative": ({"per_image": -0.01}, ".per_image", "input should be greater than or equal to 0"),
    "a text": ({"per_image": "four cents"}, ".per_image", "input should be a valid decimal"),
    "true": ({"per_image": True}, ".per_image", "decimal input should be an integer, float, string or Decimal object"),
    "too much": ({"per_image": 100_001}, ".per_image", "input should be less than or equal to 100000"),
    "too fine": ({"per_image": 1e-13}, ".per_image", "decimal input should have no more than 12 decimal places"),
    "no date": ({"per_image": 1, "as_of": 2026}, ".as_of", "input should be a valid date"),
    "no object": (5, "", "input should be an object"),
}


@pytest.mark.parametrize(("entry", "place", "cure"), WRONG.values(), ids=WRONG)
def test_wrong(entry: object, place: str, cure: str) -> None:
    """A price that is wrong, or half of one, stops the gateway, with its place and what to do."""
    with pytest.raises(SettingsError) as error:
        price(entry)
    assert f"GATEWAY_CATALOGUE: deployments.mine.price{place} is wrong: {cure}" == str(error.value)
