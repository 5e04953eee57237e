"""The families, row by row, against what Azure publishes."""

from __future__ import annotations

import pytest

from core.deployments.families import FAMILIES, Family, FreeSizes
from core.deployments.parameters import gives_url

GPT_1 = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")
GPT_2 = ("gpt-image-2", "gpt-image-2.5-flare", "gpt-image-2.5-sunburst")
FLUX = ("flux-1.1-pro", "flux.1-kontext-pro")

GPT_QUALITIES = {"low", "medium", "high", "auto"}


def qualities(name: str) -> set[str] | None:
    """The qualities of a family."""
    known = FAMILIES[name].qualities
    return None if known is None else set(known)


def fixed_sizes(name: str) -> set[str]:
    """The sizes of a family that has a list of them."""
    sizes = FAMILIES[name].sizes
    assert isinstance(sizes, tuple)
    return set(sizes)


def free_sizes(name: str) -> FreeSizes:
    """The sizes of a family that has a rule for them."""
    sizes = FAMILIES[name].sizes
    assert isinstance(sizes, FreeSizes)
    return sizes


def test_every_family_of_the_contract() -> None:
    """There is one row for each family that the contract names, under its own name."""
    assert {"dall-e-3", *GPT_1, *GPT_2, *FLUX} == set(FAMILIES)
    assert list(FAMILIES) == [family.name for family in FAMILIES.values()]


@pytest.mark.parametrize(
    ("names", "most_images", "streams", "prompt", "native", "chooses_format", "left_out"),
    [
        pytest.param(("dall-e-3",), 1, False, 4_000, "url", True, set(), id="dall-e-3"),
        pytest.param(GPT_1, 10, True, 32_000, "b64_json", False, {"style"}, id="gpt-image-1"),
        pytest.param(GPT_2, 10, True, 32_000, "b64_json", False, {"style"}, id="gpt-image-2"),
        pytest.param(FLUX, 10, False, 32_000, "url", False, set(), id="flux"),
    ],
)
def test_facts(
    *,
    names: tuple[str, ...],
    most_images: int,
    streams: bool,
    prompt: int,
    native: str,
    chooses_format: bool,
    left_out: set[str],
) -> None:
    """A family draws so many, streams or not, reads so much, gives this, and refuses those fields."""
    expected = [(most_images, streams, prompt, native, chooses_format, left_out)] * len(names)
    assert expected == [_facts(FAMILIES[name]) for name in names]


def _facts(family: Family) -> tuple[object, ...]:
    return (
        family.most_images,
        family.streams,
        family.prompt_characters,
        family.native,
        family.chooses_format,
        set(family.left_out),
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dall-e-3", {"standard", "hd"}),
        *[(name, GPT_QUALITIES) for name in (*GPT_1, "gpt-image-2")],
        *[(name, GPT_QUALITIES | {"xhigh", "max"}) for name in GPT_2[1:]],
        *[(name, None) for name in FLUX],
    ],
    ids=[*FAMILIES],
)
def test_qualities(name: str, values: set[str] | None) -> None:
    """A family has just these qualities of its own."""
    assert values == qualities(name)


@pytest.mark.parametrize("name", FAMILIES)
def test_documented_qualities_have_a_meaning(name: str) -> None:
    """Every documented quality is a family's own, or has a name there that is."""
    own = qualities(name)
    if own is not None:
        renamed = FAMILIES[name].quality_names
        assert {"standard", "hd", "low", "medium", "high"} <= own | set(renamed)
        assert set(renamed.values()) <= own


def test_fixed_sizes() -> None:
    """DALL·E 3 and the first GPT-image models have lists of sizes."""
    assert {"1024x1024", "1792x1024", "1024x1792"} == fixed_sizes("dall-e-3")
    assert [{"1024x1024", "1024x1536", "1536x1024", "auto"}] * 3 == [fixed_sizes(name) for name in GPT_1]


def test_unknown_sizes() -> None:
    """Of FLUX no sizes are known for certain."""
    assert [None, None] == [FAMILIES[name].sizes for name in FLUX]


@pytest.mark.parametrize("name", GPT_2)
@pytest.mark.parametrize(
    ("width", "height", "allowed"),
    [
        pytest.param(1024, 1024, True, id="square"),
        pytest.param(1024, 640, True, id="fewest pixels"),
        pytest.param(1008, 640, False, id="a step below the fewest pixels"),
        pytest.param(1024, 624, False, id="another step below"),
        pytest.param(3840, 2160, True, id="most pixels, longest edge"),
        pytest.param(2160, 3840, True, id="the same, upright"),
        pytest.param(3840, 2176, False, id="a step above the most pixels"),
        pytest.param(2880, 2880, True, id="most pixels, square"),
        pytest.param(2896, 2880, False, id="a step above, square"),
        pytest.param(3856, 2000, False, id="an edge too long"),
        pytest.param(3856, 1296, False, id="an edge too long, few pixels"),
        pytest.param(1296, 3856, False, id="an edge too long, upright"),
        pytest.param(3840, 1280, True, id="3:1"),
        pytest.param(1280, 3840, True, id="1:3"),
        pytest.param(3840, 1264, False, id="a step wider than 3:1"),
        pytest.param(1264, 3840, False, id="a step taller than 1:3"),
        pytest.param(1040, 1040, True, id="multiples of 16"),
        pytest.param(1041, 1040, False, id="width is no multiple of 16"),
        pytest.param(1040, 1032, False, id="height is a multiple of 8 only"),
        pytest.param(16, 16, False, id="one step"),
        pytest.param(99_999, 99_999, False, id="the largest that can be written"),
    ],
)
def test_free_sizes(name: str, width: int, height: int, allowed: bool) -> None:
    """Free sizes: multiples of 16, no edge above 3840, at most 3:1, and 655,360 to 8,294,400 pixels."""
    assert allowed is free_sizes(name).allow(width, height)


def test_free_sizes_in_words() -> None:
    """The rule for free sizes names each of its bounds."""
    words = str(free_sizes("gpt-image-2"))
    assert [] == [bound for bound in ("auto", "16", "3840", "3:1", "655,360", "8,294,400") if bound not in words]


@pytest.mark.parametrize("name", FAMILIES)
def test_who_gives_url(name: str) -> None:
    """Only DALL·E 3 and FLUX give URLs."""
    assert (name == "dall-e-3" or name.startswith("flux")) is gives_url(FAMILIES[name])


def test_transparent_jpeg() -> None:
    """Only of the GPT-image families is it certain that transparent and jpeg do not go together."""
    assert {*GPT_1, *GPT_2} == {name for name, family in FAMILIES.items() if not family.transparent_jpeg}
