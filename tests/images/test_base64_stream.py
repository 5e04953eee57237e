"""Base64 decoded step by step."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.images.base64_stream import STEP, NotBase64, decoded


def cut(text: bytes, places: list[int]) -> list[memoryview]:
    """A text in pieces, cut at these places."""
    at = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    return [memoryview(text)[start:end] for start, end in pairwise(at)]


@given(st.binary(min_size=1, max_size=3000), st.lists(st.integers(0, 4200)), st.booleans())
def test_any_bytes_come_back_however_their_text_is_cut(content: bytes, places: list[int], escaped: bool) -> None:
    """Pieces may be cut anywhere, between the backslash and the slash of an escape, too."""
    text = base64.b64encode(content)
    if escaped:
        text = text.replace(b"/", b"\\/")
    assert content == b"".join(decoded(cut(text, places)))


def test_a_large_text_is_decoded_in_steps() -> None:
    """No step holds more than its share of a large picture."""
    content = bytes(range(256)) * 8192
    steps = list(decoded([base64.b64encode(content)]))
    assert content == b"".join(steps)
    assert STEP // 4 * 3 == max(len(step) for step in steps)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"QUJ", id="cut short"),
        pytest.param(b"QUJD\\", id="a backslash at the end"),
        pytest.param(b"QUJD\\nQUJD", id="a line break"),
        pytest.param(b"\\u0051UJD", id="an escaped letter"),
        pytest.param(b"QUJ%", id="another letter"),
        pytest.param(b"QUI=QUJD", id="padding in the middle"),
        pytest.param(b"QQ=", id="too little padding"),
        pytest.param(b"====", id="padding only"),
    ],
)
def test_what_is_not_base64_is_refused(text: bytes) -> None:
    """A picture that cannot be decoded whole is none, wherever the text is cut."""
    for places in ([], [4], list(range(len(text)))):
        with pytest.raises(NotBase64):
            list(decoded(cut(text, places)))
