"""What a call costs: estimated before it, billed after it, in billionths of a US dollar."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.deployments.catalogue import Deployment
from core.deployments.costs import NO_COST, Basis, Bill, Charge, estimate, make_bill
from core.deployments.families import FAMILIES
from core.deployments.parameters import map_parameters
from core.deployments.prices import per_image, per_million
from core.deployments.route_plan import PlanStep, RoutePlan
from core.domain.outcome import OutcomeKind
from core.domain.tokens import AttemptUsage, Tokens
from tests.deployments.asking import asked, target

if TYPE_CHECKING:
    from core.deployments.families import Family
    from core.deployments.prices import Price

USAGE = Tokens(text_in=50, image_out=4160)
NOT_BILLED = sorted(set(OutcomeKind) - {OutcomeKind.PICTURE, OutcomeKind.AMBIGUOUS})


def step(family: str | None, *, name: str = "mine", price: Price | None = None, **request: Any) -> PlanStep:
    """A step of a plan: a request put to a deployment."""
    found: Family | None = None if family is None else FAMILIES[family]
    deployment = Deployment(name=name, family=found, targets=(target(name),), own_price=price)
    return PlanStep(fallback_index=0, deployment=deployment, body=map_parameters(asked(**request), found))


@dataclass(frozen=True)
class AttemptLog:
    """What the attempts of a generation drew."""

    consumed: tuple[AttemptUsage, ...]


def bill(*consumed: AttemptUsage, steps: tuple[PlanStep, ...]) -> Bill:
    """The bill of a call with these steps."""
    return make_bill(RoutePlan(steps=steps), AttemptLog(consumed))


def drawn(at: int = 0, *, images: int = 1, tokens: Tokens | None = None) -> AttemptUsage:
    """An attempt that drew."""
    return AttemptUsage(step=at, kind=OutcomeKind.PICTURE, images=images, tokens=tokens)


def ended(kind: OutcomeKind | None, at: int = 0) -> AttemptUsage:
    """An attempt that did not; None: nobody saw its end."""
    return AttemptUsage(step=at, kind=kind)


def facts(found: Bill) -> tuple[object, ...]:
    """What a bill comes to."""
    return found.nanos, found.basis, found.images, found.counted_images, found.possibly_billed


# ------------------------------------------------------------------------------------------------ estimates

ESTIMATES = {
    # family, request, tokens or dollars, US dollars
    "square, low": ("gpt-image-1", {"size": "1024x1024", "quality": "low"}, "0.01088"),
    "square, medium, four of them": ("gpt-image-1", {"size": "1024x1024", "quality": "medium", "n": 4}, "0.16896"),
    "portrait, medium, kept awake by a partial": (
        "gpt-image-1.5",
        {"size": "1024x1536", "quality": "medium"},
        "0.053888",
    ),
    "standard is medium there": ("gpt-image-1", {"size": "1024x1024", "quality": "standard"}, "0.04224"),
    "high, with the partial that keeps it awake": ("gpt-image-1", {"size": "1024x1024", "quality": "high"}, "0.1704"),
    "nothing said": ("gpt-image-1", {}, "0.2536"),
    "mini, nothing said": ("gpt-image-1-mini", {}, "0.04992"),
    "three partials": (
        "gpt-image-2",
        {"size": "1024x1024", "quality": "low", "stream": True, "partial_images": 3},
        "0.01488",
    ),
    "n > 1 has no partials": (
        "gpt-image-2",
        {"size": "1024x1024", "quality": "low", "n": 2, "partial_images": 3},
        "0.01176",
    ),
    "four times the square, kept awake": ("gpt-image-2", {"size": "2048x2048", "quality": "medium"}, "0.11004"),
    "DALL·E 3, hd": ("dall-e-3", {"quality": "hd", "size": "1024x1792"}, "0.12"),
    "DALL·E 3, high is hd there": ("dall-e-3", {"quality": "high"}, "0.08"),
    "DALL·E 3, auto is left out": ("dall-e-3", {"quality": "auto", "size": "auto"}, "0.04"),
    "FLUX, three": ("flux-1.1-pro", {"n": 3}, "0.12"),
}


@pytest.mark.parametrize(("family", "request_", "usd"), ESTIMATES.values(), ids=ESTIMATES)
def test_estimate(family: str, request_: dict[str, Any], usd: str) -> None:
    """An estimate is the tokens of the table for all pictures, and 100 for each partial image, at the list price."""
    assert per_image(usd).nanos == estimate(step(family, **request_), request_.get("n", 1))


def test_estimate_at_its_own_price() -> None:
    """A deployment's own price goes before the list price."""
    cheap = step("gpt-image-2", price=per_million("0", "0", "1"), size="1024x1024", quality="low")
    flat = step("gpt-image-2", price=per_image("0.5"), n=3)
    assert (196_000, 1_500_000_000) == (estimate(cheap, 1), estimate(flat, 3))


