"""Asking over an httpx2 transport: requests that say who asks, responses that are closed, bodies within bounds.

httpx2 undoes content encodings, too, but not the second member of a gzip answer, and it takes one that is cut short for
whole. None is asked for here; some servers do not ask (RFC 9110 §8.4).
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping

NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
"""What a transport raises for a request of which surely no byte was sent."""

MAX_PIECE_BYTES: Final = 256 << 10
"""How large an inflated piece may be: a few bytes can become gigabytes, and whoever reads them must be able to stop."""
MAX_GZIP_MEMBERS: Final = 100

_DEFAULTS: Final = {"accept-encoding": "identity", "user-agent": "azure-openai-image-gateway"}
_KNOWN: Final = frozenset({"gzip", "x-gzip", "deflate"})
_MAX_NAME: Final = 40

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
"""zlib's own word for: find out by the header which of both it is."""
_RAW: Final = -zlib.MAX_WBITS
_GZIP_BEGINS: Final = 0x1F
_ZLIB_METHOD: Final = 8


class BodyTooLong(Exception):
    """A body is longer than its reader takes."""


def new_request(
    method: str, url: httpx2.URL | str, headers: Mapping[str, str], content: bytes = b"", **extensions: Any
) -> httpx2.Request:
    """Make a request; `extensions` are httpx2's. Raises httpx2.InvalidURL."""
    return httpx2.Request(method, url, headers={**_DEFAULTS, **headers}, content=content, extensions=extensions)


@asynccontextmanager
async def open_response(
    transport: httpx2.AsyncBaseTransport, request: httpx2.Request
) -> AsyncIterator[httpx2.Response]:
    """Send a request, and close the response at the end. Raises what the transport raises."""
    response = await transport.handle_async_request(request)
    try:
        yield response
    finally:
        await response.aclose()


async def read_body(response: httpx2.Response, max_bytes: int) -> bytes:
    """Read a body whole. Raises BodyTooLong, DecodingError, and what the transport raises."""
    body = bytearray()
    async with aclosing(iterate_body(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > max_bytes:
                raise BodyTooLong(f"the answer is longer than {max_bytes} bytes")
    return bytes(body)


async def iterate_body(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """The body as it comes, inflated. Raises DecodingError, and what the transport raises."""
    encoding = response.headers.get("content-encoding", "").lower()
    async with aclosing(response.aiter_raw()) as pieces:
        if encoding in {"", "identity"}:
            async for piece in pieces:
                yield piece
            return
        if encoding not in _KNOWN:
            raise httpx2.DecodingError(f"the answer has a content-encoding that is not known: {encoding[:_MAX_NAME]}")
        inflater = _Inflater()
        async for piece in pieces:
            for inflated in inflater.feed(piece):
                yield inflated
                await asyncio.sleep(0)  # thousands of pieces may come of one: others have their turn between them
        inflater.close()


class _Inflater:
    """Undoes gzip, and both things that are called deflate: with the header of zlib, as documented, and without."""

    def __init__(self) -> None:
        self._members = 0
        self._member: zlib._Decompress | None = None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece and give what it becomes. Raises DecodingError."""
        while piece:
            if self._member is None:
                if self._members and piece[0] != _GZIP_BEGINS:
                    return  # padding behind the last member
                self._member = self._next_member(piece[0])
            try:
                inflated = self._member.decompress(piece, MAX_PIECE_BYTES)
                while inflated:
                    yield inflated
                    inflated = self._member.decompress(self._member.unconsumed_tail, MAX_PIECE_BYTES)
            except zlib.error:
                raise httpx2.DecodingError("the answer cannot be decompressed") from None
            piece = self._member.unused_data
            if self._member.eof:
                self._member = None

    def close(self) -> None:
        """Say that this was all. Raises DecodingError where something is missing."""
        if self._member is not None:
            raise httpx2.DecodingError("the compressed answer is cut short")

    def _next_member(self, first: int) -> zlib._Decompress:
        self._members += 1
        if self._members > MAX_GZIP_MEMBERS:
            raise httpx2.DecodingError("the compressed answer is in too many parts")
        # gzip begins with 0x1f, zlib with 0x?8 (RFC 1952 §2.3.1, RFC 1950 §2.2); nobody's raw stream does.
        has_header = first == _GZIP_BEGINS or first & 0x0F == _ZLIB_METHOD
        return zlib.decompressobj(_GZIP_OR_ZLIB if has_header else _RAW)
