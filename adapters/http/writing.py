"""A request as it goes over the wire, and where it goes. Whatever cannot be written safely is not sent at all."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from core.azure_openai.connection import NotSent

if TYPE_CHECKING:
    from core.azure_openai.connection import HttpRequest

_PORTS: Final = {"http": 80, "https": 443}
_VISIBLE: Final = re.compile(r"[!-~]+")
"""What a URL is made of. Looked at before `urlsplit`, which takes line breaks out without a word."""
_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+")
_NAME: Final = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
"""A token (RFC 9110 §5.6.2)."""
_VALUE: Final = re.compile(r"[\t -~]*")
"""Nothing that could end a line. Beyond ASCII nobody agrees on what a byte means."""
_DEFAULTS: Final = {
    "accept": "*/*",
    "accept-encoding": "identity",  # pictures do not shrink
    "user-agent": "azure-openai-image-gateway",
}
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"})
"""What is said here about the message itself; two words about it would be one too many."""


class Origin(NamedTuple):
    """Whom a connection leads to (RFC 9110 §4.3.1)."""

    secure: bool
    host: str
    """A name or an address, without brackets."""
    port: int


def written(request: HttpRequest) -> tuple[Origin, bytes]:
    """Give the origin that a request is for and the bytes that make it up. Raises NotSent where there are none."""
    origin, authority, target = _split(request.url)
    if not _NAME.fullmatch(request.method):
        raise NotSent("the method cannot be written")
    headers = _DEFAULTS | {name.lower(): value for name, value in request.headers.items()}
    lines = [f"{request.method} {target} HTTP/1.1\r\nhost: {authority}\r\n"]
    for name, value in headers.items():
        if name in _OURS:
            raise NotSent(f"{name} is said by the connection itself")
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise NotSent("a header cannot be written")
        lines.append(f"{name}: {value}\r\n")
    if request.body or request.method != "GET":
        lines.append(f"content-length: {len(request.body)}\r\n")
    lines.append("\r\n")
    return origin, "".join(lines).encode("ascii") + request.body


@lru_cache  # a deployment's URL is the same for every call
def _split(url: str) -> tuple[Origin, str, str]:
    """Give a URL's origin, and how a request names host and target."""
    if not _VISIBLE.fullmatch(url):
        raise NotSent("the URL has characters that must be escaped")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise NotSent("that is not a URL") from None
    if parts.scheme not in _PORTS:
        raise NotSent("only http and https are spoken here")
    if not host or not _HOST.fullmatch(host) or "@" in parts.netloc:
        raise NotSent("the URL names no plain host")
    default = _PORTS[parts.scheme]
    authority = f"[{host}]" if ":" in host else host
    if port not in {None, default}:
        authority = f"{authority}:{port}"
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return Origin(parts.scheme == "https", host, default if port is None else port), authority, target
