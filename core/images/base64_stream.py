"""Base64 as it stands in an answer, decoded step by step: a picture of 33 MB is never in memory decoded and whole."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.domain.image_json import Buffer

STEP: Final = 256 * 1024
"""How many characters are decoded at once; a multiple of four."""
_BACKSLASH: Final = b"\\"


class NotBase64(ValueError):
    """The text is not base64 (RFC 4648 §4)."""


def decoded(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    r"""Decode the text between the quotes of a JSON string, given in pieces cut anywhere.

    `\/` is the one escape that can stand in it (RFC 8259 §7). Raises NotBase64, also for a text that is empty.
    """
    rest = b""
    size = 0
    ended = False
    for text in _unescaped(pieces):
        rest += text
        whole = len(rest) - len(rest) % 4
        for start in range(0, whole, STEP):
            if ended:
                raise NotBase64("it goes on after its end")
            quads = rest[start : min(start + STEP, whole)]
            ended = quads.endswith(b"=")
            step = _decode(quads)
            size += len(step)
            yield step
        rest = rest[whole:]
    if rest or not size:
        raise NotBase64("it is cut short")


def _unescaped(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    carried = b""
    for piece in pieces:
        text = carried + bytes(piece)
        carried = b""
        if _BACKSLASH in text:
            if text.endswith(_BACKSLASH):
                text, carried = text[:-1], _BACKSLASH
            text = text.replace(b"\\/", b"/")
            if _BACKSLASH in text:
                raise NotBase64("it has an escape that is not \\/")
        yield text
    if carried:
        raise NotBase64("it is cut short")


def _decode(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise NotBase64(str(error)) from None
