"""One attempt on one target: send, receive, and end in exactly one outcome."""

from __future__ import annotations

from contextlib import aclosing
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import httpx2
import orjson
from msgspec import Struct

from core.azure_openai import response_outcome
from core.azure_openai.response_reader import (
    Timeouts,
    is_event_stream,
    receive_error,
    receive_stream,
    receive_whole,
    rejoin,
    timeout_reason,
)
from core.azure_openai.sending import Sending
from core.azure_openai.token_source import NoToken
from core.azure_openai.unknown_params import UnknownParams
from core.azure_openai.url_images import with_base64
from core.deadline import Deadline
from core.domain.loopback import is_loopback
from core.domain.outcome import Failure, FailureReason, Outcome, Success, UpstreamError
from core.http import iterate_body, new_request

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncGenerator, Callable, Mapping

    from core.azure_openai.response_reader import Show
    from core.azure_openai.token_source import TokenSource
    from core.deployments.catalogue import Target
    from core.deployments.parameters import UpstreamBody


class AttemptRequest(Struct, frozen=True, kw_only=True):
    """What one attempt asks of one target."""

    target: Target
    body: UpstreamBody
    api_version: str | None
    """The dated version that the caller asked for."""
    images: int
    event_id: str
    ends_at: float
    """When the attempt must have ended, on the monotonic clock."""
    begins_by: float = inf
    """From when on it is not sent any more."""
    timeouts: Timeouts | None = None
    """In the place of the usual ones."""


class AzureOpenAI:
    """Azure OpenAI, as the gateway reaches it."""

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport,
        tokens: TokenSource,
        *,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        timeouts: Timeouts | None = None,
    ) -> None:
        """`clock` is monotonic, in seconds; `now` is the wall clock, in UTC."""
        self._transport = transport
        self._tokens = tokens
        self._clock = clock
        self._now = now
        self._timeouts = timeouts or Timeouts()
        self._unknown_params = UnknownParams()

    async def attempt(self, ask: AttemptRequest, show: Show, on_send: Callable[[], None]) -> Outcome:
        """Show the partial images as they come, and give the outcome. Only cancellation is raised.

        `on_send` is called before the request goes out: until then the attempt costs nothing. Where the target does not
        know a parameter that the gateway can do without, it is asked again at once without it: that 400 costs nothing.
        """
        outcome = await self._attempt(self._unknown_params.leave_out(ask), show, on_send)
        while self._unknown_params.learn(ask, outcome):
            outcome = await self._attempt(self._unknown_params.leave_out(ask), show, on_send)
        return self._unknown_params.note(ask, outcome)

    async def _attempt(self, ask: AttemptRequest, show: Show, on_send: Callable[[], None]) -> Outcome:
        deadline = Deadline(self._clock, ask.ends_at)
        credential = await self._credential(ask.target, deadline)
        if isinstance(credential, Failure):
            return credential
        timeouts = ask.timeouts or self._timeouts
        sending = Sending(deadline, timeouts, begins_by=ask.begins_by, on_send=on_send)
        response = await sending.head(self._transport, lambda: _request(ask, credential, sending))
        if isinstance(response, Failure):
            return response
        try:
            async with aclosing(iterate_body(response)) as body:
                if response.status_code // 100 != 2:
                    seconds = self._clock() - sending.sent_at
                    return response_outcome.read_error(
                        response.status_code,
                        response.headers,
                        await receive_error(body, deadline),
                        seconds=seconds,
                        now=self._now(),
                    )
                outcome = await _received(ask, response, body, deadline, idle_seconds=timeouts.idle, show=show)
        finally:
            await response.aclose()
        return await self._finished(ask, outcome, deadline)

    async def _credential(self, target: Target, deadline: Deadline) -> dict[str, str] | Failure:
        """The header that says who asks; or the failure where there is no token for it."""
        if target.key is not None:
            return {"api-key": target.key.reveal()}
        try:
            async with deadline.phase():
                token = await self._tokens.token()
        except NoToken as failure:
            # For the operator's log; the caller is told no more than that there is none.
            return Failure(reason=FailureReason.NO_TOKEN, error=UpstreamError(message=str(failure)))
        except TimeoutError:
            return Failure(reason=FailureReason.NO_TIME)
        return {"authorization": f"Bearer {token.reveal()}"}

    async def _finished(self, ask: AttemptRequest, outcome: Outcome, deadline: Deadline) -> Outcome:
        """Turn URLs into base64 where the caller asked for that and the model gives URLs only."""
        if not isinstance(outcome, Success) or ask.body.wants != "b64_json":
            return outcome
        loopback = is_loopback(urlsplit(ask.target.endpoint).hostname or "")
        try:
            async with deadline.phase():
                return await with_base64(outcome, self._transport, loopback=loopback)
        except TimeoutError:
            return outcome


async def _received(
    ask: AttemptRequest,
    response: httpx2.Response,
    body: AsyncGenerator[bytes],
    deadline: Deadline,
    *,
    idle_seconds: float,
    show: Show,
) -> Outcome:
    """Read a 2xx answer, stream or not."""
    try:
        is_stream, read = await is_event_stream(response, body, deadline.within(idle_seconds), asked=ask.body.streams)
    except (httpx2.RequestError, TimeoutError) as error:
        is_late = isinstance(error, TimeoutError)
        reason = timeout_reason(deadline, FailureReason.WENT_SILENT) if is_late else FailureReason.CUT_SHORT
        return Failure(reason=reason, status=response.status_code, relayed=response_outcome.relayed(response.headers))
    async with aclosing(rejoin(read, body)) as whole:
        if is_stream:
            return await receive_stream(response, whole, deadline, idle_seconds, images=ask.images, show=show)
        return await receive_whole(response, whole, deadline, images=ask.images)


@lru_cache  # a deployment's URL is the same for every call
def _url(endpoint: str, deployment: str, version: str) -> httpx2.URL:
    return httpx2.URL(
        f"{endpoint}/openai/deployments/{quote(deployment, safe='')}/images/generations"
        f"?api-version={quote(version, safe='')}"
    )


def _request(ask: AttemptRequest, credential: Mapping[str, str], sending: Sending) -> httpx2.Request:
    target = ask.target
    return new_request(
        "POST",
        _url(target.endpoint, target.deployment, target.api_version(ask.api_version)),
        {
            **credential,
            "content-type": "application/json",
            "accept": "text/event-stream, application/json" if ask.body.streams else "application/json",
            "x-ms-client-request-id": ask.event_id,
        },
        orjson.dumps(ask.body.fields),
        **sending.extensions(),
    )
