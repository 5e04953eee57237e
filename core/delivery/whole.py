"""The answer as one JSON object."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from core.contract.answer import with_indexes
from core.contract.reply import JSON, Reply
from core.delivery.headers import answer_headers
from core.delivery.pieces import in_pieces
from core.generation import Drawn, GaveUp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from core.delivery.envelope import Envelope
    from core.generation import Progress


async def deliver_whole(events: AsyncGenerator[Progress], envelope: Envelope) -> Reply:
    """Wait for the end of a generation and answer with it."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Drawn):
                return _drawn(event, envelope)
            if isinstance(event, GaveUp):
                return envelope.gave_up(event)
    raise AssertionError("a generation ended without an end")


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
