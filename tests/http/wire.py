"""What goes over the wire, as these tests speak of it: names, the error shape, an upstream that answers as told."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from emulator.families import FAMILIES
from emulator.loopback import serving
from tests.house import events_of, house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.house import House

QUICK = "gpt-image-1--fault-bytes-400"
"""A deployment of the emulator that answers 400 characters of noise at once. It has no family here."""

CATALOGUE = {
    "deployments": {
        **{name: {"targets": [{"deployment": f"{name}--fault-bytes-400"}]} for name in FAMILIES},
        "no-family": {"family": None, "targets": [{"deployment": QUICK}]},
        "no-family-dall-e": {"family": None, "targets": [{"deployment": "dall-e-3--fault-bytes-400--none"}]},
    }
}

PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"


def path(deployment: str = QUICK) -> str:
    """The path of the call."""
    return f"/openai/openai/deployments/{deployment}/images/generations"


def refusal(response: httpx2.Response) -> dict[str, Any]:
    """The `error` of an answer, once the whole body has been found to be in the one shape."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    check_refusal(body)
    assert body["status_code"] == response.status_code
    assert body["event_id"] == response.headers["x-request-id"]
    error: dict[str, Any] = body["error"]
    return error


def check_refusal(body: dict[str, Any]) -> None:
    """Find a body to be in the one shape of contract §5."""
    assert {"event_id", "type", "is_bifrost_error", "status_code", "error", "extra_fields"} == body.keys()
    assert {"type", "code", "message", "param", "event_id"} <= body["error"].keys()
    assert {"provider", "model_requested", "request_type"} <= body["extra_fields"].keys()
    assert body["extra_fields"]["provider"] == "azure"
    assert body["error"]["event_id"] == body["event_id"]
    assert body["error"]["type"] == body["type"]
    assert isinstance(body["is_bifrost_error"], bool)
    assert isinstance(body["error"]["message"], str)
    assert body["error"]["message"].strip()


def said(response: httpx2.Response) -> tuple[int, str | None, str | None]:
    """Status, `error.code` and `error.param` of a refusal."""
    error = refusal(response)
    return response.status_code, error["code"], error["param"]


def check_error_event(event: dict[str, Any]) -> None:
    """Find an error event to be the error body of contract §5 with the type of an event."""
    assert event["type"] == "error"
    check_refusal({**event, "type": event["error"]["type"]})


def trail(body: dict[str, Any]) -> list[tuple[str, str, int | None]]:
    """The attempts of an answer as deployment, outcome and status; each also has its milliseconds."""
    attempts = body["extra_fields"]["attempts"]
    assert all(isinstance(attempt["latency_ms"], int) for attempt in attempts)
    return [(attempt["deployment"], attempt["outcome"], attempt["status"]) for attempt in attempts]


def events(response: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    """The events of an answer that is a stream."""
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    return events_of(response.text)


def sent(gateway: House) -> dict[str, Any]:
    """The body that upstream got last, without what says how it is to deliver: the gateway may ask for a stream."""
    body: dict[str, Any] = gateway.calls.last.body
    return {name: value for name, value in body.items() if name not in {"stream", "partial_images"}}


@asynccontextmanager
async def behind(answers: dict[str, tuple[int, Any]], **settings: Any) -> AsyncIterator[House]:
    """Run a gateway before an upstream whose deployments answer as told: with a status, and JSON or text."""

    async def azure(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        status, body = answers[scope["path"].split("/")[3]]
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
        )
        await send({"type": "http.response.body", "body": content})

    async with serving(azure) as url, house(AZURE_OPENAI_ENDPOINT=url, GATEWAY_MAX_RETRIES="0", **settings) as running:
        yield running
