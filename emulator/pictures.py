"""Picture files: drawn from the prompt, encoded as requested, and stored for a while if they are given as a URL.

Pillow is imported with the first picture, so that the emulator starts at once.
"""

import base64
import hashlib
import random
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_CACHED_IMAGES = 4
_MAX_CACHED_FILES = 24
_MAX_CACHED_NOISE = 8
_MAX_STORED_FILES = 64
_COARSEST_PIXELS = 40
"""The edge of a square of one colour in a partial image of sharpness 0."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a picture shows, and which kind of file it is."""

    prompt: str
    width: int
    height: int
    number: int = 0
    """Which of several pictures for one prompt."""
    output_format: str = "png"
    compression: int = 100
    """Quality from 0 to 100 for jpeg and webp: Azure's `output_compression`."""
    transparent: bool = False
    sharpness: float = 1.0
    """Below 1, a partial image: the same picture, not yet clear."""


@lru_cache(_MAX_CACHED_FILES)
def encode(picture: Picture) -> str:
    """Draw a picture and return its file in base64."""
    seed = int.from_bytes(hashlib.sha256(f"{picture.number} {picture.prompt}".encode("utf-8", "replace")).digest()[:4])
    image = _draw(picture.prompt, (picture.width, picture.height), seed, transparent=picture.transparent)
    if picture.sharpness < 1:
        factor = max(2, round(_COARSEST_PIXELS * (1 - picture.sharpness) ** 1.5))
        image = image.reduce(factor).resize(image.size)
    file = BytesIO()
    if picture.output_format == "png":
        image.save(file, "png", compress_level=1)  # fast; the file is about as large as one of the real service
    else:
        image.save(file, picture.output_format, quality=max(1, picture.compression))
    return base64.b64encode(file.getvalue()).decode("ascii")


@lru_cache(_MAX_CACHED_IMAGES)
def _draw(prompt: str, size: tuple[int, int], seed: int, *, transparent: bool) -> "Image":
    from emulator.drawing import draw  # noqa: PLC0415 -- Pillow

    return draw(prompt, size, seed, transparent=transparent)


@lru_cache(_MAX_CACHED_NOISE)
def make_noise(characters: int) -> str:
    """Make base64 of a given length that is no picture, but is made at once: for load tests."""
    raw = random.Random(characters).randbytes(characters // 4 * 3 + 3)  # noqa: S311 -- no secret
    return base64.b64encode(raw)[:characters].decode("ascii")


class PictureStore:
    """The pictures that are given as a URL: the newest, up to a maximum number."""

    def __init__(self, max_files: int = _MAX_STORED_FILES) -> None:
        self._max_files = max_files
        self._files: OrderedDict[str, bytes] = OrderedDict()

    def add(self, data: str) -> str:
        """Store a picture given in base64; return a name for it that nobody can guess."""
        name = secrets.token_urlsafe(24)
        self._files[name] = base64.b64decode(data)
        while len(self._files) > self._max_files:
            self._files.popitem(last=False)
        return name

    def get(self, name: str) -> bytes | None:
        """Return a picture's file."""
        return self._files.get(name)
