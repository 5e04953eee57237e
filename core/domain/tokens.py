"""What an attempt drew, in the units that Azure bills: pictures and tokens. Values only; prices are the catalogue's.

Shape of `usage`: Azure OpenAI's image generation reference ("Responses"): `input_tokens`, `output_tokens`, and beside
each an object of details with `text_tokens` and `image_tokens`; in the input's, `cached_tokens` says how many of both
came from a cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.domain.image_response import has_picture
from core.domain.outcome import Failure, OutcomeKind

if TYPE_CHECKING:
    from core.domain.outcome import Outcome

MAX_TOKENS: Final = 100_000_000
"""What claims to be more is no count: ten 4K pictures of the highest quality are some 400,000 tokens."""


class Tokens(Struct, frozen=True, kw_only=True):
    """Tokens of one call, as each is billed."""

    text_in: int = 0
    image_in: int = 0
    image_out: int = 0
    text_out: int = 0
    cached_text_in: int = 0
    """How many of `text_in` upstream had in its cache."""
    cached_image_in: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        """Add up two counts, kind by kind."""
        return Tokens(
            text_in=self.text_in + other.text_in,
            image_in=self.image_in + other.image_in,
            image_out=self.image_out + other.image_out,
            text_out=self.text_out + other.text_out,
            cached_text_in=self.cached_text_in + other.cached_text_in,
            cached_image_in=self.cached_image_in + other.cached_image_in,
        )


class AttemptUsage(Struct, frozen=True, kw_only=True):
    """What one attempt drew, or may have drawn."""

    step: int
    """Which step of the plan was asked."""
    kind: OutcomeKind | None
    """How the attempt ended; None: it had begun, and nobody saw its end."""
    images: int = 0
    """Pictures in the answer."""
    tokens: Tokens | None = None
    """As upstream counted them; None where it did not, or where the count cannot be right."""

    @classmethod
    def by(cls, step: int, outcome: Outcome) -> AttemptUsage:
        """What an attempt on a step drew, by its outcome. Items without a picture do not count."""
        if isinstance(outcome, Failure):
            return cls(step=step, kind=OutcomeKind.AMBIGUOUS if outcome.perhaps_billed else outcome.kind)
        answer = outcome.answer.value
        images = sum(has_picture(item) for item in answer["data"])
        return cls(step=step, kind=outcome.kind, images=images, tokens=tokens_of(answer.get("usage")))

    @property
    def is_uncertain(self) -> bool:
        """Whether it may be billed although there is no picture."""
        return self.kind is None or self.kind is OutcomeKind.AMBIGUOUS


def tokens_of(usage: object) -> Tokens | None:
    """Read the `usage` of an answer with a picture; None where it is absent or cannot be right.

    A total beyond its details counts as text in the input and as picture in the output, so that nothing is left out. A
    picture is never free: a count without output is none.
    """
    if not isinstance(usage, dict):
        return None
    text_in, image_in = _split(usage, "input_tokens", rest_is_text=True)
    text_out, image_out = _split(usage, "output_tokens", rest_is_text=False)
    counts = (text_in, image_in, text_out, image_out)
    if not all(0 <= count <= MAX_TOKENS for count in counts) or text_out + image_out == 0:
        return None
    # What is cached counts as text first: it is not told which, and text has the smaller discount.
    cached = max(0, _count(_details(usage, "input_tokens").get("cached_tokens")))
    return Tokens(
        text_in=text_in,
        image_in=image_in,
        image_out=image_out,
        text_out=text_out,
        cached_text_in=min(cached, text_in),
        cached_image_in=min(max(0, cached - text_in), image_in),
    )


def _split(usage: dict[str, Any], name: str, *, rest_is_text: bool) -> tuple[int, int]:
    """Tell text and picture of one direction apart; a count that is no count is -1."""
    parts = _details(usage, name)
    total, text, image = _count(usage.get(name)), _count(parts.get("text_tokens")), _count(parts.get("image_tokens"))
    if min(total, text, image) < 0:
        return -1, -1
    rest = max(0, total - text - image)
    return (text + rest, image) if rest_is_text else (text, image + rest)


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    details = usage.get(f"{name}_details")
    return details if isinstance(details, dict) else {}


def _count(value: object) -> int:
    """A number of tokens; 0 where there is none, -1 where it is something else."""
    if value is None:
        return 0
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
