"""Reading what an operator sent: conditions, cursors, and errors that name the place and the cure."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.admin.forms import KeyChanges, NewKey, Rotation
from core.admin.parsing import LEGAL, make_cursor, read_cursor, read_form, read_if_match
from core.domain.errors import InvalidRequest

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
TOP = [name for name in LEGAL if "." not in name and "[" not in name]
BODIES = st.dictionaries(st.sampled_from(TOP) | st.text(max_size=9), ANY_JSON, max_size=5)
NESTED = st.fixed_dictionaries(
    {"name": st.just("x")},
    optional={
        "rate_limit": st.dictionaries(
            st.sampled_from(["requests", "images", "image"]),
            ANY_JSON | st.dictionaries(st.sampled_from(["limit", "window", "per"]), ANY_JSON),
        ),
        "budget": st.dictionaries(st.sampled_from(["usd", "window", "euro"]), ANY_JSON),
        "metadata": st.dictionaries(st.text(max_size=70), ANY_JSON | st.text(max_size=300), max_size=18),
        "deployments": st.lists(ANY_JSON | st.sampled_from(["a", "*"]), max_size=3),
    },
)


def message(form: Any, **fields: Any) -> str:
    """What is said of a body that is wrong."""
    with pytest.raises(InvalidRequest) as refusal:
        read_form(form, json.dumps(fields).encode())
    return refusal.value.message


@given(BODIES | NESTED, st.sampled_from([NewKey, KeyChanges, Rotation]))
def test_any_body(body: dict[str, Any], form: Any) -> None:
    """Any object is a form, or is refused on one line that names the place; nothing else happens."""
    with contextlib.suppress(InvalidRequest):
        read_form(form, json.dumps(body).encode())
        return
    said = message(form, **body)
    assert (True, False) == (said.isascii(), "\n" in said)
    assert len(said) < 400


def test_every_field_has_words() -> None:
    """What each field may be is said for every field of every form."""
    assert set() == {name for form in (NewKey, KeyChanges, Rotation) for name in form.model_fields} - LEGAL.keys()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"name": "x", "budgett": 1},
            "There is no field 'budgett'; did you mean budget?",
        ),
        (
            {"name": "x", "zzz": 1},
            "There is no field 'zzz'; there are name, deployments, active, expires_at, rate_limit, budget, metadata",
        ),
        (
            {"name": "x", "rate_limit": {"images": {"limit": 0, "window": "1m"}}},
            "rate_limit.images.limit must be a whole number from 1 to 1,000,000,000, got 0",
        ),
        (
            {"name": "x", "rate_limit": {"images": {"limit": 1, "window": "2w"}}},
            "rate_limit.images.window must be a whole number and s, m, h or d, from 1s to 31d, got '2w'",
        ),
        (
            {"name": "x", "budget": {"usd": "5", "window": "day"}},
            "budget.usd must be a number of US dollars, more than 0 and at most 1,000,000, got '5'",
        ),
        ({}, "name is required: a string of 1 to 256 characters without control characters"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:20],
)
def test_messages(fields: dict[str, Any], expected: str) -> None:
    """An error names the field, what it may be and what it is, and what was perhaps meant."""
    assert expected == message(NewKey, **fields)


@pytest.mark.parametrize(
    ("values", "etags"),
    [
        ([], None),
        (["*"], ["*"]),
        (['"*"'], ['"*"']),
        (['"a"'], ["a"]),
        (["a"], ["a"]),
        (['"a", "b"'], ["a", "b"]),
        (['"a"', "b"], ["a", "b"]),
        ([""], [""]),
        (['W/"a"'], ['W/"a']),
    ],
    ids=str,
)
def test_if_match(values: list[str], etags: list[str] | None) -> None:
    """ETags come alone or as a list, in one header or several, with quotes or without; a weak one is no strong one."""
    headers = [("accept", "*"), *(("if-match", value) for value in values)]
    assert (None if etags is None else set(etags)) == read_if_match(headers)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=100))
def test_cursors_there_and_back(place: str) -> None:
    """Every place has a cursor, which leads back to it."""
    assert place == read_cursor(make_cursor(place))


@given(st.binary(min_size=1, max_size=512))
def test_made_up_cursors(place: bytes) -> None:
    """Every cursor is a place."""
    read_cursor(place.hex())


@pytest.mark.parametrize("control", ["\x00", "\n", "\x7f", "\x80", "\x9b"], ids=ascii)
def test_a_name_holds_no_control_characters(control: str) -> None:
    """A name is shown in terminals, where control characters, those of C1 too, are commands."""
    with pytest.raises(InvalidRequest):
        read_form(NewKey, json.dumps({"name": f"Team{control}A", "deployments": ["*"]}).encode())
