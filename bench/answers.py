"""The answers of the bench's upstream, as bytes that are made once: what Azure OpenAI sends for a GPT-image model.

Source of the shapes: OpenAI's reference, "Create image" and "Image generation streaming events"; Azure OpenAI's
"Image generation". The deployment's name says what is to be answered, so that it passes through any gateway:
`gpt-image-1-b4096` is an image of 4,096 base64 characters, `-w50` waits 50 ms before each event of a stream (or before
the answer), `-hold` keeps the last bytes back until they are released.
"""

from __future__ import annotations

import base64
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

CHUNK_BYTES: Final = 64 * 1024
"""The size of the HTTP chunks of a stream. Azure does not document its own; servers' buffers are of about this size."""
PARTIAL_EVENT: Final = "image_generation.partial_image"
COMPLETED_EVENT: Final = "image_generation.completed"

_DEPLOYMENT: Final = re.compile(r"gpt-image-1-b(?P<characters>\d{1,9})(-w(?P<wait>\d{1,5}))?(?P<hold>-hold)?")
_DESCRIPTION: Final = b'"background":"opaque","output_format":"png","quality":"medium","size":"1024x1024"'
_USAGE: Final = (
    b'"usage":{"input_tokens":9,"input_tokens_details":{"text_tokens":9,"image_tokens":0},'
    b'"output_tokens":1056,"output_tokens_details":{"text_tokens":0,"image_tokens":1056},"total_tokens":1065}'
)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_AZURE_HEADERS: Final = b"apim-request-id: 3f0c\r\nx-ms-region: Sweden Central\r\n\r\n"
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
    + _AZURE_HEADERS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerKind:
    """What a deployment answers."""

    characters: int
    """The length of each image's base64; a multiple of 4."""
    wait_ms: int = 0
    hold: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a length that no base64 has."""
        if self.characters % 4 or self.characters < 16:
            raise ValueError(f"The length of base64 is a multiple of 4, and here at least 16: {self.characters}")

    @property
    def deployment(self) -> str:
        """The name of the deployment that answers so."""
        wait = f"-w{self.wait_ms}" if self.wait_ms else ""
        return f"gpt-image-1-b{self.characters}{wait}{'-hold' if self.hold else ''}"

    @classmethod
    def parse(cls, deployment: str) -> AnswerKind | None:
        """Read the name of a deployment; None where it is another's."""
        found = _DEPLOYMENT.fullmatch(deployment)
        if found is None:
            return None
        return cls(characters=int(found["characters"]), wait_ms=int(found["wait"] or 0), hold=bool(found["hold"]))


@lru_cache(maxsize=16)
def make_image(characters: int) -> bytes:
    """An image as base64 of that many characters: noise that begins as a PNG does, the same every time."""
    size = characters // 4 * 3
    noise = random.Random(characters).randbytes(min(size, 3 << 20))  # noqa: S311 -- nothing secret
    return base64.b64encode((_PNG + noise * (size // len(noise) + 1))[:size])


@lru_cache(maxsize=32)
def make_json(characters: int, images: int) -> tuple[bytes, ...]:
    """The pieces of an answer in JSON, its HTTP head among them; large images are not copied."""
    image = make_image(characters)
    pieces: list[bytes] = [b'{"created":1763800000,%s,"data":[' % _DESCRIPTION]
    for index in range(images):
        pieces += [b',{"b64_json":"' if index else b'{"b64_json":"', image, b'"}']
    pieces.append(b"],%s}" % _USAGE)
    length = sum(map(len, pieces))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % length + _AZURE_HEADERS
    return (b"".join((head, *pieces)),) if length <= CHUNK_BYTES else (head, *pieces)


@lru_cache(maxsize=32)
def make_partial_event(characters: int, index: int) -> bytes:
    """A partial image of a stream in HTTP chunks; the head stands before the first."""
    event = _make_event(PARTIAL_EVENT, characters, b'"partial_image_index":%d' % index)
    return (b"" if index else _STREAM_HEAD) + _make_chunks(event)


@lru_cache(maxsize=32)
def make_completed_event(characters: int, *, is_first: bool) -> bytes:
    """The completed event in HTTP chunks, and the end of the body; the head before it, if it is the first event."""
    event = _make_event(COMPLETED_EVENT, characters, _USAGE)
    return (_STREAM_HEAD if is_first else b"") + _make_chunks(event) + b"0\r\n\r\n"


def _make_event(name: str, characters: int, more: bytes) -> bytes:
    head = b'event: %b\ndata: {"type":"%b","b64_json":"' % (name.encode(), name.encode())
    return head + make_image(characters) + b'","created_at":1763800000,%b,%b}\n\n' % (_DESCRIPTION, more)


def _make_chunks(body: bytes) -> bytes:
    """RFC 9112 §7.1, without the last, empty chunk."""
    cuts = (body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES))
    return b"".join(b"%x\r\n%b\r\n" % (len(cut), cut) for cut in cuts)
