"""JSON that somebody else wrote, read so that no input makes the event loop stand still.

orjson reads a mebibyte of plain values in a few milliseconds, and one of brackets and commas in fifty; so depth and
number of values are bounded before it sees them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from core.domain.errors import InvalidRequest

MAX_DEPTH: Final = 64
"""How deep objects and arrays may be nested."""
MAX_VALUES: Final = 10_000

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
"""A string, also one without an end (else each of its quotes would be looked at anew), or what structure is made of."""
_MAX_TOKENS: Final = 4 * MAX_VALUES
"""No object of `MAX_VALUES` values has more: a name, a value, a comma, and a bracket for each."""
_OPENING: Final = frozenset({b"[", b"{"})
_CLOSING: Final = frozenset({b"]", b"}"})


def parse_object(text: bytes, what: str = "The request body") -> dict[str, Any]:
    """Read one JSON object. Raises InvalidRequest (400)."""
    value = parse_json(text, what)
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} must be a JSON object, got {shown(value)}", code="invalid_json")
    return value


def parse_json(text: bytes, what: str) -> Any:
    """Read JSON in UTF-8, with or without a byte order mark. Raises InvalidRequest (400), which calls it `what`."""
    content = text.removeprefix(_BYTE_ORDER_MARK)
    _check_structure(content, what)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
    try:
        content.decode()
    except UnicodeDecodeError as error:
        byte, place = content[error.start], f"byte {len(text) - len(content) + error.start + 1:,}"
        raise InvalidRequest(f"{what} is not UTF-8: {place} is 0x{byte:02x}", code="invalid_json") from None
    raise InvalidRequest(f"{what} is not valid JSON ({place})", code="invalid_json")


def _check_structure(text: bytes, what: str) -> None:
    opening = text.count(b"[") + text.count(b"{")
    if opening <= MAX_DEPTH and opening + text.count(b",") <= MAX_VALUES:
        return
    depth = values = 0
    for number, found in enumerate(_TOKEN.finditer(text)):
        token = found[0]
        if token in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidRequest(f"{what} is nested more than {MAX_DEPTH} deep", code="invalid_json")
        elif token in _CLOSING:
            depth -= 1
        values += token == b"," or token in _OPENING
        if values > MAX_VALUES or number > _MAX_TOKENS:
            raise InvalidRequest(f"{what} has more than {MAX_VALUES:,} values", code="invalid_json")


def shown(value: object) -> str:
    """A value as an error may show it: short, on one line, and never a whole structure."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list():
            return f"an array of {len(value)}"
        case str() if len(value) > 40:
            return f"a string of {len(value)} characters"
        case _:
            return ascii(value)