UNKNOWN = {
    "neither family nor price": step(None),
    "a price of tokens, and no table": step(None, price=per_million("5", "8", "30")),
}


@pytest.mark.parametrize("unknown", UNKNOWN.values(), ids=UNKNOWN)
def test_no_estimate(unknown: PlanStep) -> None:
    """Where there is no price, or no table for it, nobody knows: None, and never 0."""
    assert estimate(unknown, 1) is None


def test_a_price_for_each_picture_needs_no_family() -> None:
    """What is billed by the picture can be estimated without a family."""
    assert 80_000_000 == estimate(step(None, price=per_image("0.04")), 2)


# ------------------------------------------------------------------------------------------------ bills: what was drawn


def test_usage() -> None:
    """A picture with `usage` costs its tokens at their prices."""
    square = step("gpt-image-1", size="1024x1024")
    assert (50 * 5_000 + 4160 * 40_000, Basis.USAGE, 1, 1, False) == facts(bill(drawn(tokens=USAGE), steps=(square,)))


def test_every_kind_of_token_has_its_price() -> None:
    """Text in, image in, image out and text out are each counted at a price of its own."""
    counted = Tokens(text_in=1, image_in=10, image_out=100, text_out=1000)
    found = bill(drawn(tokens=counted), steps=(step("gpt-image-1.5"),))
    assert 5_000 + 80_000 + 3_200_000 + 10_000_000 == found.nanos
    assert counted == found.tokens


def test_no_usage() -> None:
    """A picture without `usage` costs the estimate of the pictures that came, and is marked as an estimate."""
    square = step("gpt-image-1", size="1024x1024", quality="low", n=4)
    assert (3 * 272 * 40_000, Basis.ESTIMATE, 3, 3, False) == facts(bill(drawn(images=3), steps=(square,)))


@pytest.mark.parametrize("tokens", [None, USAGE], ids=["without usage", "with usage"])
def test_per_image(tokens: Tokens | None) -> None:
    """Where there is a price for each picture, it goes before any count of tokens."""
    flat = step("gpt-image-2", price=per_image("0.04"), n=2)
    found = bill(drawn(images=2, tokens=tokens), steps=(flat,))
    assert (80_000_000, Basis.PER_IMAGE, 2, 2, False) == facts(found)


@pytest.mark.parametrize("price", [None, per_million("5", "8", "30")], ids=["no price", "no table"])
def test_unknown(price: Price | None) -> None:
    """No usage and nothing to estimate with: the cost is None, never 0; the pictures count all the same."""
    assert (None, Basis.UNKNOWN, 2, 2, False) == facts(bill(drawn(images=2), steps=(step(None, price=price),)))


def test_usage_without_a_price() -> None:
    """Usage without a price has no cost, but its tokens are kept."""
    found = bill(drawn(tokens=USAGE), steps=(step(None),))
    assert (None, USAGE) == (found.nanos, found.tokens)


def test_usage_without_a_family() -> None:
    """A price of its own and usage are enough; no family is needed."""
    found = bill(drawn(tokens=USAGE), steps=(step(None, price=per_million("1", "1", "1")),))
    assert (4_210_000, Basis.USAGE) == (found.nanos, found.basis)


def test_the_examples_of_the_page() -> None:
    """What docs/prices-and-ledger.md works out by hand."""
    square, low = {"size": "1024x1024"}, {"size": "1024x1024", "quality": "low"}
    streamed = {**low, "stream": True, "partial_images": 2}
    one, other = step("gpt-image-1", **low), step("gpt-image-2", **low)
    bills = {
        "0.16665": bill(drawn(tokens=Tokens(text_in=50, image_out=4160)), steps=(step("gpt-image-1", **square),)),
        "0.01421": bill(drawn(tokens=Tokens(text_in=10, image_out=472)), steps=(step("gpt-image-2", **streamed),)),
        "0.03264": bill(drawn(images=3), steps=(step("gpt-image-1", n=3, **low),)),
        "0.01909": bill(
            ended(OutcomeKind.AMBIGUOUS), drawn(1, tokens=Tokens(text_in=10, image_out=272)), steps=(one, other)
        ),
        "0.12": bill(drawn(), steps=(step("dall-e-3", quality="hd", size="1792x1024"),)),
    }
    assert [per_image(usd).nanos for usd in bills] == [found.nanos for found in bills.values()]


# ------------------------------------------------------------------------------------------------ bills: what was not


