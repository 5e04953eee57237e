r"""JSON whose base64 pictures stay where they lie.

An answer is a few hundred bytes of JSON around megabytes of base64. Parsing it whole would decode each picture into a
`str` and rendering it would encode that again: three copies and some 30 ms of CPU for 4 MiB. Here the text of each
`"b64_json": "…"` is lifted out as views of the very pieces in which it came from the network, a short mark takes its
place, the small rest is parsed, changed and rendered as usual, and the views are laid back between.

Why a byte search is safe: in valid JSON a quote inside a string is always escaped, so the bytes `"b64_json"` without a
backslash before them are that very string token (RFC 8259 §7), and base64 has neither quotes nor backslashes. A
text with `\/` in it, as some write a slash, is carried as it is, since it is never decoded; one that has a quote in
it is no picture.
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
"""How far back a key may begin that ends in this piece. One with more white space stays a plain string."""
_PREFIX: Final = secrets.token_hex(8)
"""Unguessable, so that no prompt can contain a mark."""
_MARKS: Final = re.compile(rb'"(%s:\d+)"' % _PREFIX.encode())
_ESCAPES: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""An escaped backslash, a pair of surrogates, or (as a group) one that stands alone."""
MAX_DEPTH: Final = 200
"""How deep JSON may be nested that is passed on: what is put around it must fit, too."""
MAX_TEXT_BYTES: Final = 2 << 20
"""How much JSON may stand around the pictures: ten revised prompts of 32,000 escaped characters have 1.9 MB."""
MAX_VALUES: Final = 50_000
"""How many values JSON may have that is parsed; an answer of ten pictures has some hundred."""
_MIN_VIEW_BYTES: Final = 1024
_MAX_JOINED_BYTES: Final = 64 << 10
BOM: Final = b"\xef\xbb\xbf"
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
    """Takes JSON in pieces, cut anywhere, and lifts the base64 texts out of it as they go by.

    What it keeps besides pictures is bounded, and so is the number of pictures: `is_full` says that the rest of the
    bytes is not wanted.
    """

    __slots__ = ("_images", "_last_picture", "_literal", "_literals", "_settled", "_text", "is_full", "size")

    def __init__(self, images: int | None = None) -> None:
        """`images` is how many pictures are wanted; None: as many as there are."""
        self._images = images
        self._text = bytearray()
        self._literals: dict[str, Sequence[Buffer]] = {}
        self._literal: list[Buffer | bytearray] | None = None
        self._settled = 0
        """Up to where `_text` is done with: what ends before is not looked at for a key again."""
        self._last_picture = 0
        """Where the mark of the last picture ends in `_text`."""
        self.is_full = False
        """Whether there is more than is wanted: what is fed from now on is not looked at."""
        self.size = 0
        """How many bytes it was fed."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece; it is kept, not copied, where it is part of a picture. Raises InvalidImageJson."""
        self.size += len(piece)
        position = 0
        while position < len(piece) and not self.is_full:
            position = self._inside(piece, position) if self._literal is not None else self._outside(piece, position)

    @property
    def text(self) -> bytes:
        """What is not lifted, so far."""
        return bytes(self._text)

    def document(self) -> ImageJson:
        """Say that this was all. Raises InvalidImageJson where it is not one JSON object.

        Of more than is wanted, what comes before is made whole: the pictures up to then were paid for.
        """
        if self._literal is not None and not self.is_full:
            raise InvalidImageJson("a string does not end")
        text = bytes(self._text)
        if self.is_full:
            if not self._last_picture:
                raise InvalidImageJson("too long without a picture")
            text = text[: self._last_picture] + b"}]}"
        value = parse_json(text)
        if not isinstance(value, dict):
            raise InvalidImageJson("not a JSON object")
        return ImageJson(value, self._literals)

    def _outside(self, piece: bytes, position: int) -> int:
        """Take what is not part of a picture, up to where one begins; give the position behind it."""
        before = len(self._text)
        self._text += memoryview(piece)[position : position + MAX_TEXT_BYTES + 1]
        key = _KEY.search(self._text, max(self._settled, before - _KEY_REACH))
        if key is not None:
            # What was there before had no key in it, so this one ends in the new piece.
            position += key.end() - before
            del self._text[key.end() :]
            self._literal = []
        self.is_full = len(self._text) > MAX_TEXT_BYTES or (key is not None and len(self._literals) == self._images)
        return len(piece) if key is None else position

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
            _append(literal, memoryview(piece)[position:last])
        if end < 0:
            return last
        if literal:  # an empty text is no picture; it stays a plain ""
            if literal[-1][-1] == _BACKSLASH:
                raise InvalidImageJson("an escaped quote or backslash in base64")
            self._text += parse_image_json([memoryview(part) for part in literal], self._literals).encode()
        self._literal = None
        self._text += b'"'
        self._settled = len(self._text)
        if literal:
            self._last_picture = self._settled
        return end + 1


def _append(literal: list[Buffer | bytearray], part: memoryview) -> None:
    """Keep a part of a picture as it lies; small ones are put together, for each view costs memory of its own."""
    if len(part) >= _MIN_VIEW_BYTES:
        literal.append(part)
    elif literal and isinstance(literal[-1], bytearray) and len(literal[-1]) < _MAX_JOINED_BYTES:
        literal[-1] += part
    else:
        literal.append(bytearray(part))


def parse_json(text: bytes | bytearray) -> object:
    """Parse JSON that others wrote, a byte order mark before it skipped. Raises InvalidImageJson.

    The parser stops the event loop while it works, so what has too many values is not given to it. Half characters
    become U+FFFD: a picture is not lost for a broken word beside it.
    """
    text = text.removeprefix(BOM)
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise InvalidImageJson(f"more than {MAX_VALUES:,} values")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _parse_broken(text)
    if is_too_deep(text, value):
        raise InvalidImageJson(f"nested more than {MAX_DEPTH} deep")
    return value


def _parse_broken(text: bytes | bytearray) -> object:
    """Parse JSON in which half characters may stand."""
    if text.count(b"\\") > MAX_VALUES:
        raise InvalidImageJson("not JSON")
    whole = text.decode(errors="replace").encode()
    try:
        return orjson.loads(_ESCAPES.sub(lambda found: b"\\ufffd" if found[1] else found[0], whole))
    except orjson.JSONDecodeError as error:
        raise InvalidImageJson(str(error)) from None


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
