"""The two forms of an answer and the way between them (contract §4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.image_json import ImageJson
from core.domain.image_response import (
    COMPLETED,
    completed_to_response,
    has_picture,
    response_to_completed,
    with_indexes,
)

USAGE = {"input_tokens": 9, "input_tokens_details": {"text_tokens": 9, "image_tokens": 0}, "output_tokens": 272}


def parsed(value: dict[str, Any]) -> ImageJson:
    """A document, as it comes from the wire."""
    return ImageJson.parse(json.dumps(value).encode())


def shown(document: ImageJson) -> dict[str, Any]:
    """What a document says on the wire."""
    said: dict[str, Any] = json.loads(b"".join(document.render()))
    return said


def test_fold_one() -> None:
    """A `completed` event becomes an images answer: the picture in `data`, the rest at the top."""
    event = {
        "type": COMPLETED,
        "b64_json": "AAAA",
        "index": 0,
        "created_at": 7,
        "size": "1024x1024",
        "quality": "low",
        "background": "opaque",
        "output_format": "png",
        "usage": USAGE,
    }
    expected = {
        "created": 7,
        "size": "1024x1024",
        "quality": "low",
        "background": "opaque",
        "output_format": "png",
        "usage": USAGE,
        "data": [{"b64_json": "AAAA"}],
    }
    assert expected == shown(completed_to_response([parsed(event)]))


def test_fold_keeps_what_belongs_to_a_picture() -> None:
    """Each picture keeps its revised prompt and its filter results."""
    events = [
        {"b64_json": letter * 4, "revised_prompt": letter, "content_filter_results": {"hate": letter}}
        for letter in "AB"
    ]
    assert events == shown(completed_to_response([parsed({"type": COMPLETED, **event}) for event in events]))["data"]


def test_unknown_fields_survive_folding() -> None:
    """A field that Azure adds to its events is still there in JSON."""
    assert {"new": [1]} == shown(completed_to_response([parsed({"b64_json": "AAAA", "new": {"new": [1]}})]))["new"]


def test_unfold() -> None:
    """Each item becomes a numbered `completed` event; the one usage stands on the last."""
    answer = {"created": 7, "size": "1024x1024", "usage": USAGE, "data": [{"b64_json": "AAAA"}, {"b64_json": "BBBB"}]}
    first = {"type": COMPLETED, "created_at": 7, "size": "1024x1024", "b64_json": "AAAA", "index": 0}
    last = {"type": COMPLETED, "created_at": 7, "size": "1024x1024", "b64_json": "BBBB", "index": 1, "usage": USAGE}
    assert [first, last] == [shown(event) for event in response_to_completed(parsed(answer))]


def test_unknown_fields_survive_unfolding() -> None:
    """Fields that Azure adds, beside the pictures or to them, are still there in the events."""
    answer = {"new": 1, "data": [{"b64_json": "AAAA", "safety": {"score": 2}}]}
    (event,) = response_to_completed(parsed(answer))
    assert (1, {"score": 2}) == (shown(event)["new"], shown(event)["safety"])


def test_an_event_is_always_called_completed() -> None:
    """A field `type` of upstream's, at the top or in an item, never renames the event."""
    answer = {"type": "images", "data": [{"b64_json": "AAAA"}, {"b64_json": "BBBB", "type": "image"}]}
    assert [shown(event)["type"] for event in response_to_completed(parsed(answer))] == [COMPLETED, COMPLETED]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"data": [{"b64_json": "AAAA", "small": {"b64_json": "BB"}}]}, id="deeper in an item"),
        pytest.param({"data": [{"b64_json": "AAAA"}], "sheet": {"b64_json": "BB"}}, id="beside the items"),
    ],
)
def test_pictures_in_unknown_places_survive(answer: dict[str, Any]) -> None:
    """A `b64_json` in a field that nobody here knows is passed on like every unknown field."""
    (event,) = response_to_completed(parsed(answer))
    said = shown(event)
    assert {"b64_json": "BB"} == said.get("small", said.get("sheet"))


def test_only_its_own_picture_goes_with_an_event() -> None:
    """An event shows its own picture and no other."""
    events = list(response_to_completed(parsed({"data": [{"b64_json": "AAAA"}, {"b64_json": "BBBB"}]})))
    assert [True, False] == [b"AAAA" in b"".join(event.render()) for event in events]


def test_no_items_no_events() -> None:
    """An answer without items has no events."""
    assert [] == list(response_to_completed(parsed({"data": [], "usage": USAGE})))


def test_indexes() -> None:
    """JSON callers get each item numbered, whatever upstream numbered, and the gateway's own fields beside."""
    answer = parsed({"created": 7, "data": [{"b64_json": "AAAA", "index": 9}, {"url": "u"}], "extra_fields": {"x": 1}})
    expected = {
        "created": 7,
        "data": [{"b64_json": "AAAA", "index": 0}, {"url": "u", "index": 1}],
        "extra_fields": {"provider": "azure"},
    }
    assert expected == shown(with_indexes(answer, {"provider": "azure"}))


def test_upstreams_own_extra_fields_do_not_reach_events() -> None:
    """`extra_fields` is the gateway's to say."""
    (event,) = response_to_completed(parsed({"extra_fields": {"x": 1}, "data": [{"url": "u"}]}))
    assert "extra_fields" not in shown(event)


@pytest.mark.parametrize(
    ("item", "held"),
    [
        ({"b64_json": "AAAA"}, True),
        ({"url": "https://h/p"}, True),
        ({"b64_json": None, "url": "u"}, True),
        ({"b64_json": ""}, False),
        ({"b64_json": None}, False),
        ({"url": ""}, False),
        ({"url": 5}, False),
        ({"b64_json": ["AAAA"]}, False),
        ({"b64_json": True}, False),
        ({"revised_prompt": "p"}, False),
        ({}, False),
        (None, False),
        ("b64_json", False),
        (["b64_json"], False),
    ],
    ids=str,
)
def test_has_picture(item: object, held: bool) -> None:
    """An item holds a picture if its `b64_json` or `url` is a text that is not empty."""
    assert held is has_picture(item)


_TOP = st.dictionaries(
    st.sampled_from(["size", "quality", "background", "output_format", "new", "created"]),
    st.integers(0, 9) | st.text(max_size=3) | st.lists(st.none(), max_size=2),
)
_ITEM = st.fixed_dictionaries(
    {"b64_json": st.text("ABC", min_size=1, max_size=8)}, optional={"revised_prompt": st.text(max_size=5)}
)


@settings(max_examples=100, deadline=None)
@given(_TOP, st.lists(_ITEM, min_size=1, max_size=4), st.booleans())
def test_there_and_back(top: dict[str, Any], items: list[dict[str, Any]], counted: bool) -> None:
    """An answer that is taken apart into events and put together again is the same answer."""
    answer = {**top, "data": items, **({"usage": USAGE} if counted else {})}
    assert answer == shown(completed_to_response(list(response_to_completed(parsed(answer)))))
