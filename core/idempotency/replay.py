"""Keeping what a call came to, and answering with it again."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from core.domain.response import HttpResponse
from core.storage.tables import Changed, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from core.domain.image_json import Buffer
    from core.idempotency.store import IdempotencyClaim, StoredResponse
    from core.storage.blobs import Content

REPLAYED: Final = "idempotent-replayed"

_WAITS: Final = (0.5, 2.0, 5.0)
"""How long it is waited before the store is tried again, in seconds."""
_THROTTLED: Final = 429
_SERVERS_FAULT: Final = 500

_log: Final = logging.getLogger(__name__)


async def store_response(
    claim: IdempotencyClaim, reply: HttpResponse, *, event_id: str, wait: Callable[[float], Awaitable[None]]
) -> None:
    """Keep an answer under its name; one that bought nothing, and may be different when asked again, frees the name.

    A store that stays out of reach costs the caller nothing now: a repeat is then told that the outcome is unknown.
    """
    for seconds in (*_WAITS, None):
        try:
            if _may_be_asked_again(reply):
                await claim.release()
            else:
                await claim.keep(reply.status, _headers_to_keep(reply.headers), reply.whole)
        except StoreUnavailable:
            if seconds is not None:
                await wait(seconds)
                continue
            _log.error("The outcome of call %s could not be kept: the store is out of reach", event_id)
        except Changed:
            _log.warning("The outcome of call %s was not kept: a repeat that accepts a duplicate took over", event_id)
        return


async def release(claim: IdempotencyClaim | None, *, event_id: str) -> None:
    """Give back the name, if it has one, of a call that bought nothing."""
    if claim is None:
        return
    try:
        await claim.release()
    except StoreUnavailable:
        _log.warning("The name of call %s could not be given back; it is free when its lease is over", event_id)


def replay(kept: StoredResponse) -> HttpResponse:
    """The answer that was kept, byte for byte."""
    headers = {**kept.headers, REPLAYED: "true"}
    if isinstance(kept.body, bytes):
        return HttpResponse(status=kept.status, headers=headers, body=(kept.body,))
    return HttpResponse(
        status=kept.status, headers={**headers, "content-length": str(kept.body.size)}, body=StoredBody(kept.body)
    )


class StoredBody:
    """A body that is read from the store as it is sent."""

    def __init__(self, content: Content) -> None:
        self._pieces = _pieces(content)

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._pieces

    async def aclose(self) -> None:
        await self._pieces.aclose()


async def _pieces(content: Content) -> AsyncGenerator[Buffer]:
    async with aclosing(content.pieces()) as pieces:
        async for piece in pieces:
            yield piece


def _may_be_asked_again(reply: HttpResponse) -> bool:
    throttled_or_failed = reply.status == _THROTTLED or reply.status >= _SERVERS_FAULT
    return throttled_or_failed and reply.headers.get("x-should-retry") != "false"


def _headers_to_keep(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that belong to the outcome. Request ids and limits are those of each call."""
    return {
        name: value for name, value in headers.items() if name != "x-request-id" and not name.startswith("x-ratelimit-")
    }
