"""What stands around every answer of one call: ids, times, the deployment that answered, and the error body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from core.domain.response import HttpResponse, json_response
from core.errors_http import PROVIDER, error_body
from core.responses.headers import answer_headers
from core.responses.upstream_errors import failure_of
from core.routing.attempt_log import AttemptLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.domain.errors import GatewayError
    from core.routing.executor import Failed, Succeeded


class Envelope(Struct, kw_only=True):
    """One call, as its answer and the log describe it. Filled in as the call is understood and answered."""

    event_id: str
    clock: Callable[[], float]
    began_at: float
    model_requested: str | None = None
    stream: bool = False
    journal: AttemptLog = field(default_factory=AttemptLog)
    outcome: str = "left"
    """`picture`, or the code of the error that was answered; until then, the caller may have gone."""
    deployment_used: str | None = None
    """The one that drew."""
    first_event_ms: int | None = None
    """Milliseconds until a stream's caller was sent the first picture, finished or not."""

    @property
    def latency_ms(self) -> int:
        """Milliseconds since the call came in."""
        return round((self.clock() - self.began_at) * 1000)

    def picture_event(self) -> None:
        """Note that a picture is sent as an event."""
        if self.first_event_ms is None:
            self.first_event_ms = self.latency_ms

    def extra_fields(self, drawn: Succeeded) -> dict[str, Any]:
        """The gateway's own fields on an answer with pictures."""
        self.outcome = drawn.picture.kind
        self.deployment_used = drawn.step.deployment.name
        return {
            "provider": PROVIDER,
            "model_requested": self.model_requested or "",
            "deployment": self.deployment_used,
            "request_type": "image_generation_stream" if self.stream else "image_generation",
            "latency_ms": self.latency_ms,
            "fallback_index": drawn.step.fallback_index,
            "attempts": drawn.trail.as_json(),
        }

    def refused(self, error: GatewayError) -> HttpResponse:
        """Answer with an error."""
        headers = dict(error.headers)
        if not error.retry_safe:
            headers["x-should-retry"] = "false"
        return json_response(error.status, self.error_value(error), headers)

    def gave_up(self, end: Failed) -> HttpResponse:
        """Answer a generation that found no picture."""
        reply = self.refused(failure_of(end))
        return reply.with_headers(answer_headers(end.step, end.trail, end.failure.relayed))

    def error_value(self, error: GatewayError) -> dict[str, Any]:
        """Build the error body of contract §5, with the attempts trail where upstream was called."""
        self.outcome = error.code
        trail = self.journal.trail
        return error_body(
            error,
            event_id=self.event_id,
            model_requested=self.model_requested,
            stream=self.stream,
            attempts=trail.as_json() if trail.traces or trail.calls else None,
        )
