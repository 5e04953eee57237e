"""A reader of server-sent events that is fed bytes as they come (WHATWG HTML, "Server-sent events", §9.2.6).

It does no I/O. Differences from a browser's reader, because a line here may be tens of megabytes long:

* `data` stays bytes; nothing is decoded or copied that need not be. A line grows in one buffer, whose front is cut
  off in place, and is handed out as it is.
* `id` and `retry` are for reconnecting, which buys another picture; they are ignored.
* What stands at the end without its blank line is handed out by `close`: a browser drops it, but it may be a
  picture that was paid for. Whether it is whole is for its JSON to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EVENT_BYTES: Final = 96 << 20
"""No event is longer: a 4K picture is 33 MB of base64. What is longer is not an answer but an attack or a fault."""

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 0x0D


class EventTooLong(Exception):
    """An event grew beyond MAX_EVENT_BYTES."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (`message` where none is given) and its data."""

    name: str
    data: bytearray


class EventReader:
    """Turns pieces of a stream, cut anywhere, into events."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._name = ""
        self._data: bytearray | None = None
        self._size = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Take the next piece and yield the events that it completes. Raises EventTooLong."""
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
            self._grow(piece[position:end])
            position = end + 1
            if ends_with_cr:
                if position == len(piece):
                    self._after_cr = True
                elif next_lf == position:
                    position += 1
            event = self._end_line()
            if event is not None:
                yield event
            if 0 <= next_lf < position:
                next_lf = piece.find(b"\n", position)
            if 0 <= next_cr < position:
                next_cr = piece.find(b"\r", position)
        self._grow(piece[position:])

    def close(self) -> Event | None:
        """Say that the stream has ended; hand out what had not been ended by a blank line, if it has data."""
        if self._line:
            self._end_line()
        return self._dispatch()

    def _grow(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLong
        self._line += part

    def _end_line(self) -> Event | None:
        line, self._line = self._line, bytearray()
        if self._at_start:
            self._at_start = False
            if line.startswith(_BOM):
                del line[:3]
        if not line:
            return self._dispatch()
        self._take_field(line)
        return None

    def _take_field(self, line: bytearray) -> None:
        colon = line.find(b":")
        if colon == 0:
            self._size -= len(line)
            return  # a comment
        name = bytes(line if colon < 0 else line[:colon])
        if name == b"data":
            del line[: len(line) if colon < 0 else colon + 1]
            if line[:1] == b" ":
                del line[:1]
            if self._data is None:
                self._data = line
            else:
                self._data += b"\n"
                self._data += line
        elif name == b"event":
            value = b"" if colon < 0 else line[colon + 1 :].removeprefix(b" ")
            self._name = value.decode(errors="replace")

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = "", None, 0
        return None if data is None else Event(name or "message", data)
