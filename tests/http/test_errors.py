"""Contract §5, errors: what upstream did, and what the caller sees of it, as JSON and in a stream."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.house import house
from tests.http.wire import PARTIAL, QUICK, behind, check_error_event, events, refusal, said, trail
from tests.upstream.peer import ok, speaking

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERY_WAY = pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the caller sees."""

    status: int
    code: str | None
    ours: bool | None = False
    """`is_bifrost_error`; None: left open."""
    retry: str | None = None
    """`x-should-retry`."""
    wait: str | None = None
    """`retry-after`."""
    outcome: str | None = None
    """In the trail; None: whatever it is called."""


def broken(outcome: str | None = None, *, ours: bool | None = None) -> Seen:
    """Perhaps a picture was drawn, and it is lost."""
    return Seen(status=502, code="upstream_error", retry="false", ours=ours, outcome=outcome)


EARLY = Seen(status=502, code="upstream_error", outcome="server_error")
AUTH = Seen(status=502, code="upstream_auth_failed", outcome="unauthorized", ours=None)

FAULTS = {
    # the emulator's fault: what the caller sees
    # refused the prompt or the image
    "content-policy": Seen(status=400, code="content_policy_violation", outcome="refused"),
    "content-filter": Seen(status=400, code="contentFilter", outcome="refused"),
    "moderation-blocked": Seen(status=400, code="moderation_blocked", outcome="refused"),
    "refused-403": Seen(status=400, code="content_policy_violation", outcome="refused"),
    # another 400, 413, 422
    "unknown-parameter": Seen(status=400, code="unknown_parameter", outcome="rejected"),
    "invalid-payload": Seen(status=400, code="invalidPayload", outcome="rejected"),
    "400-plain": Seen(status=400, code="rejected", outcome="rejected"),
    "413": Seen(status=413, code="413", outcome="rejected"),
    "422": Seen(status=422, code="422", outcome="rejected"),
    # 401, or 403 that is no refusal
    "401": AUTH,
    "403": AUTH,
    # 403: temporarily blocked
    "blocked": Seen(status=502, code="upstream_blocked", outcome="blocked", ours=None),
    # 404
    "404": Seen(status=404, code="deployment_not_found", outcome="not_found"),
    # 429, or 408 within 10 s
    "429": Seen(status=429, code="429", wait="20", outcome="throttled"),
    "429-bare": Seen(status=429, code="429", wait="10", outcome="throttled"),
    "429-retry-after-7": Seen(status=429, code="429", wait="7", outcome="throttled"),
    "429-retry-after-ms-4500": Seen(status=429, code="429", wait="5", outcome="throttled"),
    "429-retry-after-nonsense": Seen(status=429, code="429", wait="10", outcome="throttled"),
    "408": Seen(status=429, code="408", wait="10", outcome="throttled"),
    # 5xx, HTML, empty, not JSON, 200 without an image, cut short
    **{
        fault: EARLY
        for status in (500, 502, 503, 504)
        for fault in (f"{status}", f"{status}-html", f"{status}-empty", f"{status}-after-20")
    },
    "302": Seen(status=502, code="upstream_error", ours=None),
    "200-empty": broken(),
    "200-html": broken(),
    "200-not-json": broken(),
    "200-without-image": broken("no_picture"),
    "200-null-image": broken("no_picture"),
    "reset": broken("cut_short", ours=True),
    "close": broken("cut_short", ours=True),
    # no answer in time
    "hang": Seen(status=504, code="upstream_timeout", retry="false", ours=True),
}
JSON_FAULTS = {"200-cut": broken("cut_short"), "200-reset": broken("cut_short")}
STREAM_FAULTS = {
    # with K partial images before it
    "stream-cut-after-K": broken("cut_short"),
    "stream-408-after-K": broken("cut_short"),
    "stream-reset-after-K": broken("cut_short"),
    "stream-hang-after-K": Seen(status=504, code="upstream_timeout", retry="false", ours=None),
    "stream-error-after-K": broken("stream_error"),
    "stream-error-bare-after-K": broken("stream_error"),
    "stream-moderation-after-K": Seen(status=400, code="moderation_blocked", outcome="refused"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def short_house():
    """A gateway that gives an attempt half a second."""
    async with house(GATEWAY_MAX_RETRIES="0", GATEWAY_ATTEMPT_SECONDS="0.5") as running:
        yield running


@pytest.fixture
def short(short_house):
    """The same, and nothing asked upstream yet."""
    short_house.calls.clear()
    return short_house


def check(body: dict[str, Any], name: str, seen: Seen) -> None:
    """Find an error body to say what it should."""
    assert (seen.status, seen.code) == (body["status_code"], body["error"]["code"])
    if seen.ours is not None:
        assert seen.ours == body["is_bifrost_error"]
    ((deployment, outcome, _),) = trail(body)
    assert (name, seen.outcome or outcome) == (deployment, outcome)


class TestTheTable:
    """Upstream did this; the caller sees that."""

    @EVERY_WAY
    @pytest.mark.parametrize(("fault", "seen"), [*FAULTS.items()], ids=FAULTS)
    async def test_every_way(self, short, fault, seen, stream):
        """A failure before the first event is answered with its status, code, trail and word on trying again."""
        name = f"fault-{fault}--{'s' if stream else 'j'}"
        response = await short.draw(name, stream=stream)
        error = refusal(response)
        check(response.json(), name, seen)
        assert seen.status == response.status_code
        assert (seen.retry, seen.wait) == tuple(
            response.headers.get(each) for each in ("x-should-retry", "retry-after")
        )
        kind = "image_generation_stream" if stream else "image_generation"
        assert kind == response.json()["extra_fields"]["request_type"]
        assert urlsplit(short.emulator_url).netloc not in response.text
        assert "emulator-key" not in response.text
        assert 1 == len(short.calls)
        assert error["message"]

    @pytest.mark.parametrize(("fault", "seen"), JSON_FAULTS.items(), ids=JSON_FAULTS)
    async def test_json(self, short, fault, seen):
        """A JSON answer that is cut short is lost, and may have been paid for."""
        name = f"fault-{fault}"
        response = await short.draw(name)
        check(response.json(), name, seen)
        assert (seen.status, seen.retry) == (response.status_code, response.headers.get("x-should-retry"))

    @pytest.mark.parametrize(("fault", "seen"), STREAM_FAULTS.items(), ids=STREAM_FAULTS)
    async def test_stream_before_its_first_event(self, short, fault, seen):
        """A stream that fails before its first event is a JSON error with its status."""
        name = f"fault-{fault.replace('K', '0')}"
        response = await short.draw(name, stream=True, partial_images=1)
        refusal(response)
        check(response.json(), name, seen)
        assert (seen.status, seen.retry) == (response.status_code, response.headers.get("x-should-retry"))

    @pytest.mark.parametrize(("fault", "seen"), STREAM_FAULTS.items(), ids=STREAM_FAULTS)
    async def test_stream_after_its_start(self, short, fault, seen):
        """One that fails later ends with one error event, which says the same."""
        name = f"fault-{fault.replace('K', '1')}"
        found = events(await short.draw(name, stream=True, partial_images=2))
        assert [PARTIAL, "error"] == [event for event, _ in found]
        check_error_event(found[-1][1])
        check(found[-1][1], name, seen)

    @pytest.mark.parametrize("fault", ["stream-cut-midway", "stream-junk"])
    @pytest.mark.parametrize("partials", [0, 1])
    async def test_stream_that_cannot_be_read(self, short, fault, partials):
        """A completed event that cannot be read is a failure, never a picture."""
        response = await short.draw(f"fault-{fault}--{partials}", stream=True, partial_images=partials)
        if partials:
            first, (last, body) = events(response)
            assert (PARTIAL, "error") == (first[0], last)
        else:
            body = response.json()
        assert (502, "upstream_error") == (body["status_code"], body["error"]["code"])

    @pytest.mark.parametrize("status", [401, 403, 429, 500, 422])
    async def test_words_do_not_decide(self, status):
        """What a message says is not what decides, but for the 403 of a blocked resource."""
        words = "Your request was rejected as a result of our safety system: content_policy_violation"
        async with behind({"x": (status, {"error": {"code": "Other", "message": words}})}) as own:
            response = await own.draw("x")
        seen = {401: 502, 403: 502, 429: 429, 500: 502, 422: 422}[status]
        assert (seen, True) == (response.status_code, trail(response.json())[0][1] != "refused")

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
            assert [] == peer.requests
        assert (502, "upstream_unreachable", None) == said(response)
        assert response.headers.get("x-should-retry") is None
        assert [("x", "no_time", None)] == trail(response.json())
        assert "nothing was drawn" in response.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("fault", "seen"),
        [
            ("408-after-150", Seen(status=504, code="upstream_timeout", retry="false", ours=None)),
            ("500-after-150", broken()),
            ("503-after-150", broken()),
        ],
    )
    @EVERY_WAY
    async def test_late(self, fault, seen, stream):
        """After 10 s on the gateway's clock, 408 is a time-out and a 5xx may have been paid for."""
        long = {f"GATEWAY_{name}_SECONDS": "3600" for name in ("ATTEMPT", "DEADLINE", "FIRST_BYTE", "IDLE")}
        async with house(clock=lambda: time.monotonic() * 100, **long) as own:
            response = await own.draw(f"fault-{fault}", stream=stream)
        check(response.json(), f"fault-{fault}", seen)
        assert (seen.status, "false") == (response.status_code, response.headers.get("x-should-retry"))

    async def test_a_redirect(self, short):
        """A redirect is not followed: it would choose a host."""
        await short.draw("fault-302--followed")
        assert ["fault-302--followed"] == [call.deployment for call in short.calls]


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
REFUSALS = {
    "content_policy_violation": {"code": "content_policy_violation", "message": "m"},
    "contentFilter": {"code": "contentFilter", "message": "m"},
    "content_filter": {"code": "content_filter", "message": "m"},
    "moderation_blocked": {"code": "moderation_blocked", "message": "m"},
    "inner_error": {"code": "Other", "message": "m", "inner_error": {"code": "ResponsibleAIPolicyViolation"}},
    "innererror": {"code": "Other", "message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
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

    @pytest.mark.parametrize("status", [400, 403])
    @pytest.mark.parametrize("theirs", REFUSALS.values(), ids=REFUSALS)
    async def test_refusals(self, theirs, status):
        """A refusal is 400 by whichever code, outer or inner, it is told."""
        async with behind({"x": (status, {"error": theirs})}) as own:
            response = await own.draw("x")
        assert (400, theirs["code"], None) == said(response)
        assert ["refused"] == [outcome for _, outcome, _ in trail(response.json())]

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "Bad Request",
            "[]",
            "null",
            '"text"',
            '{"error": "text"}',
            '{"error": null}',
            '{"error": {}}',
            '{"error": []}',
        ],
    )
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500])
    async def test_without_words(self, body, status):
        """An error in any other form still has the one shape, and a message."""
        async with behind({"x": (status, body)}) as own:
            response = await own.draw("x")
        refusal(response)
        assert response.status_code >= 400

    async def test_a_refusal_goes_to_no_fallback(self, gateway):
        """A refused prompt is not tried on another deployment."""
        response = await gateway.draw("fault-content-policy", fallbacks=[QUICK])
        assert (400, 1) == (response.status_code, len(gateway.calls))


