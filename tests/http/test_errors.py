"""Contract §5, errors: what upstream did, and what the caller sees of it, as JSON and in a stream."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from tests.azure_openai.peer import ok, speaking
from tests.house import house
from tests.http.wire import behind, refusal, said, trail

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERY_WAY = pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])


class TestBeyondTheTable:
    """What upstream did, and the caller sees, but for the rows of tests/faults/table.py."""

    @EVERY_WAY
    async def test_unreachable(self, stream):
        """No connection is 502 `upstream_unreachable`, which may be tried again."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            async with house(AZURE_OPENAI_ENDPOINT=address, GATEWAY_MAX_RETRIES="0") as own:
                response = await own.draw("x", stream=stream)
        assert (502, "upstream_unreachable", None) == said(response)
        assert (True, None) == (response.json()["is_bifrost_error"], response.headers.get("x-should-retry"))
        assert [("x", "unreachable", None)] == trail(response.json())
        assert urlsplit(address).netloc not in response.text

    @EVERY_WAY
    async def test_not_sent_in_time(self, stream):
        """A call whose time is over while a connection is made may be tried again: nothing was sent."""
        async with speaking(ok()) as peer:
            address = peer.url.replace("http://", "https://")  # it waits for a handshake in vain
            times = {"GATEWAY_DEADLINE_SECONDS": "0.3", "GATEWAY_ATTEMPT_SECONDS": "0.3"}
            async with house(AZURE_OPENAI_ENDPOINT=address, GATEWAY_MAX_RETRIES="0", **times) as own:
                response = await own.draw("x", stream=stream)
                peer.hang_up()
            assert [] == peer.requests
        assert (502, "upstream_unreachable", None) == said(response)
        assert response.headers.get("x-should-retry") is None
        assert [("x", "no_time", None)] == trail(response.json())
        assert "nothing was drawn" in response.json()["error"]["message"]

    async def test_a_redirect(self, gateway):
        """A redirect is not followed: it would choose a host."""
        await gateway.draw("fault-302--followed")
        assert ["fault-302--followed"] == [call.deployment for call in gateway.calls]


THEIRS = {
    "code": "content_policy_violation",
    "message": "Your request was rejected.",
    "type": "their_type",
    "param": "prompt",
    "inner_error": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_results": {"violence": {"filtered": True, "severity": "medium"}},
        "revised_prompt": "a quarrel",
    },
}


class TestAsItCame:
    """What upstream says of its error."""

    @pytest.mark.parametrize("status", [400, 413, 422])
    @EVERY_WAY
    async def test_kept(self, status, stream):
        """An upstream error keeps its code, message, param, type and its inner error with the filter's results."""
        async with behind({"x": (status, {"error": THEIRS})}) as own:
            response = await own.draw("x", stream=stream)
        assert {**THEIRS, "event_id": response.headers["x-request-id"]} == refusal(response)
        assert (False, "their_type") == (response.json()["is_bifrost_error"], response.json()["type"])


class TestTryingAgain:
    """`x-should-retry: false` goes with every error if any attempt may have reached a model."""

    @pytest.mark.parametrize(
        ("primary", "fallback", "retry"),
        [
            ("fault-429--a", "fault-200-empty--a", "false"),
            ("fault-200-empty--b", "fault-429--b", "false"),
            ("fault-403--d", "fault-429--d", None),
        ],
    )
    async def test_whichever_error_is_shown(self, gateway, primary, fallback, retry):
        """What counts is whether any attempt may have been paid for, not which error is shown."""
        response = await gateway.draw(primary, fallbacks=[fallback])
        assert [primary, fallback] == [name for name, _, _ in trail(response.json())]
        assert retry == response.headers.get("x-should-retry")

    async def test_what_was_turned_away_is_tried_again(self):
        """One that was surely not drawn is, and the trail lists each attempt."""
        async with house(GATEWAY_MAX_RETRIES="2") as own:
            name = "fault-503-times-1"
            response = await own.draw(name)
            assert [(name, "server_error", 503), (name, "picture", 200)] == trail(response.json())
            assert "2" == response.headers["x-gateway-attempts"]

    async def test_a_throttled_target_is_left_alone(self, gateway):
        """While a target's quota is used up, the next call is 429 at once, and says how long to wait."""
        first = await gateway.draw("fault-429--alone")
        second = await gateway.draw("fault-429--alone")
        assert (429, 429, 1) == (first.status_code, second.status_code, len(gateway.calls))
        assert 0 < int(second.headers["retry-after"]) <= 20
