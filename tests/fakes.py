"""Small hand-made stand-ins: a clock, a connection whose answers are rows, a scripted upstream, parts of a plan."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import orjson

from core.azure_openai.sending import SENDING
from core.deployments.catalogue import Deployment, Target
from core.deployments.parameters import UpstreamBody
from core.deployments.route_plan import PlanStep, RoutePlan, SkippedStep
from core.domain.errors import InvalidRequest
from core.domain.image_json import ImageJson
from core.domain.outcome import Failure, FailureReason, Outcome, Success, UpstreamError, UpstreamPartial
from core.domain.secret import Secret
from core.http import NOT_SENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from core.azure_openai.client import AttemptRequest

PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"
VERSION = "2025-04-01-preview"
KEY = "emulator-key"


class Clock:
    """A clock that moves when it is told to; waiting for it takes no time."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Row:
    """One answer of a fake connection. A piece may be an exception, to be raised, or an event, to be waited for."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes | BaseException | asyncio.Event] = ()
    raises: BaseException | None = None
    """Raised in the place of an answer."""
    turn: float | asyncio.Event = 0.0
    """Seconds by which the clock moves before it is sent; or waited for before that."""
    gate: asyncio.Event | None = None
    """Waited for before there is an answer."""
    takes: float = 0.0
    """Seconds by which the clock moves before there is an answer."""


class FakeTransport(httpx2.AsyncBaseTransport):
    """Answers each request with the next row; the last row stays."""

    def __init__(self, *rows: Row, clock: Clock | None = None) -> None:
        self.rows = list(rows)
        self.requests: list[httpx2.Request] = []
        self.open_now = 0
        self._clock = clock

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        row = self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]
        if isinstance(row.turn, asyncio.Event):
            await row.turn.wait()
        elif self._clock is not None:
            self._clock.pass_by(row.turn)
        if not isinstance(row.raises, NOT_SENT) and (trace := request.extensions.get("trace")):
            await trace(SENDING, {})
        if row.gate is not None:
            await row.gate.wait()
        if self._clock is not None:
            self._clock.pass_by(row.takes)
        if row.raises is not None:
            raise row.raises
        self.open_now += 1
        return httpx2.Response(row.status, headers=row.headers, stream=_Stream(row.pieces, self))


class _Stream(httpx2.AsyncByteStream):
    """A body that is the pieces of a row."""

    def __init__(self, pieces: Iterable[bytes | BaseException | asyncio.Event], transport: FakeTransport) -> None:
        self._pieces = pieces
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, BaseException):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece

    async def aclose(self) -> None:
        self._transport.open_now -= 1


Said = UpstreamPartial | Outcome | asyncio.Event | BaseException


class ScriptedUpstream:
    """Says for each target what its script says, one list for each attempt; the last list stays."""

    def __init__(self, **scripts: Iterable[Sequence[Said]]) -> None:
        self._scripts = {name: list(script) for name, script in scripts.items()}
        self.asks: list[AttemptRequest] = []
        self.closed = 0
        self.began: Callable[[AttemptRequest], None] = lambda _: None
        """Called as each attempt begins."""
        self.until_sent: asyncio.Event | None = None
        """Waited for before each is sent."""

    @property
    def asked(self) -> list[str]:
        return [ask.target.name for ask in self.asks]

    async def attempt(
        self, ask: AttemptRequest, show: Callable[[UpstreamPartial], Awaitable[None]], sending: Callable[[], None]
    ) -> Outcome:
        self.asks.append(ask)
        self.began(ask)
        if self.until_sent is not None:
            await self.until_sent.wait()
        sending()
        script = self._scripts[ask.target.name]
        try:
            for said in script.pop(0) if len(script) > 1 else script[0]:
                if isinstance(said, asyncio.Event):
                    await said.wait()
                elif isinstance(said, BaseException):
                    raise said
                elif isinstance(said, UpstreamPartial):
                    await show(said)
                else:
                    return said
        finally:
            self.closed += 1
        raise AssertionError("the script has no outcome")


def target(name: str = "a", *, endpoint: str | None = None, deployment: str = "picture", **fields: Any) -> Target:
    """A target with a host of its own, named after it."""
    given = {"default_api_version": VERSION, "key": Secret(KEY), **fields}
    return Target(name=name, endpoint=endpoint or f"https://{name.lower()}.example", deployment=deployment, **given)


def fitted(*, stream: bool = False, wants: str | None = None, **body: Any) -> UpstreamBody:
    """A request as it is sent."""
    streaming = {"stream": True} if stream else {}
    return UpstreamBody(fields={"prompt": "a red fox", **streaming, **body}, streams=stream, wants=wants)


MISFIT = InvalidRequest("size must be something else", param="size")


def step(name: str, *targets: Target, index: int = 0, dropped: tuple[str, ...] = ()) -> PlanStep:
    """One deployment of a plan; without targets it has one, named like it."""
    deployment = Deployment(name=name, family=None, targets=targets or (target(name),))
    body = UpstreamBody(fields={"prompt": "a red fox"}, streams=False, wants=None, dropped=dropped)
    return PlanStep(
        fallback_index=index,
        deployment=deployment,
        body=body,
        param=f"fallbacks[{index - 1}]" if index else None,
    )


def misfit(name: str, *targets: Target, index: int = 0) -> SkippedStep:
    """A fallback that cannot honour the request."""
    return SkippedStep(fallback_index=index, deployment=step(name, *targets).deployment, reason=MISFIT)


def plan(*steps: PlanStep | SkippedStep) -> RoutePlan:
    return RoutePlan(
        steps=tuple(each for each in steps if isinstance(each, PlanStep)),
        skipped=tuple(each for each in steps if isinstance(each, SkippedStep)),
    )


def failed(reason: FailureReason, *, retry_after: float | None = None, **fields: Any) -> Failure:
    return Failure(reason=reason, retry_after=retry_after, **fields)


def refused(message: str = "Your request was rejected.") -> Failure:
    return Failure(reason=FailureReason.REFUSED, status=400, error=UpstreamError(code="contentFilter", message=message))


def picture(*b64: str, **top: Any) -> Success:
    """A picture; its base64 stays what it is."""
    value = {"created": 1_700_000_000, "data": [{"b64_json": text} for text in b64 or ("QUJD",)], **top}
    return Success(answer=ImageJson.parse(orjson.dumps(value)), relayed={"apim-request-id": "apim-1"})


def partial(index: int = 0, b64: str = "UEFS") -> UpstreamPartial:
    value = {"type": PARTIAL, "b64_json": b64, "partial_image_index": index}
    return UpstreamPartial(event=ImageJson.parse(orjson.dumps(value)), relayed={"apim-request-id": "apim-1"})


def rendered(document: ImageJson) -> Any:
    """A document as its reader sees it."""
    return orjson.loads(b"".join(document.render()))
