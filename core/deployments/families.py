"""The model families, one row each. A new model is a row here, not a branch elsewhere.

Sources: Microsoft's "Azure OpenAI image generation" how-to and REST reference and OpenAI's "Create image"
reference, as of November 2026. A row says only what is certain; what a family is not known to take goes
upstream, whose answer decides.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, field

from core.deployments import prices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.deployments.prices import Price, TokenTable


class FreeSizes(Struct, frozen=True, kw_only=True):
    """Any WIDTHxHEIGHT within these bounds, in pixels."""

    multiple_of: int
    longest_edge: int
    widest_ratio: int
    fewest_pixels: int
    most_pixels: int

    def allow(self, width: int, height: int) -> bool:
        """Whether a picture of this size can be drawn."""
        return (
            width % self.multiple_of == 0
            and height % self.multiple_of == 0
            and max(width, height) <= self.longest_edge
            and max(width, height) <= self.widest_ratio * min(width, height)
            and self.fewest_pixels <= width * height <= self.most_pixels
        )

    def __str__(self) -> str:
        """The rule in words, for an error message."""
        return (
            f"auto, or WIDTHxHEIGHT with both edges multiples of {self.multiple_of}, none longer than"
            f" {self.longest_edge}, a ratio of at most {self.widest_ratio}:1"
            f" and {self.fewest_pixels:,} to {self.most_pixels:,} pixels"
        )


class Awake(StrEnum):
    """Whether upstream is asked for a partial image that nobody wants, so that its stream is not cut for silence.

    Azure cuts a stream that is silent for 60 s and a plain JSON call near 122 s (user reports); with one partial or
    more, long generations passed. A partial costs about 100 output tokens.
    """

    AUTO = "auto"
    """For high quality, and for more than AWAKE_PIXELS."""
    ALWAYS = "always"
    NEVER = "never"


AWAKE_PIXELS: Final = 1_500_000
HIGH_QUALITIES: Final = frozenset({"high", "auto", "xhigh", "max"})
"""What takes long. `auto` may mean it."""


class Family(Struct, frozen=True, kw_only=True):
    """What one family of models takes and gives."""

    name: str
    native: Literal["url", "b64_json"]
    """What an answer holds when no `response_format` is asked."""
    chooses_format: bool = False
    """Whether `response_format` may be sent."""
    streams: bool
    """Whether `stream` may be sent (always for one picture at a time)."""
    awake: Awake = Awake.AUTO
    """Whether a stream is kept awake with a partial image (`GATEWAY_AWAKE_PARTIALS`)."""
    most_images: int = 10
    sizes: tuple[str, ...] | FreeSizes | None
    """`None`: not known; upstream decides."""
    qualities: tuple[str, ...] | None
    """The family's own values; `None`: not known."""
    quality_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """How a documented value is called here."""
    default_quality: str = "high"
    """What an absent `quality` means here."""
    prompt_characters: int
    left_out: frozenset[str] = frozenset()
    """Fields that are never sent, because the family refuses them."""
    auto_left_out: frozenset[str] = frozenset()
    """Fields whose value `auto` is not sent, because the family knows no `auto`."""
    transparent_jpeg: bool = True
    """Whether transparent + jpeg may be asked; no file can hold both."""
    price: Price
    """The list price, for deployments that have no price of their own."""
    min_api_version: str | None = None
    """The date of the oldest api-version that knows the family; an older one that a client sends is not used."""
    token_table: TokenTable | None = None
    """How many tokens a picture has where upstream did not count them; `None`: not known, or not what is billed."""


_GPT_QUALITY: Final = MappingProxyType({"standard": "medium", "hd": "high"})
_GPT_SIZES: Final = ("1024x1024", "1024x1536", "1536x1024", "auto")
_GPT_QUALITIES: Final = ("low", "medium", "high", "auto")
_GPT_2_5_QUALITIES: Final = (*_GPT_QUALITIES, "xhigh", "max")
_FREE: Final = FreeSizes(
    multiple_of=16, longest_edge=3840, widest_ratio=3, fewest_pixels=655_360, most_pixels=8_294_400
)


def _gpt_image(
    name: str,
    price: Price,
    *,
    sizes: tuple[str, ...] | FreeSizes = _GPT_SIZES,
    qualities: tuple[str, ...] = _GPT_QUALITIES,
    default_quality: str = "high",
) -> Family:
    return Family(
        name=name,
        native="b64_json",
        streams=True,
        sizes=sizes,
        qualities=qualities,
        quality_names=_GPT_QUALITY,
        default_quality=default_quality,
        prompt_characters=32_000,
        left_out=frozenset({"style"}),
        transparent_jpeg=False,
        price=price,
        min_api_version="2025-04-01",  # 2024-10-21, the version before, knows DALL·E only (Azure OpenAI REST reference)
        token_table=prices.GPT_IMAGE_2_TOKENS if isinstance(sizes, FreeSizes) else prices.GPT_IMAGE_TOKENS,
    )


def _flux(name: str) -> Family:
    # FLUX.1 on services.ai.azure.com takes prompt, n and size on the same path, and answers `url`.
    return Family(
        name=name,
        native="url",
        streams=False,
        sizes=None,
        qualities=None,
        prompt_characters=32_000,
        price=prices.FLUX,
    )


_ROWS: Final = (
    Family(
        name="dall-e-3",
        native="url",
        chooses_format=True,
        streams=False,
        most_images=1,
        sizes=("1024x1024", "1792x1024", "1024x1792"),
        qualities=("standard", "hd"),
        quality_names=MappingProxyType({"low": "standard", "medium": "standard", "high": "hd"}),
        prompt_characters=4_000,
        auto_left_out=frozenset({"size", "quality", "background"}),
        price=prices.DALL_E_3,
    ),
    _gpt_image("gpt-image-1", prices.GPT_IMAGE_1),
    _gpt_image("gpt-image-1-mini", prices.GPT_IMAGE_1_MINI, default_quality="medium"),
    _gpt_image("gpt-image-1.5", prices.GPT_IMAGE_1_5),
    _gpt_image("gpt-image-2", prices.GPT_IMAGE_2, sizes=_FREE),
    _gpt_image("gpt-image-2.5-flare", prices.GPT_IMAGE_2, sizes=_FREE, qualities=_GPT_2_5_QUALITIES),
    _gpt_image("gpt-image-2.5-sunburst", prices.GPT_IMAGE_2, sizes=_FREE, qualities=_GPT_2_5_QUALITIES),
    _flux("flux-1.1-pro"),
    _flux("flux.1-kontext-pro"),
)

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({row.name: row for row in _ROWS})
"""Every known family by its name, in lower case."""


def find_family(name: str, families: Mapping[str, Family] = FAMILIES) -> Family | None:
    """Look up a family by the name of a deployment or model; case does not matter (Azure writes `FLUX-1.1-pro`)."""
    return families.get(name.lower())
