"""The pictures themselves: drawn from the prompt, encoded as asked, and kept for a while.

Pillow is imported with the first picture, so that the emulator starts at once.
"""

import base64
import hashlib
import random
import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

_KEPT_SCENES = 4
_KEPT_FILES = 24
_KEPT_NOISE = 8
_KEPT_ON_SHELF = 64
_COARSEST = 40


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a picture is to show, and as what kind of file."""

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


@lru_cache(_KEPT_FILES)
def as_base64(picture: Picture) -> str:
    """Draw a picture and encode it as a file in base64, as GPT-image answers it."""
    image = _sketch(picture) if picture.sharpness < 1 else _drawn(_subject(picture))
    file = BytesIO()
    image.save(file, **_options(picture))
    return base64.b64encode(file.getvalue()).decode("ascii")


@lru_cache(_KEPT_NOISE)
def noise(characters: int) -> str:
    """Make base64 of a given length that is no picture at all, but made at once: for load tests."""
    raw = random.Random(characters).randbytes(characters // 4 * 3 + 3)  # noqa: S311
    return base64.b64encode(raw)[:characters].decode("ascii")


class Shelf:
    """The pictures that are answered as a URL, until newer ones need their place."""

    def __init__(self, keep: int = _KEPT_ON_SHELF) -> None:
        self._keep = keep
        self._files: OrderedDict[str, bytes] = OrderedDict()

    def hang(self, data: str) -> str:
        """Keep a picture; return the name by which it is found, which nobody can guess."""
        name = secrets.token_urlsafe(24)
        self._files[name] = base64.b64decode(data)
        while len(self._files) > self._keep:
            self._files.popitem(last=False)
        return name

    def find(self, name: str) -> bytes | None:
        """Give a picture's file."""
        return self._files.get(name)


def _options(picture: Picture) -> dict[str, Any]:
    if picture.output_format == "png":
        return {"format": "png", "compress_level": 3}  # fast; its size is like a real one's
    return {"format": picture.output_format, "quality": max(1, picture.compression)}


def _subject(picture: Picture) -> Picture:
    """Leave out all that is about the file, so that one drawing serves all files of it."""
    return replace(picture, output_format="png", compression=100, sharpness=1.0)


def _sketch(picture: Picture) -> "Image":
    from PIL.Image import Resampling  # noqa: PLC0415

    whole = _drawn(_subject(picture))
    factor = max(2, round(_COARSEST * (1 - picture.sharpness) ** 1.5))
    return whole.reduce(factor).resize(whole.size, Resampling.BICUBIC)


@lru_cache(_KEPT_SCENES)
def _drawn(picture: Picture) -> "Image":
    from emulator import lettering, scenery  # noqa: PLC0415  (Pillow)

    seed = hashlib.sha256(f"{picture.number} {picture.prompt}".encode("utf-8", "replace")).digest()
    image = scenery.scene(picture.prompt, (picture.width, picture.height), random.Random(seed))  # noqa: S311
    if picture.transparent:
        return lettering.sticker(image, picture.prompt)
    return lettering.inscribed(image, picture.prompt)
