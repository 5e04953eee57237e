"""JSON that somebody else wrote: what is read of it, what is refused, and how long that may take."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.errors import InvalidRequest
from core.domain.json_input import MAX_DEPTH, MAX_VALUES, parse_json

MIB = 1 << 20
MAX_SECONDS = 0.05
"""How long no input may make the event loop stand still."""


def nested(depth: int) -> bytes:
    """An array in an array, and so on."""
    return b"[" * depth + b"]" * depth


def refused(text: bytes) -> str:
    """What is said of it."""
    with pytest.raises(InvalidRequest) as refusal:
        parse_json(text, "It")
    assert (400, "invalid_json") == (refusal.value.status, refusal.value.code)
    return refusal.value.message


def test_depth() -> None:
    """JSON is read to a depth of 64, however many brackets its texts have."""
    assert parse_json(nested(MAX_DEPTH), "It")
    assert [["["] * 100] == parse_json(json.dumps([["["] * 100]).encode(), "It")
    assert "It is nested more than 64 deep" == refused(nested(MAX_DEPTH + 1))
    assert "It is nested more than 64 deep" == refused(b'["\\"",' + nested(MAX_DEPTH) + b"]")


def test_number_of_values() -> None:
    """It has at most 10,000 values, however many commas its texts have."""
    assert MAX_VALUES == len(parse_json(json.dumps(list(range(MAX_VALUES))).encode(), "It"))
    assert {"prompt": "," * 32_000} == parse_json(json.dumps({"prompt": "," * 32_000}).encode(), "It")
    assert "It has more than 10,000 values" == refused(json.dumps(list(range(MAX_VALUES + 1))).encode())


SLOW = {
    "arrays": b"[]," * (MIB // 3),
    "nested arrays": nested(MIB // 2),
    "nested objects": b'{"":' * (MIB // 4),
    "numbers": b"[" + b"1," * (MIB // 2 - 2) + b"1]",
    "texts": b"[" + b'"",' * (MIB // 3 - 1) + b'""]',
    "texts without commas": b"," * 20_000 + b'""' * (MIB // 2 - 10_000),
    "a text without an end": b"," * MAX_VALUES + b'["' + b'\\"' * (MIB // 2 - 5_001),
    "quotes and backslashes": b"[" * 65 + b'"\\' * (MIB // 2 - 33),
    "escapes": b"," * 10_001 + b'"' + b"\\n" * (MIB // 2 - 5_100) + b'"',
    "names": b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}",
    "one number": b"[" + b"1" * (MIB - 2) + b"]",
    "a fraction": b"[0." + b"1" * (MIB - 4) + b"]",
    "white space": b"{" + b" " * (MIB - 2) + b"}",
    "not UTF-8": b'["' + b"a" * (MIB - 4) + b"\xff]",
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_nothing_takes_long(text: bytes) -> None:
    """No mebibyte of anything makes the event loop stand still for more than 50 ms of CPU, read or refused."""
    assert len(text) <= MIB
    times = []
    for _ in range(3):
        began = time.process_time()
        with suppress(InvalidRequest):
            parse_json(text, "It")
        times.append(time.process_time() - began)
    assert min(times) < MAX_SECONDS


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(_JSON, st.booleans())
def test_what_is_read(value: Any, marked: bool) -> None:
    """What is JSON is read as it is, with a byte order mark or without."""
    assert value == parse_json((b"\xef\xbb\xbf" if marked else b"") + json.dumps(value).encode(), "It")
