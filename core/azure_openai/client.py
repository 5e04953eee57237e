"""One attempt on one target: send, receive, and end in exactly one outcome."""

from __future__ import annotations

from contextlib import AsyncExitStack
from math import inf
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import orjson
from msgspec import Struct

from core.azure_openai import response_outcome
from core.azure_openai.connection import HttpRequest, Lost, NoTime, NotSent, NoTurn
from core.azure_openai.response_reader import (
    Patience,
    Time,
    is_event_stream,
    receive_error,
    receive_stream,
    receive_whole,
)
from core.azure_openai.token_source import NoToken
from core.azure_openai.url_images import with_base64
from core.domain.loopback import is_loopback
from core.domain.outcome import Failure, FailureReason, Outcome, Success, UpstreamError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from core.azure_openai.connection import Connection, HttpResponse, Sending
    from core.azure_openai.response_reader import Show
    from core.azure_openai.token_source import TokenSource
    from core.deployments.catalogue import Target
    from core.deployments.parameters import UpstreamBody

SECONDS_TO_A_TURN: Final = 1.0
"""After how long a caller may come again who found all connections in use."""

_BUSY: Final = Failure(reason=FailureReason.NO_TURN, retry_after=SECONDS_TO_A_TURN)


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
    patience: Patience | None = None
    """In the place of the usual one."""


class AzureOpenAI:
    """Azure OpenAI, as the gateway reaches it."""

    def __init__(
        self,
        connection: Connection,
        tokens: TokenSource,
        *,
        clock: Callable[[], float],
        now: Callable[[], dt.datetime],
        patience: Patience | None = None,
    ) -> None:
        """`clock` is monotonic, in seconds; `now` is the wall clock, in UTC."""
        self._connection = connection
        self._tokens = tokens
        self._clock = clock
        self._now = now
        self._patience = patience or Patience()

    async def attempt(self, ask: AttemptRequest, show: Show, sending: Sending) -> Outcome:
        """Show the partial images as they come, and give the outcome. Only cancellation is raised.

        `sending` is called before the request goes out: until then the attempt costs nothing.
        """
        time = Time(clock=self._clock, ends_at=ask.ends_at)
        credential = await self._credential(ask.target, time)
        if isinstance(credential, Failure):
            return credential
        patience = ask.patience or self._patience
        departure = _Departure(time, ask.begins_by, patience.first_byte, sending)
        async with AsyncExitStack() as stack:
            call = self._connection.send(_request(ask, credential), departure.limit, departure.sending)
            response = await _begun(call, time, stack)
            if isinstance(response, Failure):
                return response
            if response.status // 100 != 2:
                seconds = self._clock() - departure.at
                body = await receive_error(response, time)
                return response_outcome.read_error(
                    response.status, response.headers, body, seconds=seconds, now=self._now()
                )
            outcome = await _received(ask, response, time, patience, show)
        return await self._finished(ask, outcome, time)

    async def _credential(self, target: Target, time: Time) -> dict[str, str] | Failure:
        """The header that says who asks; or the failure where there is no token for it."""
        if target.key is not None:
            return {"api-key": target.key.reveal()}
        try:
            async with time.limit():
                token = await self._tokens.token()
        except NoTurn:
            return _BUSY
        except NoToken as failure:
            # For the operator's log; the caller is told no more than that there is none.
            return Failure(reason=FailureReason.NO_TOKEN, error=UpstreamError(message=str(failure)))
        except TimeoutError:
            return Failure(reason=FailureReason.NO_TIME)
        return {"authorization": f"Bearer {token.reveal()}"}

    async def _finished(self, ask: AttemptRequest, outcome: Outcome, time: Time) -> Outcome:
        """Turn URLs into base64 where the caller asked for that and the model gives URLs only."""
        if not isinstance(outcome, Success) or ask.body.wants != "b64_json":
            return outcome
        loopback = is_loopback(urlsplit(ask.target.endpoint).hostname or "")
        try:
            async with time.limit():
                return await with_base64(outcome, self._connection, loopback=loopback)
        except TimeoutError:
            return outcome


class _Departure:
    """The moment in which a request goes out: how long may be waited for it, and from then on for the answer."""

    def __init__(self, time: Time, begins_by: float, seconds: float, sending: Sending) -> None:
        """`seconds` are for both together."""
        self.at = 0.0
        """On the monotonic clock; 0: not yet."""
        self._clock = time.clock
        self._begins_by = begins_by
        self._left = time.until(seconds)
        self._sending = sending

    def limit(self) -> float:
        """How long may be waited from now on, in seconds."""
        left = self._left()
        return left if self.at else min(left, max(0.0, self._begins_by - self._clock()))

    def sending(self) -> None:
        """Note that it goes out."""
        self.at = self._clock()
        self._sending()


async def _begun(
    call: AbstractAsyncContextManager[HttpResponse], time: Time, stack: AsyncExitStack
) -> HttpResponse | Failure:
    """Wait for the head of the answer; or say why there is none.

    Here alone an attempt can come to have surely not been sent: later it may have been paid for.
    """
    try:
        return await stack.enter_async_context(call)
    except NoTurn:
        return _BUSY
    except NoTime:
        return Failure(reason=FailureReason.NO_TIME)
    except NotSent:
        return Failure(reason=FailureReason.UNREACHABLE)
    except Lost:
        return Failure(reason=FailureReason.CUT_SHORT)
    except TimeoutError:
        return Failure(reason=time.reason(FailureReason.NO_FIRST_BYTE))


async def _received(ask: AttemptRequest, response: HttpResponse, time: Time, patience: Patience, show: Show) -> Outcome:
    """Read a 2xx answer, stream or not."""
    try:
        is_stream, response = await is_event_stream(response, time, patience, asked=ask.body.streams)
    except (Lost, TimeoutError) as error:
        reason = FailureReason.CUT_SHORT if isinstance(error, Lost) else time.reason(FailureReason.WENT_SILENT)
        return Failure(reason=reason, status=response.status, relayed=response_outcome.relayed(response.headers))
    if is_stream:
        return await receive_stream(response, time, patience, images=ask.images, show=show)
    return await receive_whole(response, time, images=ask.images)


def _request(ask: AttemptRequest, credential: Mapping[str, str]) -> HttpRequest:
    target = ask.target
    version = quote(target.api_version(ask.api_version), safe="")
    name = quote(target.deployment, safe="")
    return HttpRequest(
        url=f"{target.endpoint}/openai/deployments/{name}/images/generations?api-version={version}",
        headers={
            **credential,
            "content-type": "application/json",
            "accept": "text/event-stream, application/json" if ask.body.streams else "application/json",
            "accept-encoding": "identity",  # base64 in, base64 out: nothing to be unpacked and packed again
            "user-agent": "azure-openai-image-gateway",
            "x-ms-client-request-id": ask.event_id,
        },
        body=orjson.dumps(ask.body.fields),
    )
