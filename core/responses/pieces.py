"""Cutting a body into pieces that a slow reader can hold up one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.domain.image_json import Buffer

PIECE_BYTES: Final = 256 * 1024
"""What is handed to the server at once: large enough to cost little, small enough that back-pressure is felt."""
SMALL_BYTES: Final = 16 * 1024
"""What is together not larger is joined: a copy costs less than a send. Pieces from the network are mostly larger."""


def split_pieces(buffers: Iterable[Buffer]) -> Iterator[Buffer]:
    """Yield the same bytes; small buffers are joined, large ones cut without copying them."""
    small = bytearray()
    for buffer in buffers:
        if len(small) + len(buffer) <= SMALL_BYTES:
            small += buffer
            continue
        if small:
            yield bytes(small)
            small = bytearray()
        view = memoryview(buffer)
        for start in range(0, len(view), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]
    if small:
        yield bytes(small)
