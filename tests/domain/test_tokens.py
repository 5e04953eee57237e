"""What an attempt drew: reading `usage`, which decides what a picture costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.outcome import OutcomeKind
from core.domain.tokens import MAX_TOKENS, AttemptUsage, Tokens, tokens_of

READ = {
    # as Azure documents it
    "both details": (
        {
            "input_tokens": 60,
            "input_tokens_details": {"text_tokens": 50, "image_tokens": 10},
            "output_tokens": 4260,
            "output_tokens_details": {"text_tokens": 100, "image_tokens": 4160},
            "total_tokens": 4320,
        },
        Tokens(text_in=50, image_in=10, image_out=4160, text_out=100),
    ),
    # as gpt-image-1 gives it
    "no details of the output": (
        {"input_tokens": 50, "input_tokens_details": {"text_tokens": 50, "image_tokens": 0}, "output_tokens": 272},
        Tokens(text_in=50, image_out=272),
    ),
    "no details at all": ({"input_tokens": 7, "output_tokens": 8}, Tokens(text_in=7, image_out=8)),
    "details only": (
        {"input_tokens_details": {"text_tokens": 3}, "output_tokens_details": {"image_tokens": 5}},
        Tokens(text_in=3, image_out=5),
    ),
    "more in total than in the details": (
        {
            "input_tokens": 10,
            "input_tokens_details": {"image_tokens": 4},
            "output_tokens": 20,
            "output_tokens_details": {"text_tokens": 1},
        },
        Tokens(text_in=6, image_in=4, image_out=19, text_out=1),
    ),
    "less in total than in the details": (
        {"output_tokens": 1, "output_tokens_details": {"text_tokens": 2, "image_tokens": 3}},
        Tokens(image_out=3, text_out=2),
    ),
    "null details": (
        {"input_tokens": 1, "input_tokens_details": None, "output_tokens": 2, "output_tokens_details": "?"},
        Tokens(text_in=1, image_out=2),
    ),
    "cached text": (
        {
            "input_tokens": 2000,
            "input_tokens_details": {"text_tokens": 2000, "image_tokens": 0, "cached_tokens": 1920},
            "output_tokens": 196,
        },
        Tokens(text_in=2000, image_out=196, cached_text_in=1920),
    ),
    "cached text and pictures": (
        {
            "input_tokens": 100,
            "input_tokens_details": {"text_tokens": 60, "image_tokens": 40, "cached_tokens": 75},
            "output_tokens": 1,
        },
        Tokens(text_in=60, image_in=40, image_out=1, cached_text_in=60, cached_image_in=15),
    ),
    "more cached than there are": (
        {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 99}, "output_tokens": 1},
        Tokens(text_in=7, image_out=1, cached_text_in=7),
    ),
    "cached nonsense": (
        {"input_tokens": 7, "input_tokens_details": {"cached_tokens": "all"}, "output_tokens": 1},
        Tokens(text_in=7, image_out=1),
    ),
    "fields of tomorrow": ({"output_tokens": 2, "cached_tokens": {"a": 1}}, Tokens(image_out=2)),
}


@pytest.mark.parametrize(("usage", "expected"), READ.values(), ids=READ)
def test_what_is_read(usage: dict[str, Any], expected: Tokens) -> None:
    """Details tell text from picture; what a total has beyond them is text in the input and picture in the output."""
    assert expected == tokens_of(usage)


NONE = {
    "absent": None,
    "no object": [1, 2],
    "empty": {},
    "no output": {"input_tokens": 5},
    "an output of 0": {"input_tokens": 5, "output_tokens": 0, "total_tokens": 5},
    "a negative count": {"input_tokens": -5, "output_tokens": 5},
    "a negative detail": {"output_tokens": 5, "output_tokens_details": {"text_tokens": -1}},
    "a fraction": {"output_tokens": 5.5},
    "a text": {"output_tokens": "5"},
    "true": {"output_tokens": True},
    "too many": {"output_tokens": MAX_TOKENS + 1},
}


@pytest.mark.parametrize("usage", NONE.values(), ids=NONE)
def test_what_cannot_be_right(usage: object) -> None:
    """A count that is no count is none: a picture is never free, and never costs what a typing error says."""
    assert tokens_of(usage) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details"),
                    *("text_tokens", "image_tokens"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_usage(usage: object) -> None:
    """Whatever upstream sends, the counts are within their bounds, or there are none."""
    tokens = tokens_of(usage)
    if tokens is not None:
        counts = (tokens.text_in, tokens.image_in, tokens.image_out, tokens.text_out)
        assert all(0 <= count <= MAX_TOKENS for count in counts)
        assert tokens.image_out + tokens.text_out > 0


@pytest.mark.parametrize("kind", [None, *OutcomeKind])
def test_what_is_uncertain(kind: OutcomeKind | None) -> None:
    """What may be billed without a picture: an ambiguous end, and an end that nobody saw."""
    assert (kind in {None, OutcomeKind.AMBIGUOUS}) is AttemptUsage(step=0, kind=kind).is_uncertain
