"""Content encodings, undone piece by piece (RFC 9110 §8.4). None is asked for, but some servers do not ask."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

from core.azure_openai.connection import Lost

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES: Final = 256 << 10
"""How large a decoded piece may be: a few bytes can become gigabytes, and whoever reads them must be able to stop."""

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
"""zlib's own word for: find out by the header which of both it is."""
_RAW: Final = -zlib.MAX_WBITS
_GZIP_BEGINS: Final = 0x1F
_ZLIB_METHOD: Final = 8
_KNOWN: Final = frozenset({"gzip", "x-gzip", "deflate"})
_LONGEST_NAME: Final = 40


class Decoder(Protocol):
    """Undoes an encoding."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece and yield what it becomes, in bounded pieces. Raises Lost where it cannot be read."""
        ...

    def close(self) -> None:
        """Say that this was all. Raises Lost where something is missing."""
        ...


def decoder(name: str) -> Decoder | None:
    """Give the decoder for a `content-encoding`, None where there is nothing to undo. Raises Lost if it is unknown."""
    name = name.lower()
    if name in {"", "identity"}:
        return None
    if name not in _KNOWN:
        raise Lost(f"the answer has a content-encoding that is not known here: {name[:_LONGEST_NAME]}")
    return _Inflate()


class _Inflate:
    """gzip, and both things that are called deflate: with the header of zlib, as documented, and without."""

    def __init__(self) -> None:
        self._inflate: zlib._Decompress | None = None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            # gzip begins with 0x1f, zlib with 0x?8 (RFC 1952 §2.3.1, RFC 1950 §2.2); nobody's raw stream does.
            has_header = piece[0] == _GZIP_BEGINS or piece[0] & 0x0F == _ZLIB_METHOD
            self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB if has_header else _RAW)
        while not self._inflate.eof:
            try:
                decoded = self._inflate.decompress(piece, PIECE_BYTES)
            except zlib.error:
                raise Lost("the answer cannot be decompressed") from None
            if decoded:
                yield decoded
            piece = self._inflate.unconsumed_tail
            if not piece and len(decoded) < PIECE_BYTES:
                break

    def close(self) -> None:
        if self._inflate is not None and not self._inflate.eof:
            raise Lost("the compressed answer is cut short")
