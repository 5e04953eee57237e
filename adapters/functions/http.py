"""HTTP as the functions see it: what a Starlette request holds, and the Starlette response that a reply becomes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect

from adapters.functions.web_extension import Request, Response
from core.domain.errors import BodyTooSlow
from core.domain.http_request import MAX_BODY_BYTES, HttpRequest, body_too_large
from core.domain.response import Stream
from core.tasks import start_eagerly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from starlette.types import Receive, Scope, Send

    from core.domain.errors import BodyTooLarge
    from core.domain.image_json import Buffer
    from core.domain.response import HttpResponse
    from core.routes import Router

_T = TypeVar("_T")

BODY_SECONDS: Final = 30.0
"""How long a request's body may take to arrive."""
MOST_DRAINED_BYTES: Final = 8 << 20
"""How much of a body that is too large is read and thrown away: an answer given earlier breaks the host's proxy."""
CLIENT_CLOSED_REQUEST: Final = 499
"""What is returned to a caller that has gone. Nobody sees it but the host's log (nginx's status for that)."""


async def answer(request: Request, router: Router, arrived_at: float | None) -> Response:
    """Answer a request. `arrived_at` is when it came, by the gateway's clock."""
    body = await _read_body(request)
    if body is None:
        return to_nobody()
    path = request.scope["raw_path"].decode("latin-1")
    return await unless_the_caller_leaves(
        request,
        router.answer(
            HttpRequest(
                method=request.method,
                path=path,
                headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
                query=parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True),
                body=body,
                arrived_at=arrived_at,
            )
        ),
    )


async def _read_body(request: Request) -> bytes | BodyTooLarge | BodyTooSlow | None:
    """Read the body within its bounds; None: the caller has gone."""
    kept = bytearray()
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                size += len(piece)
                if size <= MAX_BODY_BYTES:
                    kept += piece
                elif size > MOST_DRAINED_BYTES:
                    break
    except TimeoutError:
        return BodyTooSlow("The request body did not arrive in time")
    except ClientDisconnect:
        return None
    return bytes(kept) if size <= MAX_BODY_BYTES else body_too_large()


def to_nobody() -> Response:
    """What is returned where the caller has gone."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def unless_the_caller_leaves(request: Request, answering: Coroutine[None, None, HttpResponse]) -> Response:
    """Answer a call, or stop at once where the caller has gone: every second of waiting may be paid for.

    The function itself must not raise CancelledError: the worker would let the host wait for ever.
    """
    reply = await _unless_left(request.receive, answering, undo=_closed)
    return to_nobody() if reply is None else response_of(reply)


async def _closed(reply: HttpResponse) -> None:
    if isinstance(reply.body, Stream):
        await reply.body.aclose()


async def _unless_left(
    receive: Receive, work: Coroutine[None, None, _T], *, undo: Callable[[_T], Awaitable[None]] | None = None
) -> _T | None:
    """Do some work, and break it off where the caller leaves meanwhile: then None.

    `undo` is given what came of it in the very moment in which the invocation itself was cancelled.
    """
    task = start_eagerly(work)
    watch = None if task.done() else start_eagerly(_cancel_when_left(receive, task))
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            if undo is not None and task.done() and not task.cancelled() and task.exception() is None:
                await undo(task.result())
            raise
        return None
    finally:
        if watch is not None:
            watch.cancel()


async def _cancel_when_left(receive: Receive, task: asyncio.Task[_T]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


class _InPieces(Response):
    """An answer that is there whole, in pieces that are not joined; each is sent when there is room for it."""

    def __init__(self, reply: HttpResponse, pieces: tuple[Buffer, ...]) -> None:
        length = str(sum(len(piece) for piece in pieces))
        super().__init__(status_code=reply.status, headers={**reply.headers, "content-length": length})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's
        """Send it (ASGI)."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Streamed(Response):
    """A stream that is closed however it ends, also where nobody began to read it.

    Not Starlette's StreamingResponse: its task group was a quarter of what a first event takes (docs/architecture.md).
    """

    def __init__(self, reply: HttpResponse, stream: Stream) -> None:
        self.body_iterator = stream
        """As Starlette names it: the host closes it where the response is never sent."""
        self.status_code = reply.status
        self.background = None
        self.init_headers(reply.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's
        """Send it (ASGI)."""
        try:
            await _unless_left(receive, self._send(send))
        finally:
            await self.body_iterator.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self.body_iterator:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def response_of(reply: HttpResponse) -> Response:
    """The response that sends a reply, and closes what it holds."""
    if not isinstance(reply.body, tuple):
        return _Streamed(reply, reply.body)
    if len(reply.body) == 1:
        return Response(bytes(reply.body[0]), status_code=reply.status, headers=dict(reply.headers))
    return _InPieces(reply, reply.body)
