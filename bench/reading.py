"""Reading what a gateway answers, without I/O: HTTP/1.1's framing, and whether the pictures are there.

Fast rather than complete: it is the load generator's share of a core that nobody should notice. Bodies are looked at in
the buffer they were received in. Small answers are checked to the last character; of large ones the first on each
connection, the others by their length and their ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_LONGEST_CHUNK_LINE: Final = 64
LARGE_BYTES: Final = 256 * 1024
"""Answers from this size on are not all read to the last character."""
TOLERANCE_BYTES: Final = 256
"""How far the lengths of equal answers may lie apart: they tell ids and times."""


class Faulty(Exception):
    """An answer is not what it should be; the message says in which way."""


class Body(Protocol):
    """What becomes of a body's bytes."""

    def take(self, part: memoryview) -> None:
        """Take the next part."""
        ...

    def end(self) -> None:
        """Say that this was all. Raises Faulty."""
        ...


class AnswerReader:
    """Reads one answer after the other, each fed as it comes."""

    def __init__(self) -> None:
        self._body: Body | None = None
        self._line = bytearray()
        """The head, or the line before a chunk, as long as it is not whole."""
        self._left = 0
        """How much is still to come of the body or of the chunk."""
        self._in_head = True
        self._chunked = False
        self._last_chunk = False
        self.closes = False
        """Whether the connection ends with the answer."""

    @property
    def is_between(self) -> bool:
        """Whether nothing has come of the next answer."""
        return self._in_head and not self._line

    def feed(self, data: memoryview, body: Body) -> bool:
        """Take what came; True: the answer is whole. Nothing may follow it. Raises Faulty."""
        position = 0
        while position < len(data):
            if self._in_head:
                position = self._read_head(data, position)
                if self._has_no_body():
                    return self._end(body)
            elif self._left > 0:
                part = data[position : position + self._left]
                body.take(part)
                self._left -= len(part)
                position += len(part)
                if self._left == 0 and not self._chunked:
                    return self._end(body)
            else:
                position = self._read_chunk_line(data, position)
                if self._last_chunk and self._line == b"\r\n":
                    return self._end(body)
        return False

    def _has_no_body(self) -> bool:
        return not self._in_head and not self._chunked and self._left == 0

    def _end(self, body: Body) -> bool:
        self._line.clear()
        self._in_head, self._chunked, self._last_chunk = True, False, False
        body.end()
        return True

    def _read_head(self, data: memoryview, position: int) -> int:
        before = len(self._line)
        self._line += data[position:]
        end = self._line.find(b"\r\n\r\n")
        if end < 0:
            return len(data)
        head = bytes(self._line[: end + 2])
        if not head.startswith(b"HTTP/1.1 200 "):
            status = head.split(b"\r\n", 1)[0].decode(errors="replace")
            said = bytes(self._line[end + 4 : end + 304]).decode(errors="replace")
            raise Faulty(f"{status}: {said}")
        length = _LENGTH.search(head)
        self._chunked = _CHUNKED.search(head) is not None
        if length is None and not self._chunked:
            raise Faulty("an answer without a length")
        self._left = 0 if self._chunked or length is None else int(length[1])
        self.closes = _CLOSE.search(head) is not None
        self._line.clear()
        self._in_head = False
        return position + end + 4 - before

    def _read_chunk_line(self, data: memoryview, position: int) -> int:
        """Read up to the end of a chunk's size; the end of the chunk before it stands in front."""
        while position < len(data):
            self._line += data[position : position + 1]
            position += 1
            if len(self._line) > _LONGEST_CHUNK_LINE:
                raise Faulty("a chunk without a size")
            if self._line.endswith(b"\r\n") and len(self._line) > 2:
                self._left = int(self._line.strip().split(b";")[0], 16)
                self._last_chunk = self._left == 0
                self._line.clear()
                return position
            if self._last_chunk and self._line == b"\r\n":
                return position
        return position


@dataclass(slots=True, kw_only=True)
class Expected:
    """What the answers to one request hold, and what has been learned of them."""

    picture: bytes
    """The base64 text of each picture."""
    images: int = 1
    """How many pictures there are, partial ones included."""
    stream: bool = False
    length: int | None = None
    """The length of the first answer that was read to its last character."""

    def check_length(self, length: int) -> None:
        """Raises Faulty where this is not the length of an answer that has been read."""
        if self.length is not None and abs(length - self.length) > TOLERANCE_BYTES:
            raise Faulty(f"a body of {length} bytes, not {self.length}")

    def check_text(self, text: bytes | bytearray) -> None:
        """Raises Faulty unless every picture stands in the text."""
        found = text.count(b'"' + self.picture + b'"')
        if found != self.images:
            raise Faulty(f"{found} pictures, not {self.images}")
        if self.stream and text.count(b"image_generation.completed") == 0:
            raise Faulty("a stream without its completed event")
        self.length = len(text)


class Checking:
    """The body of one answer."""

    def __init__(self, expected: Expected, *, thorough: bool) -> None:
        """`thorough`: to the last character, whatever its size."""
        self._expected = expected
        whole = thorough or expected.length is None or expected.length < LARGE_BYTES
        self._kept: bytearray | None = bytearray() if whole else None
        self._edge = b""
        """The end of what came before, where an event's end may be cut in two."""
        self._event_begins = True
        self._comment = False
        self.length = 0
        self.events = 0
        """The events that are whole; comments do not count."""

    def take(self, part: memoryview) -> None:
        """Take the next part (Body.take)."""
        self.length += len(part)
        if self._kept is not None:
            self._kept += part
        if self._expected.stream:
            self._look_for_ends(bytes(part))

    def end(self) -> None:
        """Check what came (Body.end)."""
        expected = self._expected
        if self._kept is not None:
            expected.check_text(self._kept)
        expected.check_length(self.length)
        if expected.stream and self.events != expected.images:
            raise Faulty(f"{self.events} events, not {expected.images}")

    def _look_for_ends(self, part: bytes) -> None:
        if self._event_begins:
            self._comment, self._event_begins = part.startswith(b":"), False
        if b"\n" not in part:  # much faster to see than that there are no two
            self._edge = b""
            return
        if self._edge == b"\n" and part.startswith(b"\n"):
            self._end_event(part[1:2])
            position = 1
        else:
            position = 0
        while (found := part.find(b"\n\n", position)) >= 0:
            position = found + 2
            self._end_event(part[position : position + 1])
        self._edge = b"" if position == len(part) else part[-1:]

    def _end_event(self, next_byte: bytes) -> None:
        if not self._comment:
            self.events += 1
        self._event_begins = not next_byte
        self._comment = next_byte == b":"
