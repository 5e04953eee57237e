"""Cutting a body into pieces: the same bytes, none too large, few that are small."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.responses.pieces import PIECE_BYTES, split_pieces

SIZES = st.lists(
    st.sampled_from([0, 1, 7, 4_000, 4_096, 4_097, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]),
    max_size=6,
)


def joined(pieces) -> bytes:
    return b"".join(bytes(piece) for piece in pieces)


@settings(deadline=None)
@given(SIZES)
def test_any_buffers(sizes):
    """The pieces are the same bytes in the same order; none is empty, and none is larger than a piece."""
    buffers = [bytes([number + 1]) * size for number, size in enumerate(sizes)]

    pieces = list(split_pieces(buffers))

    assert b"".join(buffers) == joined(pieces)
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


@pytest.mark.parametrize("make", [bytes, memoryview, bytearray])
def test_any_kind_of_buffer(make):
    """Bytes and views of bytes are taken alike."""
    data = b"ab" * PIECE_BYTES

    assert data == joined(split_pieces([make(data[:5]), make(data[5:])]))


def test_small_buffers_are_joined():
    """A few small buffers are sent as one: an event's head costs no send of its own."""
    assert [b"event: x\ndata: {}\n\n"] == [
        bytes(piece) for piece in split_pieces([b"event: x\n", b"data: ", b"{}", b"\n\n"])
    ]


def test_large_buffers_are_not_copied():
    """Large buffers are handed out as views of themselves."""
    data = bytes(64 * PIECE_BYTES)
    tracemalloc.start()
    try:
        count = sum(1 for _ in split_pieces([b"{", data, b"}"]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 66
    assert peak < PIECE_BYTES


def test_nothing():
    """No buffers are no pieces."""
    assert list(split_pieces([])) == []
    assert list(split_pieces([b"", b""])) == []
