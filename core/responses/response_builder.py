"""What a generation's end is answered with: composed once, whoever asks for it -- the caller, or what is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from core.domain.image_json import ImageJson
from core.domain.image_response import response_to_completed, with_indexes
from core.domain.response import EVENT_STREAM, JSON, HttpResponse
from core.responses.headers import answer_headers
from core.responses.pieces import split_pieces
from core.responses.sse_format import serialize_event
from core.routing.executor import Succeeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.domain.image_json import Buffer
    from core.responses.envelope import Envelope
    from core.routing.executor import Failed

STREAM_HEADERS: Final = {
    "content-type": f"{EVENT_STREAM}; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class Hosted(Protocol):
    """An answer whose pictures have been stored."""

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
    """Composes the answer of one call."""

    def __init__(self, envelope: Envelope, hosting: Hosting | None = None) -> None:
        """`hosting` is given where the caller asked for URLs; a stream always holds base64."""
        self.envelope = envelope
        self._hosting = hosting
        self._composed: tuple[Succeeded | Failed, HttpResponse] | None = None

    async def compose(self, end: Succeeded | Failed) -> HttpResponse:
        """The whole answer: JSON, or all of a stream's `completed` events, or an error."""
        if self._composed is None or self._composed[0] is not end:
            self._composed = end, await self._reply(end)
        return self._composed[1]

    async def _reply(self, end: Succeeded | Failed) -> HttpResponse:
        if not isinstance(end, Succeeded):
            return self.envelope.gave_up(end)
        return self._events(end) if self.envelope.stream else await self._whole(end)

    def _events(self, drawn: Succeeded) -> HttpResponse:
        headers = {**answer_headers(drawn.step, drawn.trail, drawn.picture.relayed), **STREAM_HEADERS}
        return HttpResponse(status=200, headers=headers, body=tuple(split_pieces(self._completed(drawn))))

    def _completed(self, drawn: Succeeded) -> Iterator[Buffer]:
        extra_fields = self.envelope.extra_fields(drawn)
        for completed in response_to_completed(drawn.picture.answer):
            value = {**completed.value, "extra_fields": extra_fields}
            yield from serialize_event(completed.value["type"], ImageJson(value, completed.literals))

    async def _whole(self, drawn: Succeeded) -> HttpResponse:
        answer = drawn.picture.answer
        headers = answer_headers(drawn.step, drawn.trail, drawn.picture.relayed)
        if self._hosting is not None:
            hosted = await self._hosting.host(answer)
            answer = hosted.answer
            if hosted.failed:
                headers["x-gateway-hosting"] = "failed"
        body = with_indexes(answer, self.envelope.extra_fields(drawn)).render()
        length = str(sum(len(piece) for piece in body))
        return HttpResponse(
            status=200,
            headers={**headers, "content-type": JSON, "content-length": length},
            body=tuple(split_pieces(body)),
        )
