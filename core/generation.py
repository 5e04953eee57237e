"""Drawing what was wished for, and answering with it: the second half of a call's walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from core.idempotency.replay import store_response
from core.responses.generation_task import GenerationTask, Shutdown
from core.responses.json import respond_json
from core.responses.response_builder import ResponseBuilder
from core.responses.sse import respond_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.call import Books
    from core.deployments.route_plan import RoutePlan
    from core.domain.request import ImageRequest
    from core.domain.response import HttpResponse
    from core.idempotency.store import IdempotencyClaim
    from core.images.hosting import CallHosting
    from core.responses.envelope import Envelope
    from core.routing.executor import End, Executor, Limits, Show


class Wish(Struct, frozen=True, kw_only=True):
    """What is to be drawn, checked and resolved."""

    request: ImageRequest
    plan: RoutePlan
    api_version: str | None
    hosting: CallHosting | None
    """Where the caller asked for URLs."""


class Studio:
    """Where pictures are drawn."""

    def __init__(
        self,
        generator: Executor,
        *,
        limits: Limits,
        heartbeat_seconds: float,
        clock: Callable[[], float],
        wait: Callable[[float], Awaitable[None]],
    ) -> None:
        """`clock` is monotonic, in seconds; `wait` lets seconds go by."""
        self._generator = generator
        self._limits = limits
        self._heartbeat_seconds = heartbeat_seconds
        self.clock = clock
        self.wait = wait
        self._grace = Shutdown()

    @property
    def is_closed(self) -> bool:
        """Whether the process ends, so that nothing more is begun: it would be paid for and not be seen."""
        return self._grace.is_over

    @property
    def overrun_seconds(self) -> float:
        """How much longer than other calls one may take that is drawn under a claim."""
        return self._limits.attempt

    async def draw(
        self, wish: Wish, envelope: Envelope, books: Books, claim: IdempotencyClaim | None = None
    ) -> HttpResponse:
        """Draw and answer. What is drawn under a claim is drawn to its end and kept, whoever leaves."""
        request = wish.request
        composer = ResponseBuilder(envelope, wish.hosting)

        async def generation(show: Show) -> End:
            return await books.settled(
                self._generator.generate(
                    wish.plan,
                    envelope.journal,
                    images=request.images,
                    partials=request.partials,
                    api_version=wish.api_version,
                    event_id=envelope.event_id,
                    time=self._limits.time(envelope.began_at, overruns=claim is not None),
                    show=show,
                )
            )

        reader = GenerationTask(
            generation,
            self._grace,
            envelope,
            seconds=self.seconds_left(envelope),
            keep=None if claim is None else self._keeping(claim, composer),
        )
        if request.streams:
            return await respond_stream(reader, composer, heartbeat_seconds=self._heartbeat_seconds)
        return await respond_json(reader, composer)

    def _keeping(self, claim: IdempotencyClaim, composer: ResponseBuilder) -> Callable[[End], Awaitable[None]]:
        async def keep_end(end: End) -> None:
            await store_response(
                claim, await composer.compose(end), event_id=composer.envelope.event_id, wait=self.wait
            )

        return keep_end

    def seconds_left(self, envelope: Envelope) -> float:
        """What is left of a call's time."""
        return envelope.began_at + self._limits.call - self.clock()

    def end_calls(self) -> None:
        """End the calls that are still in flight, because the process ends: each is told so."""
        self._grace.end()
