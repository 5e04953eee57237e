"""A reader of server-sent events that is fed bytes as they come (WHATWG HTML, "Server-sent events", §9.2.6).

It does no I/O. Differences from a browser's reader, because a line here may be tens of megabytes long:

* `data` goes piece by piece into a ImageJsonParser, which keeps a picture as views of the pieces in which it came.
* `id` and `retry` are for reconnecting, which buys another picture; they are ignored.
* What stands at the end without its blank line is handed out by `close`: a browser drops it, but it may be a picture
  that was paid for. Whether it is whole is for its JSON to tell.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.domain.image_json import BOM, ImageJson, ImageJsonParser, InvalidImageJson

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EVENT_BYTES: Final = 96 << 20
"""No event is longer: a 4K picture is 33 MB of base64. What is longer is not an answer but an attack or a fault."""

MAX_EVENTS: Final = 10_000
"""How many events a stream may have. Ten pictures with three partial images each have 40."""
MAX_PICTURES_IN_AN_EVENT: Final = 10
MAX_LINES: Final = 500_000
"""How many lines a stream may have. A 4K picture in lines of 76 characters has 434,000."""
LINES_WITHOUT_A_PAUSE: Final = 32

_MAX_NAME_BYTES: Final = 16
"""No field's name that counts here is longer, a byte order mark included; of a longer one no more is kept."""


class StreamTooLong(Exception):
    """An event grew beyond MAX_EVENT_BYTES, or there are more than MAX_EVENTS or MAX_LINES."""


class Event(Struct, frozen=True):
    """One event: its name (`message` where none is given) and its data."""

    name: str
    document: ImageJson | None
    """The data as JSON; None where it is not one JSON object."""
    text: bytes
    """The data without the pictures lifted out of it."""


class _Kind(Enum):
    """What the line that is being read is."""

    UNKNOWN = auto()
    """Its colon has not come."""
    DATA = auto()
    EVENT = auto()
    IGNORED = auto()
    """A comment, or a field that does not count here."""


_KINDS: Final = {b"data": _Kind.DATA, b"event": _Kind.EVENT}


class EventReader:
    """Turns pieces of a stream, cut anywhere, into events."""

    def __init__(self) -> None:
        self._at_start = True
        self._after_cr = False
        self._size = self._lines = self._events = 0
        # The event that is being read.
        self._name = ""
        self._data: _Data | None = None
        # The line that is being read.
        self._kind = _Kind.UNKNOWN
        self._short = bytearray()
        """The field's name while its colon has not come; then the value of `event`."""

    def feed(self, piece: bytes) -> Iterator[Event | None]:
        """Take the next piece and yield the events that it completes. Raises StreamTooLong.

        Now and then it yields None, so that the caller can give way to others: a piece may have very many lines.
        """
        position = 0
        if self._after_cr and piece:
            self._after_cr = False
            if piece[0:1] == b"\n":
                position = 1
        next_lf = piece.find(b"\n", position)
        next_cr = piece.find(b"\r", position)
        while next_lf >= 0 or next_cr >= 0:
            ends_with_cr = next_cr >= 0 and (next_lf < 0 or next_cr < next_lf)
            end = next_cr if ends_with_cr else next_lf
            self._take(piece, position, end)
            position = end + 1
            if ends_with_cr:
                if position == len(piece):
                    self._after_cr = True
                elif next_lf == position:
                    position += 1
            yield from self._end_line()
            if 0 <= next_lf < position:
                next_lf = piece.find(b"\n", position)
            if 0 <= next_cr < position:
                next_cr = piece.find(b"\r", position)
        self._take(piece, position, len(piece))

    def close(self) -> Event | None:
        """Say that the stream has ended; hand out what had not been ended by a blank line, if it has data."""
        events = [*self._end_line(), *self._dispatch()]
        return next((event for event in events if event is not None), None)

    def _take(self, piece: bytes, start: int, end: int) -> None:
        """Take a part of a line."""
        if self._kind is _Kind.UNKNOWN:
            colon = piece.find(b":", start, end)
            name_ends = end if colon < 0 else colon
            if len(self._short) < _MAX_NAME_BYTES:
                self._short += piece[start : min(name_ends, start + _MAX_NAME_BYTES)]
            if colon < 0:
                return
            start = colon + 1
            self._begin_value()
        if start == end or self._kind is _Kind.IGNORED:
            return
        self._size += end - start
        if self._size > MAX_EVENT_BYTES:
            raise StreamTooLong
        if self._kind is _Kind.EVENT:
            self._short += piece[start:end]
        elif self._data is not None:
            self._data.feed(piece, start, end)

    def _begin_value(self) -> None:
        """The field's name is there: decide what its value is to be."""
        name, self._short = bytes(self._short), bytearray()
        if self._at_start:
            name = name.removeprefix(BOM)
        self._kind = _KINDS.get(name, _Kind.IGNORED)
        if self._kind is _Kind.DATA:
            if self._data is None:
                self._data = _Data()
            else:
                self._data.next_line()

    def _end_line(self) -> Iterator[Event | None]:
        """End the line that is being read; a blank one ends the event."""
        blank = self._kind is _Kind.UNKNOWN and not self._short
        if not blank and self._kind is _Kind.UNKNOWN:
            self._begin_value()  # a field's name alone: its value is empty
        if self._kind is _Kind.EVENT:
            self._name = self._short.removeprefix(b" ").decode(errors="replace")
        self._kind, self._short, self._at_start = _Kind.UNKNOWN, bytearray(), False
        self._lines += 1
        if self._lines > MAX_LINES:
            raise StreamTooLong
        if blank:
            yield from self._dispatch()
        if self._lines % LINES_WITHOUT_A_PAUSE == 0:
            yield None

    def _dispatch(self) -> Iterator[Event]:
        name, data = self._name, self._data
        self._name, self._data, self._size = "", None, 0
        if data is not None:
            self._events += 1
            if self._events > MAX_EVENTS:
                raise StreamTooLong
            yield data.event(name or "message")


class _Data:
    """The data of one event, while it comes."""

    __slots__ = ("_line_begins", "_parser", "_readable")

    def __init__(self) -> None:
        self._parser = ImageJsonParser(MAX_PICTURES_IN_AN_EVENT)
        self._line_begins = True
        self._readable = True

    def next_line(self) -> None:
        self._parse(b"\n")
        self._line_begins = True

    def feed(self, piece: bytes, start: int, end: int) -> None:
        if self._line_begins:
            self._line_begins = False
            if piece[start : start + 1] == b" ":
                start += 1
        self._parse(piece if end - start == len(piece) else piece[start:end])

    def event(self, name: str) -> Event:
        try:
            document = self._parser.document() if self._readable else None
        except InvalidImageJson:
            document = None
        return Event(name, document, self._parser.text)

    def _parse(self, piece: bytes) -> None:
        if self._readable:
            try:
                self._parser.feed(piece)
            except InvalidImageJson:
                self._readable = False