@pytest.mark.parametrize("kind", NOT_BILLED)
def test_failures_that_azure_does_not_bill(kind: OutcomeKind) -> None:
    """A failure that surely drew nothing costs 0, which is certain: also where there is no price."""
    for family in ("gpt-image-1", None):
        assert (0, Basis.NOT_BILLED, 0, 0, False) == facts(bill(ended(kind), steps=(step(family),)))


@pytest.mark.parametrize("kind", [OutcomeKind.AMBIGUOUS, None], ids=["ambiguous", "in flight"])
def test_what_may_be_billed(kind: OutcomeKind | None) -> None:
    """An attempt that may have drawn is charged at its estimate, for all pictures asked, and marked."""
    three = step("gpt-image-1", size="1024x1024", quality="low", n=3)
    assert (3 * 272 * 40_000, Basis.ESTIMATE, 0, 3, True) == facts(bill(ended(kind), steps=(three,)))


def test_what_may_be_billed_per_image() -> None:
    """What a picture would have cost is certain there, but not whether there was one: an estimate too."""
    assert (40_000_000, Basis.ESTIMATE, 0, 1, True) == facts(bill(ended(None), steps=(step("flux-1.1-pro"),)))


def test_what_may_be_billed_and_has_no_price() -> None:
    """Without a price it is unknown what an ambiguous attempt costs; its pictures count."""
    assert (None, Basis.UNKNOWN, 0, 2, True) == facts(bill(ended(OutcomeKind.AMBIGUOUS), steps=(step(None, n=2),)))


def test_an_ambiguous_primary_and_a_fallback() -> None:
    """A call may have bought two pictures: both are on the bill, each on its own deployment."""
    steps = (
        step("gpt-image-1", name="first", size="1024x1024", quality="low"),
        step("gpt-image-2", name="second", size="1024x1024", quality="low"),
    )
    found = bill(ended(OutcomeKind.AMBIGUOUS, 0), drawn(1, tokens=Tokens(text_in=10, image_out=272)), steps=steps)
    assert (272 * 40_000 + 10 * 5_000 + 272 * 30_000, Basis.ESTIMATE, 1, 2, True) == facts(found)
    assert [("first", Basis.ESTIMATE, True), ("second", Basis.USAGE, False)] == [
        (charge.deployment, charge.basis, charge.possibly_billed) for charge in found.charges
    ]


def test_retries_and_then_a_picture() -> None:
    """What was turned away before costs nothing."""
    found = bill(
        ended(OutcomeKind.THROTTLED),
        ended(OutcomeKind.OVERLOADED),
        drawn(tokens=USAGE),
        steps=(step("gpt-image-1", size="1024x1024"),),
    )
    assert (50 * 5_000 + 4160 * 40_000, 1) == (found.nanos, len(found.charges))


def test_one_unknown_part() -> None:
    """Where one part of a bill is unknown the whole is: no part of it is passed off as all."""
    steps = (step(None, name="first"), step("flux-1.1-pro", name="second"))
    found = bill(ended(OutcomeKind.AMBIGUOUS, 0), drawn(1), steps=steps)
    assert (None, Basis.UNKNOWN, [None, 40_000_000]) == (
        found.nanos,
        found.basis,
        [charge.nanos for charge in found.charges],
    )


def test_nothing_was_asked() -> None:
    """A call that never came to a plan, or never went upstream, costs nothing."""
    assert (0, Basis.NOT_BILLED, 0, 0, False) == facts(NO_COST)
    assert NO_COST == make_bill(None, AttemptLog(())) == bill(steps=(step(None),))


def test_the_date_of_a_price() -> None:
    """A bill says when its oldest price was looked up."""
    old = per_image("0.01", as_of=dt.date(2025, 3, 1))
    steps = (step("gpt-image-1", price=old), step("gpt-image-2"), step(None))
    found = bill(*(drawn(at) for at in range(3)), steps=steps)
    assert dt.date(2025, 3, 1) == found.price_as_of
    assert NO_COST.price_as_of is None


# ------------------------------------------------------------------------------------------------ of any bill

_CHARGES = st.lists(
    st.fixed_dictionaries(
        {
            "deployment": st.sampled_from("abc"),
            "nanos": st.none() | st.integers(min_value=0, max_value=10**15),
            "basis": st.sampled_from(Basis),
            "images": st.integers(min_value=0, max_value=10),
            "possible_images": st.integers(min_value=0, max_value=10),
        }
    ).map(lambda fields: Charge(**fields)),
    max_size=6,
)


@given(_CHARGES)
def test_sums_are_exact(charges: list[Charge]) -> None:
    """A bill is the exact sum of its parts, and None as soon as one of them is."""
    found = Bill(charges=tuple(charges))
    parts = [charge.nanos for charge in charges]
    assert (None if None in parts else sum(part or 0 for part in parts)) == found.nanos
    assert sum(charge.images for charge in charges) == found.images <= found.counted_images
