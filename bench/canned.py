"""The answers of the bench's upstream, as bytes that are made once: what Azure OpenAI sends for a GPT-image model.

Source of the shapes: OpenAI's reference, "Create image" and "Image generation streaming events"; Azure OpenAI's
"Image generation". What is to be answered is said by the deployment's name, so that it passes through any gateway:
`gpt-image-1-b4096` is a picture of 4,096 base64 characters, `-w50` waits 50 ms before each event of a stream (or
before the answer), `-hold` keeps the last byte back until it is released.
"""

from __future__ import annotations

import base64
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

CHUNK_BYTES: Final = 64 * 1024
"""How a stream is cut by HTTP's chunked coding. Azure does not say how it cuts; servers' buffers are of about this."""
PARTIAL: Final = "image_generation.partial_image"
COMPLETED: Final = "image_generation.completed"

_NAME: Final = re.compile(r"gpt-image-1-b(?P<characters>\d{1,9})(-w(?P<wait>\d{1,5}))?(?P<hold>-hold)?")
_DESCRIBED: Final = b'"background":"opaque","output_format":"png","quality":"medium","size":"1024x1024"'
_USAGE: Final = (
    b'"usage":{"input_tokens":9,"input_tokens_details":{"text_tokens":9,"image_tokens":0},'
    b'"output_tokens":1056,"output_tokens_details":{"text_tokens":0,"image_tokens":1056},"total_tokens":1065}'
)
_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a deployment answers."""

    characters: int
    """The length of each picture's base64; a multiple of 4."""
    wait_ms: int = 0
    hold: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a length that no base64 has."""
        if self.characters % 4 or self.characters < 16:
            raise ValueError(f"base64 comes in fours, 16 at least: {self.characters}")

    @property
    def deployment(self) -> str:
        """The deployment's name that asks for it."""
        wait = f"-w{self.wait_ms}" if self.wait_ms else ""
        return f"gpt-image-1-b{self.characters}{wait}{'-hold' if self.hold else ''}"

    @classmethod
    def of(cls, deployment: str) -> Kind | None:
        """Read a deployment's name; None where it is no such name."""
        found = _NAME.fullmatch(deployment)
        if found is None or int(found["characters"]) % 4 or int(found["characters"]) < 16:
            return None
        return cls(
            characters=int(found["characters"]),
            wait_ms=int(found["wait"] or 0),
            hold=found["hold"] is not None,
        )


@lru_cache(maxsize=16)
def picture(characters: int) -> bytes:
    """A picture of that many base64 characters: noise that begins as a PNG does, the same every time."""
    size = characters // 4 * 3
    noise = random.Random(characters).randbytes(min(size, 3 << 20))  # noqa: S311 -- nothing secret
    return base64.b64encode((_PNG + noise * (size // len(noise) + 1))[:size])


@lru_cache(maxsize=32)
def whole(characters: int, images: int) -> tuple[bytes, ...]:
    """The pieces of an answer in JSON, its HTTP head among them; large pictures are not copied."""
    text = picture(characters)
    pieces: list[bytes] = [b'{"created":1763800000,%s,"data":[' % _DESCRIBED]
    for index in range(images):
        pieces += [b',{"b64_json":"' if index else b'{"b64_json":"', text, b'"}']
    pieces.append(b"],%s}" % _USAGE)
    length = sum(map(len, pieces))
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"apim-request-id: 3f0c\r\nx-ms-region: Sweden Central\r\n\r\n" % length
    )
    return (b"".join((head, *pieces)),) if length <= CHUNK_BYTES else (head, *pieces)


STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
    b"apim-request-id: 3f0c\r\nx-ms-region: Sweden Central\r\n\r\n"
)


@lru_cache(maxsize=32)
def partial_event(characters: int, index: int) -> bytes:
    """A stream's partial image in HTTP's chunks; before the first stands the head."""
    event = _event(PARTIAL, characters, b'"partial_image_index":%d' % index)
    return (b"" if index else STREAM_HEAD) + chunked(event)


@lru_cache(maxsize=32)
def completed_event(characters: int, *, is_first: bool) -> bytes:
    """The completed event in HTTP's chunks, and the end of the body; the head before it, if it is the first."""
    event = _event(COMPLETED, characters, _USAGE)
    return (STREAM_HEAD if is_first else b"") + chunked(event) + b"0\r\n\r\n"


def _event(name: str, characters: int, more: bytes) -> bytes:
    head = b'event: %b\ndata: {"type":"%b","b64_json":"' % (name.encode(), name.encode())
    return head + picture(characters) + b'","created_at":1763800000,%b,%b}\n\n' % (_DESCRIBED, more)


def chunked(body: bytes) -> bytes:
    """The body in chunks of CHUNK_BYTES (RFC 9112 §7.1), without the last, empty one."""
    cuts = (body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES))
    return b"".join(b"%x\r\n%b\r\n" % (len(cut), cut) for cut in cuts)
