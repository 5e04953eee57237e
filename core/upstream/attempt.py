"""One attempt on one target: send, read, and end in exactly one outcome."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import orjson

from core.contract.answer import COMPLETED, PARTIAL
from core.contract.document import Document, NotADocument
from core.contract.loopback import is_loopback
from core.contract.outcomes import Failed, Outcome, Partial, Picture, Reason
from core.upstream import reading
from core.upstream.connection import HttpRequest, Lost, NotSent
from core.upstream.download import with_base64
from core.upstream.identity import NoToken
from core.upstream.sse import EventReader, EventTooLong

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncGenerator, Callable, Mapping

    from core.catalogue.deployments import Target
    from core.catalogue.fitting import Fitted
    from core.upstream.connection import Connection, HttpResponse
    from core.upstream.identity import TokenSource

MOST_ERROR_BYTES: Final = 1 << 20
SECONDS_FOR_AN_ERROR: Final = 5.0
MOST_ANSWER_BYTES: Final = 512 << 20
"""The largest JSON answer that is held: ten 4K pictures are 330 MB of base64."""
SECONDS_TO_END: Final = 0.1
"""How long the end of a stream is waited for once its last picture is there, so that the connection can be kept."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one attempt asks of one target."""

    target: Target
    fitted: Fitted
    api_version: str | None
    """The dated version that the caller asked for."""
    images: int
    event_id: str
    ends_at: float
    """When the attempt must have ended, on the monotonic clock."""


class Upstream:
    """Azure OpenAI, as the gateway reaches it."""

    def __init__(
        self,
        connection: Connection,
        tokens: TokenSource,
        *,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
    ) -> None:
        """`clock` is monotonic, in seconds, and the event loop's; `now` is the wall clock, in UTC."""
        self._connection = connection
        self._tokens = tokens
        self._clock = clock
        self._now = now

    async def attempt(self, ask: Ask) -> AsyncGenerator[Partial | Outcome]:
        """Yield the partial images as they come, then one outcome. Only cancellation is raised."""
        async with AsyncExitStack() as stack:
            try:
                async with self._limit(ask):
                    request = await self._request(ask)
            except (NoToken, TimeoutError) as failure:
                _log.error("Target %s cannot be called: %s", ask.target.name, failure or "no token in time")
                yield Failed(reason=Reason.NO_TOKEN)
                return
            sent_at = self._clock()
            try:
                async with self._limit(ask):
                    response = await stack.enter_async_context(self._connection.send(request))
            except NotSent:
                yield Failed(reason=Reason.UNREACHABLE)
                return
            except Lost:
                yield Failed(reason=Reason.CUT_SHORT)
                return
            except TimeoutError:
                yield Failed(reason=Reason.TIMED_OUT)
                return
            events = await stack.enter_async_context(aclosing(self._read(ask, response, sent_at)))
            async for event in events:
                yield event

    async def _request(self, ask: Ask) -> HttpRequest:
        target = ask.target
        if target.key is not None:
            credential = {"api-key": target.key.reveal()}
        else:
            credential = {"authorization": f"Bearer {(await self._tokens.token()).reveal()}"}
        version = quote(target.api_version(ask.api_version), safe="")
        name = quote(target.deployment, safe="")
        return HttpRequest(
            url=f"{target.endpoint}/openai/deployments/{name}/images/generations?api-version={version}",
            headers={
                **credential,
                "content-type": "application/json",
                "accept": "text/event-stream, application/json" if ask.fitted.streams else "application/json",
                "accept-encoding": "identity",  # base64 in, base64 out: nothing to be unpacked and packed again
                "user-agent": "azure-openai-image-gateway",
                "x-ms-client-request-id": ask.event_id,
            },
            body=orjson.dumps(ask.fitted.body),
        )

    async def _read(self, ask: Ask, response: HttpResponse, sent_at: float) -> AsyncGenerator[Partial | Outcome]:
        try:
            if response.status // 100 != 2:
                seconds = self._clock() - sent_at
                body = await self._error_body(response)
                yield reading.read_error(response.status, response.headers, body, seconds=seconds, now=self._now())
            elif _is_stream(response.headers):
                async with aclosing(self._events(ask, response)) as events:
                    async for event in events:
                        yield event
            else:
                body = await self._body(ask, response)
                outcome = reading.read_answer(response.status, response.headers, body)
                yield await self._finished(ask, outcome)
        except TimeoutError:
            yield _failed(Reason.TIMED_OUT, response)
        except Lost:
            yield _failed(Reason.CUT_SHORT, response)
        except _TooLarge:
            yield _failed(Reason.UNREADABLE, response)

    def _limit(self, ask: Ask) -> asyncio.Timeout:
        """What bounds each wait of an attempt. Never held across a yield: the next step may be another task's."""
        return asyncio.timeout(max(0.0, ask.ends_at - self._clock()))

    async def _body(self, ask: Ask, response: HttpResponse) -> bytearray:
        """Read an answer whole. Raises Lost, TimeoutError or _TooLarge."""
        body = bytearray()
        async with aclosing(response.pieces()) as pieces, self._limit(ask):
            async for piece in pieces:
                body += piece
                if len(body) > MOST_ANSWER_BYTES:
                    raise _TooLarge
        return body

    async def _error_body(self, response: HttpResponse) -> bytearray:
        """Read as much of an error's body as comes: its status has said the most."""
        body = bytearray()
        try:
            async with aclosing(response.pieces()) as pieces, asyncio.timeout(SECONDS_FOR_AN_ERROR):
                async for piece in pieces:
                    body += piece
                    if len(body) > MOST_ERROR_BYTES:
                        break
        except (Lost, TimeoutError):
            return body
        return body

    async def _events(self, ask: Ask, response: HttpResponse) -> AsyncGenerator[Partial | Outcome]:
        """Read a stream. Raises Lost or TimeoutError."""
        completed: list[Document] = []
        async with aclosing(_documents(response, lambda: self._limit(ask))) as documents:
            async for name, document in documents:
                if document is None:
                    yield _failed(Reason.CUT_SHORT if name == _AT_THE_END else Reason.UNREADABLE, response)
                    return
                if reading.is_error(document.value):
                    yield reading.read_error_event(document.value, response.headers)
                    return
                kind = document.value.get("type", name)
                if kind == PARTIAL:
                    yield Partial(event=document, relayed=reading.relayed(response.headers))
                elif kind == COMPLETED:
                    completed.append(document)
                    if len(completed) >= ask.images:
                        await _await_end(documents)
                        break
        yield await self._finished(ask, reading.read_completed(completed, response.headers))

    async def _finished(self, ask: Ask, outcome: Picture | Failed) -> Picture | Failed:
        """Turn URLs into base64 where the caller asked for that and the model gives URLs only."""
        if not isinstance(outcome, Picture) or ask.fitted.wants != "b64_json":
            return outcome
        loopback = is_loopback(urlsplit(ask.target.endpoint).hostname or "")
        try:
            async with self._limit(ask):
                return await with_base64(outcome, self._connection, loopback=loopback)
        except TimeoutError:
            return outcome


