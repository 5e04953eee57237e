"""Streams that would stay silent for too long are kept awake with a partial image (GATEWAY_AWAKE_PARTIALS)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from core.deployments.families import FAMILIES, Awake
from core.deployments.parameters import map_parameters
from tests.deployments.asking import asked


@pytest.mark.parametrize(
    ("family", "given", "partials"),
    [
        pytest.param("gpt-image-1", {}, 1, id="absent means high"),
        pytest.param("gpt-image-1-mini", {}, 0, id="absent means medium for mini"),
        pytest.param("gpt-image-1", {"quality": "high"}, 1, id="high"),
        pytest.param("gpt-image-1", {"quality": "hd"}, 1, id="hd is high"),
        pytest.param("gpt-image-1", {"quality": "auto"}, 1, id="auto may be high"),
        pytest.param("gpt-image-2.5-flare", {"quality": "max"}, 1, id="max"),
        pytest.param("gpt-image-1", {"quality": "medium"}, 0, id="medium"),
        pytest.param("gpt-image-1", {"quality": "standard"}, 0, id="standard is medium"),
        pytest.param("gpt-image-1", {"quality": "low"}, 0, id="low"),
        pytest.param("gpt-image-2", {"quality": "low", "size": "2048x2048"}, 1, id="large"),
        pytest.param("gpt-image-2", {"quality": "low", "size": "1024x1024"}, 0, id="not large"),
        pytest.param("gpt-image-1", {"quality": "high", "stream": True, "partial_images": 3}, 3, id="enough already"),
        pytest.param("gpt-image-1", {"quality": "high", "stream": True, "partial_images": 0}, 1, id="none wanted"),
    ],
)
def test_auto(family: str, given: dict[str, Any], partials: int) -> None:
    """A partial image is asked for where the picture may take long, and only there."""
    assert partials == map_parameters(asked(**given), FAMILIES[family]).fields.get("partial_images", 0)


@pytest.mark.parametrize(("awake", "partials"), [(Awake.ALWAYS, 1), (Awake.NEVER, 0)])
@pytest.mark.parametrize("given", [{"quality": "low"}, {"quality": "high"}], ids=str)
def test_the_operators_word(awake: Awake, partials: int, given: dict[str, Any]) -> None:
    """The operator may have it always, or never."""
    family = replace(FAMILIES["gpt-image-1"], awake=awake)
    assert partials == map_parameters(asked(**given), family).fields.get("partial_images", 0)


@pytest.mark.parametrize("given", [{"n": 2}, {"n": 2, "stream": True}], ids=str)
def test_only_in_a_stream(given: dict[str, Any]) -> None:
    """Where there is no stream there is nothing to keep awake."""
    family = replace(FAMILIES["gpt-image-1"], awake=Awake.ALWAYS)
    assert "partial_images" not in map_parameters(asked(quality="high", **given), family).fields
