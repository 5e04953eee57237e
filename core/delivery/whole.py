"""The answer as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.contract.answer import with_indexes
from core.contract.reply import JSON, Reply
from core.delivery.headers import answer_headers
from core.delivery.pieces import in_pieces
from core.generation import Drawn, GaveUp

if TYPE_CHECKING:
    from core.delivery.envelope import Envelope
    from core.delivery.reader import Reader


async def deliver_whole(reader: Reader, envelope: Envelope) -> Reply:
    """Wait for the end of a generation and answer with it. Raises Stopping."""
    try:
        event = await reader.wait()
        while not isinstance(event, Drawn | GaveUp):
            event = await reader.wait()
    finally:
        await reader.aclose()
    return envelope.gave_up(event) if isinstance(event, GaveUp) else _drawn(event, envelope)


def _drawn(drawn: Drawn, envelope: Envelope) -> Reply:
    body = with_indexes(drawn.picture.answer, envelope.extra_fields(drawn)).render()
    return Reply(
        status=200,
        headers={
            **answer_headers(drawn.step, drawn.trail, drawn.picture.relayed),
            "content-type": JSON,
            "content-length": str(sum(len(piece) for piece in body)),
        },
        body=tuple(in_pieces(body)),
    )
