"""uvicorn's HTTP/1.1 protocol on httptools, strict and bounded on the way in, and in few pieces on the way out.

uvicorn takes httptools where it is installed. Its parser accepts more than RFC 9112 allows, has no limit on a head
(`h11_max_incomplete_event_size` is for h11 only) or on the time that one takes, and uvicorn adds trailers to the
request's headers. In Azure the Functions host stands before the worker; this is for whoever reaches the worker's port
past it, and for `make serve`.

uvicorn also sends the head of a response by itself, though its body follows in the same moment: one system call and
one packet more.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_UNFINISHED_BYTES: Final = 64 * 1024
"""How much may come that neither completes a head nor belongs to a body: a head that is not over, chunk extensions,
trailers. The Functions host takes 32 KiB of headers and adds some of its own."""
HEAD_SECONDS: Final = 10.0
"""How long a head may take from its first byte to its last."""
MAX_JOINED_BYTES: Final = 16 * 1024
"""Up to here copying a piece costs less than sending it by itself."""

_STATUS: Final = b"HTTP/1.1 "
"""So begins the head of every response."""
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
"""RFC 9110, 7.2 and RFC 3986, 3.2.2: a name or an address, perhaps a port; empty is allowed."""


class BadRequest(Exception):
    """The head of a request is refused."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol; a connection with a bad, endless or slow request gets an error and is closed.

    Bytes are counted after each read of the network, so a head may be longer by as much as is read at once (256 KiB),
    as with h11. A connection on which nothing comes is closed after `timeout_keep_alive` seconds, its first request
    included.
    """

    _unfinished_bytes = 0
    _awaits_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _refusal: BadRequest | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection (asyncio.Protocol)."""
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", HeadHolder(transport))
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection (asyncio.Protocol)."""
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came (asyncio.Protocol)."""
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if not self._unfinished_bytes or self.transport.is_closing():
            return
        if self._unfinished_bytes > MAX_UNFINISHED_BYTES:
            self._refuse(BadRequest(HTTPStatus.BAD_REQUEST, "Request header fields are too long."))
        elif self._awaits_head and data.endswith(b"\n") and self._is_http_0_9():
            self._refuse(BadRequest(HTTPStatus.BAD_REQUEST, "The request line has no HTTP version."))
        elif self._awaits_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._end_slow_head)

    def send_400_response(self, msg: str) -> None:
        """Refuse what could not be parsed (uvicorn)."""
        self._refuse(self._refusal or BadRequest(HTTPStatus.BAD_REQUEST, msg))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but no trailer: nobody may tell the two apart later (RFC 9110, 6.5.1; httptools)."""
        if self._awaits_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head, and let the request begin (httptools)."""
        self._unfinished_bytes = 0
        self._awaits_head = False
        self._stop_head_timer()
        try:
            _check_head(self.parser.get_http_version(), self.headers)
        except BadRequest as refusal:
            self._refusal = refusal
            raise
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body (httptools)."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has ended (httptools)."""
        self._unfinished_bytes = 0
        self._awaits_head = True
        super().on_message_complete()

    def _is_http_0_9(self) -> bool:
        """Whether a first request line has ended without a version; its head would never end."""
        return self.scope is not None and self.parser.get_http_version() == "0.0"

    def _end_slow_head(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:  # else the response comes first, and then a timeout
            self._refuse(BadRequest(HTTPStatus.REQUEST_TIMEOUT, "The request's head took too long."))

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, refusal: BadRequest) -> None:
        """Close the connection, with an error if the client can tell which request it is for."""
        cycle = self.cycle
        is_pending = cycle is not None and not cycle.response_complete
        if not is_pending or (cycle.more_body and not cycle.response_started and not self.pipeline):
            self.transport.write(_error(refusal, self.server_state.default_headers))
        self.transport.close()


def _check_head(version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Raise BadRequest for a head that RFC 9112 or 9110 has a server refuse."""
    if version not in {"1.1", "1.0"}:
        status = HTTPStatus.BAD_REQUEST if version == "0.9" else HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        raise BadRequest(status, "Only HTTP/1.1 and HTTP/1.0 are supported.")
    hosts = 0
    for name, value in headers:
        if name == b"host":  # RFC 9112, 3.2
            hosts += 1
            if not _HOST.fullmatch(value):
                raise BadRequest(HTTPStatus.BAD_REQUEST, "The Host header is not a name or address.")
        elif name == b"transfer-encoding" and value.lower() != b"chunked":  # RFC 9112, 6.1
            raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "The only supported transfer coding is chunked.")
        elif name == b"expect" and value.lower() != b"100-continue":  # RFC 9110, 10.1.1
            raise BadRequest(HTTPStatus.EXPECTATION_FAILED, "The only supported expectation is 100-continue.")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "A request needs exactly one Host header.")


def _error(refusal: BadRequest, headers: list[tuple[bytes, bytes]]) -> bytes:
    reason = str(refusal).encode("ascii")
    lines = [
        *headers,
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(reason)),
        (b"connection", b"close"),
    ]
    head = b"".join(b"%s: %s\r\n" % line for line in lines)
    return STATUS_LINE[refusal.status] + head + b"\r\n" + reason


class HeadHolder:
    """A transport that holds the head of a response back until its body begins, for a turn of the loop at most."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._head = b""

    def write(self, data: bytes | memoryview) -> None:
        """Send a head or a piece of a body (asyncio.Transport)."""
        if self._head and len(data) <= MAX_JOINED_BYTES:
            data, self._head = b"".join((self._head, data)), b""
        elif self._head:
            self._send_head()
        elif data[: len(_STATUS)] == _STATUS:
            self._head = bytes(data)
            self._loop.call_soon(self._end_turn)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close it once all is sent (asyncio.Transport)."""
        self._send_head()
        self._transport.close()

    def _end_turn(self) -> None:
        if not self._transport.is_closing():  # else the caller has gone
            self._send_head()

    def _send_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        """Find all else in the transport itself."""
        return getattr(self._transport, name)
