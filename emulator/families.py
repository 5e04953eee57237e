"""The model families that Azure serves, one row each: which keys a body may have, and which values.

Facts: Azure OpenAI docs, "How to use Azure OpenAI image generation models" and the image generation
reference, November 2026. This table is the emulator's own and shares nothing with the gateway's, so that
it can tell when the gateway is wrong.
"""

from dataclasses import dataclass
from enum import Enum


class Engine(Enum):
    """What stands behind a deployment: it decides how an answer looks and how a mistake is worded."""

    DALL_E = "dall-e"
    GPT_IMAGE = "gpt-image"
    FLUX = "flux"


@dataclass(frozen=True, kw_only=True)
class FreeSizes:
    """Sizes of one's own, WIDTHxHEIGHT, within limits."""

    step: int
    edges: tuple[int, int]
    pixels: tuple[int, int]
    ratio: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model: what it takes, and what it does when a value is left out."""

    name: str
    engine: Engine
    keys: frozenset[str]
    """The body keys it knows; any other is `unknown_parameter`."""
    max_n: int
    prompt_limit: int
    sizes: tuple[str, ...]
    usual_quality: str
    free_sizes: FreeSizes | None = None
    qualities: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    checks_model: bool = False
    """Whether a body `model` on the deployment path must be a model's name (reports on gpt-image-2)."""
    min_api_version: str = "2025-04-01"
    """The oldest date that the deployment path takes as `api-version` (with or without `-preview`)."""
    tokens_by_pixels: bool = False
    """Whether output tokens follow from the pixels by a formula, and not from a table of sizes."""


_DALL_E_KEYS = frozenset({"model", "prompt", "n", "size", "quality", "style", "response_format", "user"})
_FLUX_KEYS = frozenset({"model", "prompt", "n", "size"})
_GPT_IMAGE_KEYS = frozenset(
    {"model", "prompt", "n", "size", "quality", "background", "moderation", "user"}
    | {"output_format", "output_compression", "partial_images", "stream"}
)

_GPT_SIZES = ("1024x1024", "1024x1536", "1536x1024", "auto")
_GPT_QUALITIES = ("low", "medium", "high", "auto")
_ANY_BACKGROUND = ("transparent", "opaque", "auto")

# Azure's page: both edges multiples of 16, up to 3840, at most 3:1, 655,360 to 8,294,400 pixels.
_GPT_2_SIZES = FreeSizes(step=16, edges=(16, 3840), pixels=(655_360, 8_294_400), ratio=3)
# Black Forest Labs, FLUX 1.1 [pro] API: edges of 256 to 1440 in steps of 32.
_FLUX_SIZES = FreeSizes(step=32, edges=(256, 1440), pixels=(256 * 256, 1440 * 1440), ratio=6)


def _gpt_image(
    name: str,
    *,
    usual_quality: str = "high",
    free_sizes: FreeSizes | None = None,
    qualities: tuple[str, ...] = _GPT_QUALITIES,
    backgrounds: tuple[str, ...] = _ANY_BACKGROUND,
    checks_model: bool = False,
) -> Family:
    return Family(
        name=name,
        engine=Engine.GPT_IMAGE,
        keys=_GPT_IMAGE_KEYS,
        max_n=10,
        prompt_limit=32_000,
        sizes=_GPT_SIZES,
        free_sizes=free_sizes,
        qualities=qualities,
        usual_quality=usual_quality,
        backgrounds=backgrounds,
        formats=("png", "jpeg"),  # Azure's page: no webp
        checks_model=checks_model,
        tokens_by_pixels=free_sizes is not None,
    )


def _gpt_image_2_5(name: str) -> Family:
    return _gpt_image(
        name,
        free_sizes=_GPT_2_SIZES,
        qualities=("low", "medium", "high", "xhigh", "max", "auto"),
        checks_model=True,
    )


def _flux(name: str) -> Family:
    return Family(
        name=name,
        engine=Engine.FLUX,
        keys=_FLUX_KEYS,
        max_n=10,
        prompt_limit=32_000,
        sizes=("1024x1024",),
        free_sizes=_FLUX_SIZES,
        usual_quality="",
    )


_DALL_E_3 = Family(
    name="dall-e-3",
    engine=Engine.DALL_E,
    keys=_DALL_E_KEYS,
    max_n=1,
    prompt_limit=4_000,
    sizes=("1024x1024", "1792x1024", "1024x1792"),
    qualities=("standard", "hd"),
    usual_quality="standard",
    formats=("png",),
    min_api_version="2023-12-01",  # 2023-12-01-preview brought DALL-E 3 to this path
)

FAMILIES = {
    family.name: family
    for family in (
        _DALL_E_3,
        _gpt_image("gpt-image-1"),
        _gpt_image("gpt-image-1-mini", usual_quality="medium"),
        _gpt_image("gpt-image-1.5"),
        _gpt_image("gpt-image-2", free_sizes=_GPT_2_SIZES, backgrounds=("opaque", "auto"), checks_model=True),
        _gpt_image_2_5("gpt-image-2.5-flare"),
        _gpt_image_2_5("gpt-image-2.5-sunburst"),
        _flux("flux-1.1-pro"),
        _flux("flux.1-kontext-pro"),
    )
}
"""Every model by its name."""
