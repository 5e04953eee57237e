r"""JSON whose base64 pictures stay where they lie.

An answer is a few hundred bytes of JSON around megabytes of base64. Parsing it whole would decode each picture into a
`str` and rendering it would encode that again: three copies and some 30 ms of CPU for 4 MiB. Here the text of each
`"b64_json": "…"` is lifted out as views of the very pieces in which it came from the network, a short mark takes its
place, the small rest is parsed, changed and rendered as usual, and the views are laid back between.

Why a byte search is safe: in valid JSON a quote inside a string is always escaped, so the bytes `"b64_json"` without a
backslash before them are that very string token (RFC 8259 §7), and base64 has neither quotes nor backslashes; a
text that has an escape in it (`\/`) is carried as it is, since it is never decoded.
"""

from __future__ import annotations

import itertools
import re
import secrets
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import orjson
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Buffer = bytes | memoryview
"""What is sent."""

_KEY: Final = re.compile(rb'(?<!\\)"b64_json"[ \t\r\n]*:[ \t\r\n]*"')
_KEY_REACH: Final = 64
"""How far back a key may begin that ends in this piece. One with more white space is found by the parser instead."""
_PREFIX: Final = secrets.token_hex(8)
"""Unguessable, so that no prompt can contain a mark."""
_MARKS: Final = re.compile(rb'"(%s:\d+)"' % _PREFIX.encode())
_ESCAPES: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""An escaped backslash, a pair of surrogates, or (as a group) one that stands alone."""
MAX_DEPTH: Final = 200
"""How deep JSON may be nested that is passed on: what is put around it must fit, too."""
_BACKSLASH: Final = ord("\\")
_numbers: Final = itertools.count()


class InvalidImageJson(ValueError):
    """The bytes are not one JSON object."""


class ImageJson(Struct, frozen=True):
    """One JSON object and the base64 texts lifted out of it.

    In `value`, a lifted text is represented by its mark: a non-empty string, to be moved about like any other.
    Marks are unique in the process, so that parts of several documents can be put into one.
    """

    value: dict[str, Any]
    literals: Mapping[str, Sequence[Buffer]] = field(default_factory=lambda: MappingProxyType({}))
    """The pieces of the text between the quotes, by its mark."""

    @classmethod
    def parse(cls, body: bytes | bytearray) -> ImageJson:
        """Read one JSON object that is there whole. Raises InvalidImageJson for anything else."""
        lifter = ImageJsonParser()
        lifter.feed(bytes(body))
        return lifter.document()

    @property
    def held_bytes(self) -> int:
        """The size of its base64 texts, in bytes."""
        return sum(len(piece) for pieces in self.literals.values() for piece in pieces)

    def render(self) -> list[Buffer]:
        """The JSON as pieces to be sent one after the other; the pictures among them are not copied."""
        text = orjson.dumps(self.value)
        pieces: list[Buffer] = []
        position = 0
        for mark in _MARKS.finditer(text):
            pieces.append(text[position : mark.start() + 1])
            pieces.extend(self.literals[mark.group(1).decode()])
            position = mark.end() - 1
        pieces.append(text[position:])
        return pieces


class ImageJsonParser:
    """Takes JSON in pieces, cut anywhere, and lifts the base64 texts out of it as they go by."""

    __slots__ = ("_literal", "_literals", "_settled", "_text", "size")

    def __init__(self) -> None:
        self._text = bytearray()
        self._literals: dict[str, Sequence[Buffer]] = {}
        self._literal: list[memoryview] | None = None
        self._settled = 0
        """Up to where `_text` is done with: what ends before is not looked at for a key again."""
        self.size = 0
        """How many bytes it was fed."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece; it is kept, not copied, where it is part of a picture. Raises InvalidImageJson."""
        self.size += len(piece)
        position = 0
        while position < len(piece):
            position = self._inside(piece, position) if self._literal is not None else self._outside(piece, position)

    @property
    def text(self) -> bytes:
        """What is not lifted, so far."""
        return bytes(self._text)

    def document(self) -> ImageJson:
        """Say that this was all. Raises InvalidImageJson where it is not one JSON object."""
        if self._literal is not None:
            raise InvalidImageJson("a string does not end")
        try:
            value = _loads(self._text)
        except orjson.JSONDecodeError as error:
            raise InvalidImageJson(str(error)) from None
        if not isinstance(value, dict):
            raise InvalidImageJson("not a JSON object")
        if is_too_deep(self._text, value):
            raise InvalidImageJson(f"nested more than {MAX_DEPTH} deep")
        return ImageJson(value, self._literals)

    def _outside(self, piece: bytes, position: int) -> int:
        """Take what is not part of a picture, up to where one begins; give the position behind it."""
        before = len(self._text)
        self._text += memoryview(piece)[position:]
        key = _KEY.search(self._text, max(self._settled, before - _KEY_REACH))
        if key is None:
            return len(piece)
        # What was there before had no key in it, so this one ends in the new piece.
        position += key.end() - before
        del self._text[key.end() :]
        self._literal = []
        return position

    def _inside(self, piece: bytes, position: int) -> int:
        """Take the text of a picture, up to its closing quote; give the position of what follows."""
        literal = self._literal
        if literal is None:
            raise AssertionError("not inside a literal")
        end = piece.find(b'"', position)
        last = len(piece) if end < 0 else end
        if piece.find(b"\n", position, last) >= 0 or piece.find(b"\r", position, last) >= 0:
            raise InvalidImageJson("a line break inside a string")  # it would break an event in two
        if last > position:
            literal.append(memoryview(piece)[position:last])
        if end < 0:
            return last
        if _ends_escaped(literal):
            literal.append(memoryview(piece)[end : end + 1])
            return end + 1
        if literal:  # an empty text is no picture; it stays a plain ""
            self._text += parse_image_json(literal, self._literals).encode()
        self._literal = None
        self._text += b'"'
        self._settled = len(self._text)
        return end + 1


def _loads(text: bytearray) -> object:
    """Parse JSON; half characters become U+FFFD: a picture is not lost for a broken word beside it."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        whole = text.decode(errors="replace").encode()
        return orjson.loads(_ESCAPES.sub(lambda found: b"\\ufffd" if found[1] else found[0], whole))


def is_too_deep(text: bytes | bytearray, value: object) -> bool:
    """Whether JSON is nested so deep that it could be read but not written again (orjson reads 1024, writes 254).

    `text` is what `value` was read from: with few brackets in it there is nothing to be looked at.
    """
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return False
    return True


def _inner(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def parse_image_json(parts: Sequence[Buffer], literals: dict[str, Sequence[Buffer]]) -> str:
    """Put a base64 text among the literals of a document, and give the mark that stands for it in `value`."""
    mark = f"{_PREFIX}:{next(_numbers)}"
    literals[mark] = parts
    return mark


def _ends_escaped(literal: list[memoryview]) -> bool:
    """Whether an odd number of backslashes stands at the end, so that the quote behind them does not count."""
    count = 0
    for part in reversed(literal):
        for byte in reversed(part):
            if byte != _BACKSLASH:
                return count % 2 == 1
            count += 1
    return count % 2 == 1
