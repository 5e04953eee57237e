"""Contract §1, the body as clients send it: compressed, with a byte order mark, in another encoding, or absurd."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from tests.house import KEY, PROMPT
from tests.http.wire import QUICK, path, refusal, said, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEARER = {"authorization": f"Bearer {KEY}"}
BODY = json.dumps({"prompt": PROMPT}).encode()
MIB = 1 << 20


def bare_deflate(body: bytes) -> bytes:
    """Deflated data without zlib's head, as some clients send it."""
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(body) + deflater.flush()


async def post(gateway, body: bytes, *encoding: str):
    """Send a body, compressed as it is said to be."""
    headers = [*BEARER.items(), *(("content-encoding", each) for each in encoding)]
    return await gateway.http.post(path(), headers=headers, content=body)


class TestCompressed:
    """`Content-Encoding`."""

    @pytest.mark.parametrize(
        ("encoding", "compress"),
        [
            ("gzip", gzip.compress),
            ("GZIP", gzip.compress),
            ("x-gzip", gzip.compress),
            ("deflate", zlib.compress),
            ("deflate", bare_deflate),
            ("identity", bytes),
            ("", bytes),
            ("identity, gzip", gzip.compress),
        ],
    )
    async def test_taken(self, gateway, encoding, compress):
        """Gzip and deflate are taken."""
        response = await post(gateway, compress(BODY), encoding)
        assert (200, {"prompt": PROMPT}) == (response.status_code, sent(gateway))

    @pytest.mark.parametrize("encodings", [("br",), ("zstd",), ("gzip, gzip",), ("gzip", "deflate"), ("x" * 200,)])
    async def test_not_taken(self, gateway, encodings):
        """Others are 415, and the answer says which are taken."""
        response = await post(gateway, BODY, *encodings)
        assert (415, "unsupported_encoding", "Content-Encoding") == said(response)
        assert ("gzip, deflate", 0) == (response.headers["accept-encoding"], len(gateway.calls))

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    @pytest.mark.parametrize(
        "body", [b"", BODY, gzip.compress(BODY)[:-1], gzip.compress(BODY) * 2, zlib.compress(BODY) + b"x"], ids=range(5)
    )
    async def test_broken(self, gateway, encoding, body):
        """What is not what it is said to be, is cut short or goes on behind its end is 400."""
        response = await post(gateway, body, encoding)
        assert (400, "invalid_value", "Content-Encoding") == said(response)

    @pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
    @pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 413), (1000 * MIB, 413)])
    async def test_the_limit_counts_inflated(self, gateway, compress, size, status):
        """1 MiB is the limit of what comes out, and no more than that is inflated."""
        body = BODY + b" " * (min(size, 64 * MIB) - len(BODY))
        response = await post(gateway, compress(body), "gzip" if compress is gzip.compress else "deflate")
        assert status == response.status_code


class TestText:
    """The bytes of JSON."""

    async def test_byte_order_mark(self, gateway):
        """One byte order mark before the JSON is skipped."""
        response = await post(gateway, b"\xef\xbb\xbf" + BODY)
        assert (200, {"prompt": PROMPT}) == (response.status_code, sent(gateway))

    @pytest.mark.parametrize(
        ("body", "place"),
        [
            (b'{"prompt": "caf\xe9"}', "byte 16 is 0xe9"),
            (b'\xef\xbb\xbf{"prompt": "caf\xe9"}', "byte 19 is 0xe9"),
            ('{"prompt": "p"}'.encode("utf-16"), "byte 1 is 0xff"),
        ],
    )
    async def test_not_utf_8(self, gateway, body, place):
        """Bytes that are not UTF-8 are 400, and the message says so and where."""
        response = await post(gateway, body)
        assert (400, "invalid_json", None) == said(response)
        assert f"The request body is not UTF-8: {place}" == refusal(response)["message"]


class TestFromOutside:
    """Requests as applications were seen to send them."""

    @pytest.mark.parametrize(
        ("door", "body"),
        [
            (path(), {"prompt": "a cat"}),
            ("/openai/images/generations?api-version=2025-04-01-preview", {"model": QUICK, "prompt": "a cat"}),
            ("/openai/v1/images/generations", {"model": QUICK, "prompt": "a cat"}),
            ("/openai/openai/images/generations?api-version=v1", {"model": QUICK, "prompt": "a cat"}),
        ],
        ids=["LiteLLM", "openai-java", "Azure's v1", "Vercel AI SDK"],
    )
    async def test_drawn(self, gateway, door, body):
        """Each is drawn."""
        response = await gateway.http.post(door, headers=BEARER, json=body)
        assert (200, {"prompt": "a cat"}) == (response.status_code, sent(gateway))
