"""The upstream's answers."""

from __future__ import annotations

import base64
import json

import pytest

from bench import canned
from bench.canned import Kind


@pytest.mark.parametrize(
    "kind", [Kind(characters=4096), Kind(characters=16, wait_ms=50), Kind(characters=44_000_000, wait_ms=1, hold=True)]
)
def test_a_name_says_what_is_answered(kind: Kind) -> None:
    """What a deployment answers can be read from its name."""
    assert kind == Kind.of(kind.deployment)


@pytest.mark.parametrize("name", ["gpt-image-1", "gpt-image-1-b", "gpt-image-1-b17", "gpt-image-1-b16-hold-w5", ""])
def test_other_names_say_nothing(name: str) -> None:
    """A deployment that was not made for the bench is not known."""
    assert Kind.of(name) is None


def test_no_base64_has_that_length() -> None:
    """A length that is no multiple of four cannot be asked for."""
    with pytest.raises(ValueError, match="in fours"):
        Kind(characters=17)


def test_json_is_azures() -> None:
    """The JSON answer has the pictures, each a PNG's base64, and the length that its head tells."""
    head, _, body = b"".join(canned.whole(64, 3)).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}" in head.decode()
    answer = json.loads(body)
    assert [canned.picture(64).decode()] * 3 == [item["b64_json"] for item in answer["data"]]
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(b"\x89PNG")
    assert answer["usage"]["total_tokens"] == 1065


def test_large_pictures_are_not_copied() -> None:
    """Ten large pictures in one answer are ten times the same bytes."""
    pieces = canned.whole(canned.CHUNK_BYTES, 10)
    assert sum(piece is canned.picture(canned.CHUNK_BYTES) for piece in pieces) == 10


@pytest.mark.parametrize("characters", [64, 3 * canned.CHUNK_BYTES])
def test_a_stream_is_azures(characters: int) -> None:
    """The chunks of a stream hold a partial image and the completed one, and end."""
    stream = canned.partial_event(characters, 0) + canned.completed_event(characters, is_first=False)
    body, position = bytearray(), stream.index(b"\r\n\r\n") + 4
    while size := int(stream[position : stream.index(b"\r\n", position)], 16):
        assert size <= canned.CHUNK_BYTES
        start = stream.index(b"\r\n", position) + 2
        body += stream[start : start + size]
        position = start + size + 2
    assert stream[position:] == b"0\r\n\r\n"
    events = [event.split("\n") for event in body.decode().removesuffix("\n\n").split("\n\n")]
    assert [f"event: {canned.PARTIAL}", f"event: {canned.COMPLETED}"] == [lines[0] for lines in events]
    told = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
    assert [canned.picture(characters).decode()] * 2 == [each["b64_json"] for each in told]
    assert ["usage" not in told[0], "usage" in told[1]] == [True, True]
