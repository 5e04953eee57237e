"""Content encodings: undone in any pieces, bounded, and never short without a word."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.decoding import PIECE_BYTES, decoder
from core.azure_openai.connection import Lost

BODY = b'{"data": [{"b64_json": "QUJD"}]}' * 40


def raw(body: bytes) -> bytes:
    """Deflate without a header, as some servers send it."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(body) + deflate.flush()


ENCODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw,
}


def decoded(name: str, pieces: list[bytes]) -> list[bytes]:
    """What pieces become, one after the other, to their end."""
    decode = decoder(name)
    assert decode is not None
    out = [piece for given in pieces for piece in decode.feed(given)]
    decode.close()
    return out


@pytest.mark.parametrize(("name", "encode"), ENCODINGS.items(), ids=ENCODINGS)
@given(st.data())
def test_any_pieces(name, encode, data):
    """However an encoded body is cut, it is the same body again."""
    encoded = encode(BODY)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(encoded) - 1), max_size=6, unique=True)))
    pieces = [encoded[start:end] for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]

    assert BODY == b"".join(decoded(name, pieces))


@pytest.mark.parametrize("name", ["", "identity", "Identity"])
def test_nothing_to_undo(name):
    """Plain bytes need no decoder."""
    assert decoder(name) is None


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, gzip", "x" * 9_999])
def test_an_encoding_that_is_not_known(name):
    """An encoding that is not known is named, in short."""
    with pytest.raises(Lost) as lost:
        decoder(name)

    assert name[:40] in str(lost.value)
    assert len(str(lost.value)) < 120


@pytest.mark.parametrize(("name", "encode"), ENCODINGS.items(), ids=ENCODINGS)
def test_a_body_that_grows(name, encode):
    """A few bytes that become many come in bounded pieces, so that their reader can stop."""
    body = bytes(5 * PIECE_BYTES + 1)

    pieces = decoded(name, [encode(body)])

    assert body == b"".join(pieces)
    assert PIECE_BYTES == max(len(piece) for piece in pieces)


@pytest.mark.parametrize(("name", "encode"), ENCODINGS.items(), ids=ENCODINGS)
def test_a_body_that_is_cut_short(name, encode):
    """An encoded body without its end is lost, not short."""
    with pytest.raises(Lost):
        decoded(name, [encode(BODY)[:-1]])


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_body_that_is_not_encoded(name):
    """What is not what it is called is lost."""
    with pytest.raises(Lost):
        decoded(name, [b"\xff" * 99])


@pytest.mark.parametrize("name", ENCODINGS)
def test_no_body(name):
    """An answer without a body may call itself encoded all the same."""
    assert [] == decoded(name, [])
