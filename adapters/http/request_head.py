"""A request's head as bytes, and the origin that it goes to. What cannot be written safely is not sent at all."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import httpx2

_PORTS: Final = {"http": 80, "https": 443}
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Written here, from the body itself: a header that says otherwise could smuggle a second request."""
_HEAD: Final = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.1\r\n([!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~]*\r\n)*"
)
"""Tokens for the method and the names (RFC 9110 §5.6.2), and nothing in a value that could end its line. Beyond ASCII
nobody agrees on what a byte means."""


class Origin(NamedTuple):
    """Where a connection leads (RFC 9110 §4.3.1)."""

    scheme: str
    host: str
    """A name or an address, without brackets."""
    port: int


def origin_of(url: httpx2.URL) -> Origin:
    """Give a URL's origin. Raises UnsupportedProtocol, or LocalProtocolError where it has no host."""
    if url.scheme not in _PORTS:
        raise httpx2.UnsupportedProtocol("only http and https are spoken here")
    host = url.raw_host.decode("ascii")
    if not host:
        raise httpx2.LocalProtocolError("the URL has no host")
    return Origin(url.scheme, host, _PORTS[url.scheme] if url.port is None else url.port)


def body_bytes(request: httpx2.Request) -> int | None:
    """How long a request's body is; None: nobody knows before it ends."""
    if isinstance(request.stream, httpx2.ByteStream):
        return len(request.content)
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def serialize_head(request: httpx2.Request) -> bytes:
    """Write a request's head, with one Host and one word about where the body ends. Raises LocalProtocolError."""
    headers = [header for header in request.headers.raw if header[0].lower() not in _FRAMING]
    hosts = sum(name.lower() == b"host" for name, _ in headers)
    if hosts == 0:
        headers.insert(0, (b"Host", request.url.netloc))
    length = body_bytes(request)
    if length is None:
        headers.append((b"Transfer-Encoding", b"chunked"))
    elif length or request.method not in {"GET", "HEAD"}:
        headers.append((b"Content-Length", b"%d" % length))
    method = request.method.encode("latin-1", "replace")
    lines = [b"%b %b HTTP/1.1\r\n" % (method, request.url.raw_path), *(b"%b: %b\r\n" % header for header in headers)]
    head = b"".join(lines)
    # A line break within a value would make a header of what follows it.
    if hosts > 1 or head.count(b"\r\n") != len(lines) or not _HEAD.fullmatch(head):
        raise httpx2.LocalProtocolError("the request's head cannot be written")
    return head + b"\r\n"
