"""The walk as a whole, where only a clock of our own shows it."""

from __future__ import annotations

import json

from core.bootstrap import build
from core.gateway import Call
from core.settings import read_settings
from tests.fakes import Clock, FakeConnection, Row
from tests.house import KEY, PROMPT, environment


async def test_the_time_of_a_call_begins_with_its_arrival() -> None:
    """What the body took to arrive is part of the call's time: when that is over, nothing is sent any more."""
    clock = Clock()
    connection = FakeConnection(Row(pieces=[b"{}"]))
    gateway = build(read_settings(environment("https://example.openai.azure.com")), connection=connection, clock=clock)
    arrived_at = clock()
    clock.pass_by(221)
    reply = await gateway.generate_image(
        Call(
            deployment="gpt-image-1",
            headers=[("authorization", f"Bearer {KEY}")],
            body=json.dumps({"model": "m", "prompt": PROMPT}).encode(),
            arrived_at=arrived_at,
        )
    )
    assert (504, []) == (reply.status, connection.requests)
