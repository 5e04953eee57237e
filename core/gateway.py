"""The walk of a call through the house: who → what → where, and may they → do it → answer."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from core.access.credentials import credential_of
from core.catalogue.plan import make_plan
from core.contract.errors import (
    BodyTooLarge,
    BodyTooSlow,
    GatewayError,
    InternalFault,
    MethodNotAllowed,
    Misconfigured,
    NotFound,
)
from core.contract.outcomes import Kind
from core.contract.request import DEPLOYMENT_NAME, MAX_BODY_BYTES, parse_api_version, parse_request
from core.delivery.envelope import Envelope
from core.delivery.reader import Grace, Reader
from core.delivery.stream import deliver_stream
from core.delivery.whole import deliver_whole
from core.logs import CallRecord, write_fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from core.access.authenticator import Authenticator
    from core.catalogue.deployments import Catalogue
    from core.contract.document import Buffer
    from core.contract.reply import Reply, Stream
    from core.generation import Generator, Limits

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as it came in, before anything about it is believed."""

    deployment: str
    """The deployment named in the path."""
    headers: Sequence[tuple[str, str]]
    """In their order, names in lower case."""
    query: Sequence[tuple[str, str]] = ()
    body: bytes | BodyTooLarge | BodyTooSlow
    """The body, or why it was not read to its end."""
    arrived_at: float | None = None
    """When its head was there, by `Gateway.clock`; None: now."""


class Gateway:
    """Answers calls. Built once, by `bootstrap`."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        catalogue: Catalogue,
        generator: Generator,
        heartbeat_seconds: float,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, in seconds."""
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._generator = generator
        self._heartbeat_seconds = heartbeat_seconds
        self.clock = clock
        self._limits = limits
        self._grace = Grace()

    async def generate_image(self, call: Call) -> Reply:
        """Answer `POST …/images/generations`. Only cancellation is raised: the caller has gone."""
        began_at = self.clock() if call.arrived_at is None else call.arrived_at
        envelope = Envelope(event_id=request_id(call.headers), clock=self.clock, began_at=began_at)
        record = _Record(call, envelope)
        try:
            reply = await self._answer(call, envelope, record)
        except GatewayError as error:
            reply = envelope.refused(error)
        except asyncio.CancelledError:
            record.write(status=None)
            raise
        except Exception as fault:  # noqa: BLE001 -- the one place where a fault of ours becomes an answer
            write_fault(fault, envelope.event_id)
            reply = envelope.refused(InternalFault(retry_safe=envelope.journal.trail.calls == 0))
        return record.written_with(reply.with_headers({"x-request-id": envelope.event_id}))

    async def _answer(self, call: Call, envelope: Envelope, record: _Record) -> Reply:
        caller = await self._authenticator.caller_of(credential_of(call.headers))
        record.caller = caller.id
        if DEPLOYMENT_NAME.fullmatch(call.deployment) is None:
            raise NotFound("That is not a deployment's name", code="deployment_not_found")
        if not isinstance(call.body, bytes):
            raise call.body
        request = parse_request(call.body)
        envelope.model_requested = request.model
        envelope.stream = request.streams
        api_version = parse_api_version([value for name, value in call.query if name.lower() == "api-version"])
        plan = make_plan(self._catalogue, request, call.deployment, caller.may_call)
        events = self._generator.generate(
            plan,
            envelope.journal,
            images=request.images,
            partials=request.partials,
            api_version=api_version,
            event_id=envelope.event_id,
            ends_at=envelope.began_at + self._limits.call,
        )
        seconds = envelope.began_at + self._limits.call - self.clock()
        reader = Reader(events, self._grace, envelope, seconds=seconds)
        if request.streams:
            return await deliver_stream(reader, envelope, heartbeat_seconds=self._heartbeat_seconds)
        return await deliver_whole(reader, envelope)

    def end_calls(self) -> None:
        """End the calls that are still in flight, because the process ends: each is told so."""
        self._grace.end()


class _Record:
    """The line in the log: written when the answer is there, or at the end of the stream."""

    def __init__(self, call: Call, envelope: Envelope) -> None:
        self.caller: str | None = None
        self._deployment = call.deployment if DEPLOYMENT_NAME.fullmatch(call.deployment) else "(not a name)"
        self._envelope = envelope

    def write(self, *, status: int | None) -> None:
        envelope, trail = self._envelope, self._envelope.journal.trail
        drawn = any(trace.outcome == Kind.PICTURE for trace in trail.traces)
        CallRecord(
            event_id=envelope.event_id,
            caller=self.caller,
            deployment=self._deployment,
            deployment_used=envelope.deployment_used,
            stream=envelope.stream,
            outcome=envelope.outcome,
            attempts=trail.calls,
            tried=tuple(f"{trace.deployment} {trace.outcome} {trace.status or '-'}" for trace in trail.lines),
            status=status,
            latency_ms=envelope.latency_ms,
            perhaps_billed=trail.perhaps_billed or (drawn and envelope.outcome == "left"),
        ).write()

    def written_with(self, reply: Reply) -> Reply:
        if isinstance(reply.body, tuple):
            self.write(status=reply.status)
            return reply
        return replace(reply, body=_Recorded(reply.body, lambda: self.write(status=reply.status)))


class _Recorded:
    """A stream, with its line in the log once it has been closed."""

    def __init__(self, stream: Stream, at_the_end: Callable[[], None]) -> None:
        self._stream = stream
        self._at_the_end = at_the_end

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            at_the_end, self._at_the_end = self._at_the_end, lambda: None
            at_the_end()


def request_id(headers: Sequence[tuple[str, str]]) -> str:
    """The caller's `x-request-id`, if it is 1 to 128 printable characters without spaces; else a new one."""
    given = next((value for name, value in headers if name == "x-request-id"), "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def refusal(error: GatewayError, headers: Sequence[tuple[str, str]]) -> Reply:
    """Answer a call that no gateway needs to be built for: an unknown path, a wrong method, wrong settings."""
    event_id = request_id(headers)
    envelope = Envelope(event_id=event_id, clock=lambda: 0.0, began_at=0.0)
    return envelope.refused(error).with_headers({"x-request-id": event_id})


def unknown_path(headers: Sequence[tuple[str, str]]) -> Reply:
    """404 for every path that is not the gateway's."""
    return refusal(NotFound("There is nothing at this path"), headers)


def wrong_method(method: str, allowed: str, headers: Sequence[tuple[str, str]]) -> Reply:
    """405 for the right path with the wrong method."""
    return refusal(MethodNotAllowed(method, allowed), headers)


def misconfigured(headers: Sequence[tuple[str, str]]) -> Reply:
    """503 while the settings are wrong."""
    return refusal(Misconfigured(), headers)


def too_large() -> BodyTooLarge:
    """What stands in the place of a body beyond the limit."""
    return BodyTooLarge(f"The request body must be at most {MAX_BODY_BYTES:,} bytes")


def too_slow() -> BodyTooSlow:
    """What stands in the place of a body that does not come."""
    return BodyTooSlow("The request body did not arrive in time")