class TestTryingAgain:
    """`x-should-retry: false` goes with every error if any attempt may have reached a model."""

    @pytest.mark.parametrize(
        ("primary", "fallback", "retry"),
        [
            ("fault-429--a", "fault-200-empty--a", "false"),
            ("fault-200-empty--b", "fault-429--b", "false"),
            ("fault-hang--c", "fault-content-policy--c", "false"),
            ("fault-403--d", "fault-429--d", None),
            ("fault-500--e", "fault-404--e", None),
        ],
    )
    @EVERY_WAY
    async def test_whichever_error_is_shown(self, short, primary, fallback, retry, stream):
        """What counts is whether any attempt may have been paid for, not which error is shown."""
        mark = "s" if stream else "j"
        response = await short.draw(primary + mark, stream=stream, fallbacks=[fallback + mark])
        assert [primary + mark, fallback + mark] == [name for name, _, _ in trail(response.json())]
        assert retry == response.headers.get("x-should-retry")

    async def test_nothing_is_bought_twice(self):
        """A request that may have been paid for is not sent to its target again, whatever the retries allow."""
        async with house(GATEWAY_MAX_RETRIES="5") as own:
            for fault in ("200-empty", "reset", "200-without-image"):
                await own.draw(f"fault-{fault}")
                assert 1 == own.calls.count(f"fault-{fault}")

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
