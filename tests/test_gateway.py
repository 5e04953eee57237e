"""The walk as a whole, where only a clock of our own shows it."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from adapters.bootstrap import build
from core.domain.http_request import HttpRequest
from core.settings.settings import read_settings
from tests.fakes import Clock, FakeTransport, Row
from tests.house import KEY, PROMPT, environment
from tests.transports import everywhere


def call(**fields: Any) -> HttpRequest:
    """A call for a picture."""
    return HttpRequest(
        parameters={"deployment": "gpt-image-1"},
        headers=[("authorization", f"Bearer {KEY}")],
        body=json.dumps({"model": "m", "prompt": PROMPT, **fields.pop("body", {})}).encode(),
        **fields,
    )


async def test_the_time_of_a_call_begins_with_its_arrival() -> None:
    """What the body took to arrive is part of the call's time: when that is over, nothing is sent any more."""
    clock = Clock()
    connection = FakeTransport(Row(pieces=[b"{}"]))
    gateway = build(
        read_settings(environment("https://example.openai.azure.com")), transports=everywhere(connection), clock=clock
    )
    arrived_at = clock()
    clock.pass_by(221)
    reply = await gateway.generate_image(call(arrived_at=arrived_at))
    assert (502, []) == (reply.status, connection.requests)
    assert b"nothing was drawn" in b"".join(reply.whole)


@pytest.mark.parametrize("stream", [False, True])
async def test_no_connection_is_free(stream: bool) -> None:
    """A call for which there is no connection may come again in a second, and nobody else is tried in its place."""
    connection = FakeTransport(Row(raises=httpx2.PoolTimeout("all connections are in use")))
    gateway = build(read_settings(environment("https://example.openai.azure.com")), transports=everywhere(connection))
    reply = await gateway.generate_image(call(body={"stream": stream}))
    assert (503, "1", 1) == (reply.status, reply.headers["retry-after"], len(connection.requests))
    assert "x-should-retry" not in reply.headers
    assert b"gateway_busy" in b"".join(reply.whole)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_begun_when_the_process_ends(stream: bool) -> None:
    """A call that comes once the others have had their time is turned away unasked: nobody would see its picture."""
    connection = FakeTransport(Row(pieces=[b"{}"]))
    gateway = build(read_settings(environment("https://example.openai.azure.com")), transports=everywhere(connection))
    gateway.end_calls()
    reply = await gateway.generate_image(call(body={"stream": stream}))
    assert (503, []) == (reply.status, connection.requests)
    assert "x-should-retry" not in reply.headers
