"""Token counts of an answer, as Azure reports them in `usage`.

Facts: OpenAI's image generation guide ("Cost and latency"): output tokens by quality and size, about 100 more for each
partial image.
"""

from typing import Any

from emulator.validation import ImageRequest

PARTIAL_IMAGE_TOKENS = 100

_SQUARE_TOKENS = {"low": 272, "medium": 1_056, "high": 4_160}
_TOKENS = {
    "1024x1024": _SQUARE_TOKENS,
    "1024x1536": {"low": 408, "medium": 1_584, "high": 6_240},
    "1536x1024": {"low": 400, "medium": 1_568, "high": 6_208},
}
_SQUARE_PIXELS = 1024 * 1024
_CHARACTERS_PER_TOKEN = 4


def count_usage(request: ImageRequest, partial_images: int) -> dict[str, Any]:
    """Count what a request used, given how many partial images were sent."""
    text = max(1, len(request.prompt) // _CHARACTERS_PER_TOKEN)
    image = request.n * count_image_tokens(request.size, request.quality) + partial_images * PARTIAL_IMAGE_TOKENS
    return {
        "input_tokens": text,
        "input_tokens_details": {"text_tokens": text, "image_tokens": 0},
        "output_tokens": image,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": image},
        "total_tokens": text + image,
    }


def count_image_tokens(size: str, quality: str) -> int:
    """Count the output tokens of one picture; sizes that have no row count by their pixels."""
    if size in _TOKENS:
        return _TOKENS[size].get(quality, _TOKENS[size]["high"])
    width, height = map(int, size.split("x"))
    square = _SQUARE_TOKENS.get(quality, _SQUARE_TOKENS["high"])
    return round(square * width * height / _SQUARE_PIXELS)
