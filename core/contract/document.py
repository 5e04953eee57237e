r"""JSON whose base64 pictures stay where they lie.

An answer is a few hundred bytes of JSON around megabytes of base64. Parsing it whole would decode each picture
into a `str` and rendering it would encode that again: three copies and some 30 ms of CPU for 4 MiB. Here each
`"b64_json": "…"` literal is lifted out as a view of the bytes it arrived in, a short mark takes its place, the
small rest is parsed, changed and rendered as usual, and the views are laid back between the pieces.

Why a byte search is safe: in valid JSON a quote inside a string is always escaped, so the bytes `"b64_json"`
without a backslash before them are that very string token (RFC 8259 §7), and base64 has neither quotes nor
backslashes; a literal that has an escape in it (`\/`) is carried as it is, since it is never decoded.
"""

from __future__ import annotations

import itertools
import re
import secrets
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

Buffer = bytes | memoryview
"""What is sent."""

_KEY: Final = re.compile(rb'(?<!\\)"b64_json"[ \t\r\n]*:[ \t\r\n]*"')
_PREFIX: Final = secrets.token_hex(8)
"""Unguessable, so that no prompt can contain a mark."""
_MARKS: Final = re.compile(rb'"(%s:\d+)"' % _PREFIX.encode())
_numbers: Final = itertools.count()


class NotADocument(ValueError):
    """The bytes are not one JSON object."""


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON object and the base64 literals lifted out of it.

    In `value`, a lifted literal is represented by its mark: a non-empty string, to be moved about like any other.
    Marks are unique in the process, so that parts of several documents can be put into one.
    """

    value: dict[str, Any]
    literals: Mapping[str, Buffer] = field(default_factory=lambda: MappingProxyType({}))
    """The text between the quotes, by its mark."""

    @classmethod
    def parse(cls, body: bytes | bytearray) -> Document:
        """Read one JSON object. Raises NotADocument for anything else."""
        view = memoryview(body)
        pieces: list[Buffer] = []
        literals: dict[str, Buffer] = {}
        position = 0
        while key := _KEY.search(body, position):
            start = key.end()
            end = _end_of_string(body, start)
            pieces.append(view[position:start])
            position = end
            if end > start:  # an empty literal is no picture; it stays a plain ""
                if body.find(b"\n", start, end) >= 0 or body.find(b"\r", start, end) >= 0:
                    raise NotADocument("a line break inside a string")  # it would break an event in two
                mark = lift(view[start:end], literals)
                pieces.append(mark.encode())
        pieces.append(view[position:])
        try:
            value = orjson.loads(b"".join(pieces))
        except orjson.JSONDecodeError as error:
            raise NotADocument(str(error)) from None
        if not isinstance(value, dict):
            raise NotADocument("not a JSON object")
        return cls(value, literals)

    def render(self) -> list[Buffer]:
        """The JSON as pieces to be sent one after the other; the pictures among them are not copied."""
        text = orjson.dumps(self.value)
        pieces: list[Buffer] = []
        position = 0
        for mark in _MARKS.finditer(text):
            pieces.append(text[position : mark.start() + 1])
            pieces.append(self.literals[mark.group(1).decode()])
            position = mark.end() - 1
        pieces.append(text[position:])
        return pieces


def lift(text: Buffer, literals: dict[str, Buffer]) -> str:
    """Put a base64 text among the literals of a document, and give the mark that stands for it in `value`."""
    mark = f"{_PREFIX}:{next(_numbers)}"
    literals[mark] = text
    return mark


def _end_of_string(body: bytes | bytearray, start: int) -> int:
    """Where the string that begins at `start` ends: its first quote that no backslash escapes."""
    position = start
    while (end := body.find(b'"', position)) >= 0:
        backslashes = 0
        while end - backslashes > start and body[end - backslashes - 1] == ord("\\"):
            backslashes += 1
        if backslashes % 2 == 0:
            return end
        position = end + 1
    raise NotADocument("a string does not end")
