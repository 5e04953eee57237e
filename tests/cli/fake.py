"""A gateway that answers what a test says, on loopback, and the command line in front of it."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from typer.testing import CliRunner

from cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

TOKEN = "eyJ.the-admins.token"
KEY = "sk-bf-the-secret-that-is-shown-once"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGP4z8DA8J+BkYHh////DAAe9gT9Ce00PgAAAABJRU5ErkJggg=="
)
"""Red and green above blue and white."""
RECORD: dict[str, Any] = {
    "id": "vk-1",
    "name": "Team A",
    "prefix": "sk-bf-1a2b",
    "deployments": ["gpt-image-2"],
    "active": True,
    "expires_at": None,
    "rate_limit": None,
    "budget": None,
    "metadata": {},
    "created_at": "2026-11-01T08:30:00Z",
    "updated_at": "2026-11-02T09:00:00Z",
    "last_used_at": None,
    "etag": '"1"',
}


def key_reply(**fields: Any) -> dict[str, Any]:
    """A response with one key."""
    return {"virtual_key": {**RECORD, **fields}}


@dataclass(frozen=True)
class Received:
    """A request that the gateway got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """One response. A body that is not bytes is sent as JSON; with `breaks` the connection ends before its end."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False


def error(status: int, code: str, message: str, *, param: str | None = None, **headers: str) -> Reply:
    """An error as the gateway writes all of them."""
    said = {"type": "x", "code": code, "message": message, "param": param, "event_id": "event-1"}
    return Reply(
        status, {"status_code": status, "error": said}, {name.replace("_", "-"): v for name, v in headers.items()}
    )


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of a stream."""
    return {"type": f"image_generation.{kind}", **fields}


def partial(content: bytes, number: int = 0) -> dict[str, Any]:
    """The event of an unfinished image."""
    return event("partial_image", b64_json=base64.b64encode(content).decode(), partial_image_index=number)


def completed(content: bytes, **fields: Any) -> dict[str, Any]:
    """The event of a finished image."""
    return event("completed", b64_json=base64.b64encode(content).decode(), **fields)


def stream(*events: dict[str, Any]) -> Reply:
    """A stream of events, with a comment in it."""
    lines = [": keep-alive\n\n", *(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)]
    return Reply(200, "".join(lines).encode(), {"content-type": "text/event-stream; charset=utf-8"})


class FakeGateway:
    """Answers each request to a method and path with the next reply; the last one is used again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self._replies: dict[tuple[str, str], list[Reply]] = {}

    def answers(self, method: str, path: str, *replies: Reply | dict[str, Any]) -> None:
        """Set the replies of a path."""
        self._replies[method, path] = [each if isinstance(each, Reply) else Reply(body=each) for each in replies]

    def answer(self, request: Received) -> Reply:
        """Keep the request, and find the reply to it."""
        self.received.append(request)
        unknown = [error(404, "not_found", "There is no such path")]
        replies = self._replies.get((request.method, request.path), unknown)
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def sent(self, method: str) -> Any:
        """The body of the one request with a method."""
        (found,) = [request for request in self.received if request.method == method]
        return found.body

    def run(self, *arguments: str, **extra: Any) -> Result:
        """Run the command line against this gateway."""
        return run(
            *arguments, env={"GATEWAY_URL": self.url, "GATEWAY_ADMIN_TOKEN": TOKEN, **extra.pop("env", {})}, **extra
        )


def run(*arguments: str, env: dict[str, str | None] | None = None, **extra: Any) -> Result:
    """Run the command line with nothing of this shell's settings. A traceback fails the test."""
    none = dict.fromkeys(
        [
            "GATEWAY_URL",
            "GATEWAY_ADMIN_TOKEN",
            "GATEWAY_KEY",
            "GATEWAY_JWT_SECRET",
            "GATEWAY_JWT_ISSUER",
            "GATEWAY_JWT_AUDIENCE",
        ]
    )
    return CliRunner().invoke(
        app, arguments, env={**none, **(env or {})}, catch_exceptions=False, prog_name="image-gateway", **extra
    )


@contextmanager
def fake_gateway() -> Iterator[FakeGateway]:
    """Run a gateway that answers as it is told."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = gateway.answer(
                Received(
                    self.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(body) if body else None
                )
            )
            self.close_connection = reply.breaks
            if reply.breaks and reply.body is None:
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response_only(reply.status)
            length = len(content) + reply.breaks
            headers = {"date": self.date_time_string(), "content-length": str(length), **reply.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 -- http.server's names

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway = FakeGateway(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()


def failed(shown: Result) -> list[str]:
    """The lines of stderr of a command that has failed as it should."""
    assert 1 == shown.exit_code
    assert "" == shown.stdout
    assert TOKEN not in shown.stderr
    return shown.stderr.splitlines()
