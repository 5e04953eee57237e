"""Token counts of an answer, as Azure reports them in `usage`.

Facts: OpenAI's image generation guide ("Cost and latency"): output tokens by quality and size, about 100 more for each
partial image; cached input is counted in `input_tokens_details` too. The formula for gpt-image-2 and 2.5 is a
reconstruction of OpenAI's calculator by its users, which gives the published prices: with a = 16, 48, 96 for low,
medium, high and b = a x short / long, rounded half up, a picture of w x h takes a x b x (2,000,000 + w x h) / 4,000,000
tokens, rounded up. `xhigh` and `max` are not known and count as `high`.
"""

from typing import Any

from emulator.validation import ImageRequest

PARTIAL_IMAGE_TOKENS = 100

_TOKENS = {
    "1024x1024": {"low": 272, "medium": 1_056, "high": 4_160},
    "1024x1536": {"low": 408, "medium": 1_584, "high": 6_240},
    "1536x1024": {"low": 400, "medium": 1_568, "high": 6_208},
}
_EDGES = {"low": 16, "medium": 48, "high": 96}
_CHARACTERS_PER_TOKEN = 4


def count_usage(request: ImageRequest, partial_images: int, *, input_tokens: int | None = None) -> dict[str, Any]:
    """Count what a request used, given how many partial images were sent.

    `input_tokens` is said in place of the count, and then half of them are said to be cached.
    """
    text = max(1, len(request.prompt) // _CHARACTERS_PER_TOKEN) if input_tokens is None else input_tokens
    cached = {} if input_tokens is None else {"cached_tokens": input_tokens // 2}
    image = request.n * count_image_tokens(request) + partial_images * PARTIAL_IMAGE_TOKENS
    return {
        "input_tokens": text,
        "input_tokens_details": {"text_tokens": text, "image_tokens": 0, **cached},
        "output_tokens": image,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": image},
        "total_tokens": text + image,
    }


def count_image_tokens(request: ImageRequest) -> int:
    """Count the output tokens of one picture."""
    if not request.family.tokens_by_pixels:
        return _TOKENS[request.size][request.quality]
    short, long = sorted((request.width, request.height))
    edge = _EDGES.get(request.quality, _EDGES["high"])
    other_edge = (2 * edge * short + long) // (2 * long)
    return -(-edge * other_edge * (2_000_000 + short * long) // 4_000_000)