class _TooLarge(Exception):
    """An answer beyond what any request can ask for."""


_AT_THE_END: Final = "(at the end)"


async def _documents(
    response: HttpResponse, limit: Callable[[], asyncio.Timeout]
) -> AsyncGenerator[tuple[str, Document | None]]:
    """Yield each event's name and JSON; None in the place of what is not JSON."""
    reader = EventReader()
    async with aclosing(response.pieces()) as pieces:
        while True:
            async with limit():
                piece = await anext(pieces, None)
            if piece is None:
                break
            try:
                for event in reader.feed(piece):
                    if bytes(event.data[:6]) != b"[DONE]":
                        yield event.name, _parsed(event.data)
            except EventTooLong:
                yield "", None
                return
    last = reader.close()
    if last is not None:
        yield (_AT_THE_END, None) if (document := _parsed(last.data)) is None else (last.name, document)


def _parsed(data: bytearray) -> Document | None:
    try:
        return Document.parse(data)
    except NotADocument:
        return None


async def _await_end(documents: AsyncGenerator[tuple[str, Document | None]]) -> None:
    """Read to the end if it is near. What still comes, or fails, after the last picture changes nothing."""
    try:
        async with asyncio.timeout(SECONDS_TO_END):
            async for _ in documents:
                pass
    except (TimeoutError, Lost):
        return


def _is_stream(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("text/event-stream")


def _failed(reason: Reason, response: HttpResponse) -> Failed:
    return Failed(reason=reason, status=response.status, relayed=reading.relayed(response.headers))
