"""From the end of a generation to the response: the caller's, or the one that is stored for a repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from core.domain.image_json import ImageJson
from core.domain.image_response import response_to_completed, with_indexes
from core.domain.response import EVENT_STREAM, JSON, HttpResponse
from core.errors_http import PROVIDER, error_response
from core.responses.headers import answer_headers, cost_headers
from core.responses.pieces import split_pieces
from core.responses.sse_format import serialize_event
from core.responses.upstream_errors import failure_of
from core.routing.executor import Succeeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.call import CallContext
    from core.domain.image_json import Buffer
    from core.routing.executor import End, Failed

STREAM_HEADERS: Final = {
    "content-type": f"{EVENT_STREAM}; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class Hosted(Protocol):
    """An images answer whose pictures have been stored."""

    @property
    def answer(self) -> ImageJson:
        """The answer with URLs."""
        ...

    @property
    def failed(self) -> bool:
        """Whether a picture could not be stored, and is in the answer as base64."""
        ...


class Hosting(Protocol):
    """Gives pictures a URL."""

    async def host(self, answer: ImageJson) -> Hosted:
        """Store the pictures of an images answer."""
        ...


class ResponseBuilder:
    """Builds the response to one call, once for each end."""

    def __init__(self, call: CallContext, hosting: Hosting | None = None) -> None:
        """`hosting` is given where the caller asked for URLs; a stream always holds base64."""
        self.call = call
        self._hosting = hosting
        self._built: tuple[End, HttpResponse] | None = None

    async def build(self, end: End) -> HttpResponse:
        """The whole response: JSON, or all of a stream's `completed` events, or an error."""
        if self._built is None or self._built[0] is not end:
            self._built = end, await self._build(end)
        return self._built[1]

    async def _build(self, end: End) -> HttpResponse:
        if not isinstance(end, Succeeded):
            return self._failed(end)
        return self._events(end) if self.call.stream else await self._json(end)

    def _failed(self, end: Failed) -> HttpResponse:
        response = error_response(self.call, failure_of(end))
        return response.with_headers(answer_headers(end.step, end.summary, end.failure.relayed))

    def _events(self, end: Succeeded) -> HttpResponse:
        headers = {**self.headers(end), **STREAM_HEADERS}
        return HttpResponse(status=200, headers=headers, body=tuple(split_pieces(self._completed(end))))

    def _completed(self, end: Succeeded) -> Iterator[Buffer]:
        extra_fields = self._extra_fields(end)
        for completed in response_to_completed(end.picture.answer):
            value = {**completed.value, "extra_fields": extra_fields}
            yield from serialize_event(completed.value["type"], ImageJson(value, completed.literals))

    async def _json(self, end: Succeeded) -> HttpResponse:
        answer = end.picture.answer
        headers = self.headers(end)
        if self._hosting is not None:
            hosted = await self._hosting.host(answer)
            answer = hosted.answer
            if hosted.failed:
                headers["x-gateway-hosting"] = "failed"
        body = with_indexes(answer, self._extra_fields(end)).render()
        length = str(sum(len(piece) for piece in body))
        return HttpResponse(
            status=200,
            headers={**headers, "content-type": JSON, "content-length": length},
            body=tuple(split_pieces(body)),
        )

    def headers(self, end: Succeeded) -> dict[str, str]:
        """The headers of an answer with pictures."""
        return answer_headers(end.step, end.summary, end.picture.relayed) | cost_headers(self.call.settle().usd)

    def _extra_fields(self, end: Succeeded) -> dict[str, Any]:
        """The gateway's own fields on an answer with pictures."""
        call = self.call
        call.outcome = end.picture.kind
        call.deployment_used = end.step.deployment.name
        return {
            "provider": PROVIDER,
            "model_requested": call.model_requested or "",
            "deployment": call.deployment_used,
            "request_type": "image_generation_stream" if call.stream else "image_generation",
            "latency_ms": call.latency_ms,
            "cost_usd": call.settle().usd,
            "fallback_index": end.step.fallback_index,
            "attempts": end.summary.as_json(),
            **({"withheld": list(end.picture.withheld)} if end.picture.withheld else {}),
        }
