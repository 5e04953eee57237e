"""One attempt on one target: what is sent, and the one outcome in which it ends."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import time
from contextlib import aclosing

import httpx2
import orjson
import pytest
from msgspec.structs import replace

from adapters.http.managed_identity import ManagedIdentity
from core.azure_openai.client import AttemptRequest, AzureOpenAI
from core.azure_openai.response_reader import MAX_ERROR_BYTES, Timeouts
from core.azure_openai.token_source import NoToken
from core.domain.outcome import Failure, FailureReason, OutcomeKind, Success, UpstreamPartial
from core.domain.secret import Secret
from tests.azure_openai.peer import ok, speaking
from tests.fakes import COMPLETED, PARTIAL, Clock, FakeTransport, Row, fitted, rendered, target
from tests.shown import told
from tests.transports import new_transport
from tests.waiting import HANGS_SECONDS

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
SOON = 0.3
"""Seconds after which a silent emulator is given up."""


SSE = {"content-type": "text/event-stream; charset=utf-8"}
NEVER = asyncio.Event


def sse(kind, **fields) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


DONE = sse(COMPLETED, b64_json="QUJD", usage={"total_tokens": 7})
HALF = sse(PARTIAL, b64_json="UEFS", partial_image_index=0)


class Tokens:
    """A source of tokens: one token, an error, or a gate to be waited at."""

    def __init__(self, token="entra-token", *, raises=None, gate=None, takes=0.0, clock=None):
        self.token_, self.raises, self.gate, self.takes, self.clock = token, raises, gate, takes, clock

    async def token(self) -> Secret:
        if self.gate is not None:
            await self.gate.wait()
        if self.clock is not None:
            self.clock.pass_by(self.takes)
        if self.raises is not None:
            raise self.raises
        return Secret(self.token_)


class Asked:
    """Upstream, and what an attempt shows and ends with, one after the other."""

    def __init__(self, upstream: AzureOpenAI) -> None:
        self._upstream = upstream
        self.sent = 0

    def attempt(self, asked):
        return told(lambda show: self._upstream.attempt(asked, show, self._sending))

    def _sending(self) -> None:
        self.sent += 1


def upstream(connection, *, tokens=None, clock=time.monotonic, timeouts=None) -> Asked:
    return Asked(AzureOpenAI(connection, tokens or Tokens(), clock=clock, now=lambda: NOW, timeouts=timeouts))


def ask(
    at, *, stream=False, partials=0, images=1, wants=None, api_version=None, ends_at=None, event_id="event-1", **body
):
    """An ask; `at` is a target, or an emulator's fault at a URL."""
    streaming = {"partial_images": partials} if partials else {}
    return AttemptRequest(
        target=at,
        body=fitted(stream=stream, wants=wants, **streaming, **body),
        api_version=api_version,
        images=images,
        event_id=event_id,
        ends_at=time.monotonic() + 20 if ends_at is None else ends_at,
    )


async def events_of(attempt) -> list:
    async with aclosing(attempt) as events:
        return [event async for event in events]


async def outcome_of(attempt) -> Success | Failure:
    """The last event, which is the only outcome."""
    *partials, last = await events_of(attempt)
    assert all(isinstance(event, UpstreamPartial) for event in partials)
    assert isinstance(last, Success | Failure)
    return last


def deployed(azure, deployment, **fields):
    return target(deployment[:20], endpoint=azure.url, deployment=deployment, **fields)


# -- what is sent -----------------------------------------------------------------------------------------------------


async def sent(at, **how):
    """The request of an attempt."""
    connection = FakeTransport(Row(status=404))
    await outcome_of(upstream(connection).attempt(ask(at, ends_at=time.monotonic() + 5, **how)))
    (request,) = connection.requests
    return request


@pytest.mark.parametrize(
    ("fields", "asked", "version"),
    [
        ({}, None, "2025-04-01-preview"),
        ({}, "2024-10-21", "2024-10-21"),
        ({"default_api_version": "2099-01-01"}, None, "2099-01-01"),
        ({"own_api_version": "2030-01-01"}, None, "2030-01-01"),
        ({"own_api_version": "2030-01-01"}, "2024-10-21", "2030-01-01"),
        ({"default_api_version": "a b&c=d"}, None, "a%20b%26c%3Dd"),
    ],
)
async def test_the_url(fields, asked, version):
    """The deployment path is called with the target's own api-version, else the caller's, else the default."""
    request = await sent(target("a", **fields), api_version=asked)

    assert f"https://a.example/openai/deployments/picture/images/generations?api-version={version}" == request.url
    assert request.method == "POST"


async def test_a_deployment_with_odd_letters():
    """A deployment's name cannot leave its place in the URL."""
    request = await sent(target("a", deployment="../x?y#z"))

    assert str(request.url).startswith("https://a.example/openai/deployments/..%2Fx%3Fy%23z/images/generations?")


async def test_the_body():
    """What is sent is the request as it was fitted, and nothing besides."""
    request = await sent(target("a"), n=1, size="auto", new={"a": [1, None]})

    assert {"prompt": "a red fox", "n": 1, "size": "auto", "new": {"a": [1, None]}} == orjson.loads(request.content)


async def test_the_headers_with_a_key():
    """A target with a key gets that key alone, and few headers besides (Azure takes 10 custom ones)."""
    request = await sent(target("a", key=Secret("its-key")))

    headers = dict(request.headers)
    assert "its-key" == headers.pop("api-key")
    assert "event-1" == headers.pop("x-ms-client-request-id")
    assert {"host", "content-length", "content-type", "accept", "accept-encoding", "user-agent"} == set(headers)
    assert "application/json" == headers["content-type"]


async def test_the_headers_without_a_key():
    """A target without a key gets a token of the identity, and no key."""
    request = await sent(target("a", key=None))

    assert request.headers["authorization"] == "Bearer entra-token"
    assert "api-key" not in request.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_as_the_emulator_sees_it(azure, connection, stream):
    """Azure takes the call as it arrives: its key, its path, its version, and few headers."""
    at = deployed(azure, "gpt-image-1--fault-bytes-100")

    outcome = await outcome_of(upstream(connection).attempt(ask(at, stream=stream)))

    assert isinstance(outcome, Success)
    (call,) = azure.calls
    assert ("key", 200, "2025-04-01-preview") == (call.auth, call.status, call.api_version)
    assert not {"model", "fallbacks", "response_format"} & set(call.body)
    custom = [name for name, _ in call.headers if name.startswith("x-")]
    assert ["x-ms-client-request-id"] == custom
    assert call.header("x-ms-client-request-id") == "event-1"
    assert call.header("cookie") is None


async def test_with_an_identity(azure, connection):
    """A target without a key is called with a token that the identity endpoint gave."""
    managed = ManagedIdentity(
        connection,
        endpoint=f"{azure.url}/identity/token",
        header=Secret("emulator-identity-header"),
        client_id=None,
        time=time.time,
    )
    at = deployed(azure, "gpt-image-1--fault-bytes-100", key=None)

    outcome = await outcome_of(upstream(connection, tokens=managed).attempt(ask(at)))

    assert isinstance(outcome, Success)
    assert azure.calls.last.auth == "bearer"


# -- outcomes, against the emulator -----------------------------------------------------------------------------------

BOTH = [False, True]
SAME_FOR_BOTH = {
    "content-policy": (FailureReason.REFUSED, 400),
    "content-filter": (FailureReason.REFUSED, 400),
    "moderation-blocked": (FailureReason.REFUSED, 400),
    "refused-403": (FailureReason.REFUSED, 403),
    "unknown-parameter": (FailureReason.REJECTED, 400),
    "invalid-payload": (FailureReason.REJECTED, 400),
    "400-plain": (FailureReason.REJECTED, 400),
    "413": (FailureReason.REJECTED, 413),
    "422": (FailureReason.REJECTED, 422),
    "401": (FailureReason.UNAUTHORIZED, 401),
    "403": (FailureReason.UNAUTHORIZED, 403),
    "404": (FailureReason.NOT_FOUND, 404),
    "blocked": (FailureReason.BLOCKED, 403),
    "429": (FailureReason.THROTTLED, 429),
    "429-bare": (FailureReason.THROTTLED, 429),
    "408": (FailureReason.THROTTLED, 408),
    "500": (FailureReason.SERVER_ERROR, 500),
    "502-html": (FailureReason.SERVER_ERROR, 502),
    "503-empty": (FailureReason.SERVER_ERROR, 503),
    "504-after-5": (FailureReason.SERVER_ERROR, 504),
    "302": (FailureReason.UNEXPECTED_STATUS, 302),
    "200-empty": (FailureReason.UNREADABLE, 200),
    "200-html": (FailureReason.UNREADABLE, 200),
    "200-not-json": (FailureReason.UNREADABLE, 200),
    "200-without-image": (FailureReason.NO_PICTURE, 200),
    "200-null-image": (FailureReason.NO_PICTURE, 200),
    "reset": (FailureReason.CUT_SHORT, None),
    "close": (FailureReason.CUT_SHORT, None),
}


@pytest.mark.parametrize("stream", BOTH, ids=["json", "stream"])
@pytest.mark.parametrize(("fault", "expected"), SAME_FOR_BOTH.items())
async def test_a_fault(azure, connection, fault, expected, stream):
    """A fault before the first picture means the same for JSON and for a stream, and is asked once."""
    at = deployed(azure, f"fault-{fault}")

    (outcome,) = await events_of(upstream(connection).attempt(ask(at, stream=stream, partials=1 if stream else 0)))

    assert expected == (outcome.reason, outcome.status)
    assert len(azure.calls) == 1


STREAM_FAULTS = {
    "stream-cut-after-1": (1, FailureReason.CUT_SHORT),
    "stream-cut-midway": (2, FailureReason.CUT_SHORT),
    "stream-408-after-0": (0, FailureReason.CUT_SHORT),
    "stream-408-after-1": (1, FailureReason.CUT_SHORT),
    "stream-reset-after-1": (1, FailureReason.CUT_SHORT),
    "stream-error-after-1": (1, FailureReason.STREAM_ERROR),
    "stream-error-bare-after-1": (1, FailureReason.STREAM_ERROR),
    "stream-429-after-1": (1, FailureReason.STREAM_ERROR),
    "stream-moderation-after-1": (1, FailureReason.REFUSED),
    "stream-moderation-after-0": (0, FailureReason.REFUSED),
    "stream-junk": (2, FailureReason.UNREADABLE),
}


@pytest.mark.parametrize(("fault", "expected"), STREAM_FAULTS.items())
async def test_a_stream_that_goes_wrong(azure, connection, fault, expected):
    """A stream that goes wrong gives the partial images that came, and then one failure: never a short success."""
    at = deployed(azure, f"fault-{fault}")

    *partials, outcome = await events_of(upstream(connection).attempt(ask(at, stream=True, partials=2)))

    assert expected == (len(partials), outcome.reason)
    assert outcome.status == 200
    assert outcome.relayed["x-ms-region"] == "Sweden Central"


@pytest.mark.parametrize("fault", ["200-cut", "200-reset"])
async def test_json_that_breaks_off(azure, connection, fault):
    """A JSON answer that breaks off was cut short; whatever came of it is no picture."""
    outcome = await outcome_of(upstream(connection).attempt(ask(deployed(azure, f"fault-{fault}"))))

    assert (FailureReason.CUT_SHORT, OutcomeKind.AMBIGUOUS, 200) == (outcome.reason, outcome.kind, outcome.status)


ODD_BUT_GOOD = [
    "drip", "gzip", "text-plain", "no-usage", "unknown-field", "slow-5", "stream-json", "stream-crlf", "stream-cr",
    "stream-tiny", "stream-no-blank", "stream-no-event-lines", "stream-comments", "stream-slow-1",
]  # fmt: skip


@pytest.mark.parametrize("stream", BOTH, ids=["json", "stream"])
@pytest.mark.parametrize("fault", ODD_BUT_GOOD)
async def test_an_odd_but_good_answer(azure, connection, fault, stream):
    """However a picture travels, it arrives, and it is the one that was drawn."""
    plain, odd = deployed(azure, "gpt-image-1"), deployed(azure, f"fault-{fault}")
    drawn = await outcome_of(upstream(connection).attempt(ask(plain, size="1024x1024")))

    outcome = await outcome_of(upstream(connection).attempt(ask(odd, stream=stream, size="1024x1024")))

    assert isinstance(outcome, Success)
    (expected,), (item,) = rendered(drawn.answer)["data"], rendered(outcome.answer)["data"]
    assert expected["b64_json"] == item["b64_json"]


async def test_partial_images(azure, connection):
    """Partial images come before the picture, each an event as it came."""
    at = deployed(azure, "gpt-image-1")

    *partials, outcome = await events_of(upstream(connection).attempt(ask(at, stream=True, partials=3)))

    assert isinstance(outcome, Success)
    assert [0, 1, 2] == [partial.event.value["partial_image_index"] for partial in partials]
    pictures = [rendered(partial.event)["b64_json"] for partial in partials]
    assert len({*pictures, rendered(outcome.answer)["data"][0]["b64_json"]}) == 4
    assert rendered(outcome.answer)["usage"]["output_tokens"] > 0
    assert {"apim-request-id", "x-ms-region"} == set(partials[0].relayed) == set(outcome.relayed)


async def test_partial_images_come_as_they_are_drawn(azure, connection):
    """A partial image is handed on before the stream has ended."""
    at = deployed(azure, "fault-stream-hang-after-1")
    async with (
        aclosing(upstream(connection).attempt(ask(at, stream=True, partials=2))) as events,
        asyncio.timeout(HANGS_SECONDS),
    ):
        assert isinstance(await anext(events), UpstreamPartial)


async def test_pictures_as_urls(azure, connection):
    """Where base64 is wanted and the model gives URLs, the pictures are fetched."""
    at = deployed(azure, "flux-1.1-pro")

    asked_for_both = [
        await outcome_of(upstream(connection).attempt(ask(at, wants=wants, n=2, images=2)))
        for wants in ("url", "b64_json")
    ]

    urls, base64s = (rendered(outcome.answer)["data"] for outcome in asked_for_both)
    assert all(item["url"].startswith(azure.url) and "b64_json" not in item for item in urls)
    assert all(base64.b64decode(item["b64_json"]).startswith(b"\x89PNG") and "url" not in item for item in base64s)


# -- time -------------------------------------------------------------------------------------------------------------

SILENT = {
    "no head": ("hang", False, FailureReason.TIMED_OUT),
    "no event": ("stream-hang-after-0", True, FailureReason.TIMED_OUT),
    "nothing after a partial": ("stream-hang-after-1", True, FailureReason.TIMED_OUT),
}


@pytest.mark.parametrize(("fault", "stream", "expected"), SILENT.values(), ids=SILENT)
async def test_the_time_of_an_attempt(azure, connection, fault, stream, expected):
    """An attempt ends when its time is over, wherever it stands, and frees its connection."""
    await outcome_of(upstream(connection).attempt(ask(deployed(azure, "fault-404"))))  # and is connected from then on
    at = deployed(azure, f"fault-{fault}")
    asked = ask(at, stream=stream, partials=1 if stream else 0, ends_at=time.monotonic() + SOON)

    async with asyncio.timeout(HANGS_SECONDS):
        outcome = await outcome_of(upstream(connection).attempt(asked))
        await azure.calls.until(lambda calls: not calls.open_now)

    assert (expected, OutcomeKind.AMBIGUOUS) == (outcome.reason, outcome.kind)
    assert {call.state for call in azure.calls.to(f"fault-{fault}")} <= {"left"}


async def test_the_time_of_an_attempt_that_is_still_connecting(connection):
    """An attempt whose time is over before anything was sent has not been paid for: it surely was not sent."""
    async with speaking(ok()) as peer:
        at = target(endpoint=peer.url.replace("http://", "https://"))
        asked = ask(at, ends_at=time.monotonic() + SOON)

        outcome = await outcome_of(upstream(connection).attempt(asked))

        assert (FailureReason.NO_TIME, OutcomeKind.UNREACHABLE) == (outcome.reason, outcome.kind)
        assert [] == peer.requests


TIMEOUTS = {
    "no first byte": ("hang", Timeouts(first_byte=SOON), FailureReason.NO_FIRST_BYTE),
    "silent from the start": ("stream-hang-after-0", Timeouts(idle=SOON), FailureReason.WENT_SILENT),
    "silent after a partial": ("stream-hang-after-1", Timeouts(idle=SOON), FailureReason.WENT_SILENT),
}


@pytest.mark.parametrize(("fault", "timeouts", "expected"), TIMEOUTS.values(), ids=TIMEOUTS)
async def test_timeouts(azure, connection, fault, timeouts, expected):
    """An upstream that does not begin, or falls silent, is given up before the attempt's time is over."""
    asked = ask(deployed(azure, f"fault-{fault}"), stream=True, partials=1)

    async with asyncio.timeout(HANGS_SECONDS):
        outcome = await outcome_of(upstream(connection, timeouts=timeouts).attempt(asked))
        await azure.calls.until(lambda calls: not calls.open_now)

    assert (expected, OutcomeKind.AMBIGUOUS) == (outcome.reason, outcome.kind)
    assert {call.state for call in azure.calls} <= {"left"}


async def test_the_idle_timeout_is_for_silence_only():
    """A stream that keeps coming is not given up, and what its reader takes between two events is not counted."""
    connection = FakeTransport(Row(headers=SSE, pieces=[HALF, HALF, HALF, DONE]))
    kinds = []
    async with aclosing(upstream(connection, timeouts=Timeouts(idle=0)).attempt(ask(target(), stream=True))) as events:
        async for event in events:
            kinds.append(type(event))
            for _ in range(20):
                await asyncio.sleep(0)

    assert [UpstreamPartial, UpstreamPartial, UpstreamPartial, Success] == kinds


@pytest.mark.parametrize(
    ("seconds", "status", "expected"),
    [
        (10.0, 503, FailureReason.SERVER_ERROR),
        (10.001, 503, FailureReason.LATE_SERVER_ERROR),
        (10.0, 408, FailureReason.THROTTLED),
        (10.001, 408, FailureReason.TIMED_OUT),
    ],
)
async def test_ten_seconds(seconds, status, expected):
    """An error counts as early up to ten seconds after the request was sent."""
    clock = Clock()
    connection = FakeTransport(Row(status=status, takes=seconds), clock=clock)

    outcome = await outcome_of(upstream(connection, clock=clock).attempt(ask(target(), ends_at=clock() + 200)))

    assert expected is outcome.reason


async def test_ten_seconds_begin_with_the_sending():
    """A token that was long in coming does not make an error late."""
    clock = Clock()
    connection = FakeTransport(Row(status=503, takes=1), clock=clock)
    tokens = Tokens(takes=12, clock=clock)

    asked = ask(target(key=None), ends_at=clock() + 200)
    outcome = await outcome_of(upstream(connection, tokens=tokens, clock=clock).attempt(asked))

    assert outcome.reason is FailureReason.SERVER_ERROR


async def test_ten_seconds_begin_when_there_is_a_connection():
    """A connection that was long in coming does not make an error late, either."""
    clock = Clock()
    connection = FakeTransport(Row(status=503, turn=12, takes=1), clock=clock)

    outcome = await outcome_of(upstream(connection, clock=clock).attempt(ask(target(), ends_at=clock() + 200)))

    assert outcome.reason is FailureReason.SERVER_ERROR


async def test_an_error_whose_body_does_not_come():
    """An error is read within the attempt's time: its status has said the most."""
    never = asyncio.Event()
    connection = FakeTransport(Row(status=429, headers={"retry-after": "7"}, pieces=[b'{"error":', never]))

    async with asyncio.timeout(HANGS_SECONDS):
        asked = ask(target(), ends_at=time.monotonic() + 0.05)
        outcome = await outcome_of(upstream(connection).attempt(asked))

    assert (FailureReason.THROTTLED, 7.0) == (outcome.reason, outcome.retry_after)


@pytest.mark.parametrize(
    "pieces",
    [
        [b'{"error":{"code":"x"', httpx2.ReadError("ReadError")],
        [b"x" * (MAX_ERROR_BYTES + 1), AssertionError("read on")],
        [],
    ],
    ids=["cut short", "endless", "empty"],
)
async def test_an_error_whose_body_is_no_use(pieces):
    """An error whose body is cut short, endless or empty is still that error."""
    outcome = await outcome_of(upstream(FakeTransport(Row(status=429, pieces=pieces))).attempt(ask(target())))

    assert (FailureReason.THROTTLED, 429) == (outcome.reason, outcome.status)


async def test_no_time_at_all(azure, connection):
    """An attempt whose time was over before it began asks nobody, and is not paid for."""
    asked = ask(deployed(azure, "gpt-image-1"), ends_at=time.monotonic() - 1)
    outcome = await outcome_of(upstream(connection).attempt(asked))

    assert FailureReason.NO_TIME is outcome.reason
    assert 0 == azure.calls.open_now + len(azure.calls)


async def test_a_download_when_every_connection_is_in_use(azure):
    """What has been read gives its connection free before the picture is fetched: calls do not wait for themselves."""
    narrow = new_transport(2)
    at = deployed(azure, "flux-1.1-pro")

    outcomes = await asyncio.gather(
        *(outcome_of(upstream(narrow).attempt(ask(at, wants="b64_json"))) for _ in range(4))
    )
    await narrow.aclose()

    assert [{"b64_json"}] * 4 == [{*rendered(outcome.answer)["data"][0]} for outcome in outcomes]


async def test_a_download_that_takes_too_long():
    """A picture that was paid for is not lost over its download: it keeps its URL."""
    answer = orjson.dumps({"created": 1, "data": [{"url": "https://pictures.example/1.png"}]})
    connection = FakeTransport(Row(pieces=[answer]), Row(gate=asyncio.Event()))

    asked = ask(target(), wants="b64_json", ends_at=time.monotonic() + 0.05)
    outcome = await outcome_of(upstream(connection).attempt(asked))

    assert isinstance(outcome, Success)
    assert rendered(outcome.answer)["data"] == [{"url": "https://pictures.example/1.png"}]


# -- streams, against a fake ------------------------------------------------------------------------------------------

KEEP_ALIVES = {
    "a comment": b": keep-alive\n\n",
    "an unknown event": sse("image_generation.unheard_of", new=1),
    "[DONE]": b"data: [DONE]\n\n",
    "an event without data": b"event: ping\n\n",
    "an event whose data is empty": b"event: ping\ndata:\n\n",
    "an unknown event that is no JSON": b"event: ping\ndata: now\n\n",
}


async def streamed(*pieces, images=1, headers=SSE):
    connection = FakeTransport(Row(headers=headers, pieces=pieces))
    async with asyncio.timeout(HANGS_SECONDS):
        return await events_of(upstream(connection).attempt(ask(target(), stream=True, images=images)))


@pytest.mark.parametrize("between", KEEP_ALIVES.values(), ids=KEEP_ALIVES)
async def test_what_is_between_the_events(between):
    """What is neither a picture nor an error is passed over, and the picture is kept."""
    partial, outcome = await streamed(between, HALF, between, DONE, between)

    assert isinstance(partial, UpstreamPartial)
    assert isinstance(outcome, Success)


AFTER_THE_PICTURE = {
    "silence": asyncio.Event(),
    "a cut": httpx2.ReadError("ReadError"),
    "an error event": sse("error", error={"code": "server_error"}),
    "junk": b"data: {junk\n\n",
    "half an event": b"data: {",
    "another partial": HALF,
    "another picture": DONE,
}


@pytest.mark.parametrize("then", AFTER_THE_PICTURE.values(), ids=AFTER_THE_PICTURE)
async def test_what_comes_after_the_picture(then):
    """Once the last picture is there, nothing that comes, or does not come, takes it away."""
    (outcome,) = await streamed(DONE, then)

    assert isinstance(outcome, Success)
    assert len(rendered(outcome.answer)["data"]) == 1


async def test_two_pictures_in_a_stream():
    """Each `completed` event is a picture, up to those that were asked for."""
    second = sse(COMPLETED, b64_json="REVG", usage={"total_tokens": 8})

    (outcome,) = await streamed(DONE, second, DONE, images=2)

    assert [{"b64_json": "QUJD"}, {"b64_json": "REVG"}] == rendered(outcome.answer)["data"]


SHORT = {
    "nothing": ((), FailureReason.CUT_SHORT),
    "only partials": ((HALF,), FailureReason.CUT_SHORT),
    "only comments": ((b": hm\n\n",), FailureReason.CUT_SHORT),
    "a picture that is cut": ((HALF, DONE[:-9]), FailureReason.CUT_SHORT),
    "a picture that is empty": ((sse(COMPLETED, b64_json=""),), FailureReason.NO_PICTURE),
    "a list": ((b"data: [1]\n\n",), FailureReason.UNREADABLE),
    "a refusal": ((HALF, sse("error", error={"code": "moderation_blocked"})), FailureReason.REFUSED),
    "a refusal without error around it": (
        (b'data: {"type":"error","code":"content_filter"}\n\n',),
        FailureReason.REFUSED,
    ),
    "an error": ((HALF, b'data: {"error":{"message":"x","code":"server_error"}}\n\n'), FailureReason.STREAM_ERROR),
    "an error without type or name": ((b'data: {"type":"error","message":"x"}\n\n',), FailureReason.STREAM_ERROR),
    "an error that is only words": ((HALF, sse("error", error="it broke")), FailureReason.STREAM_ERROR),
    "lost": ((HALF, httpx2.ReadError("ReadError")), FailureReason.CUT_SHORT),
}


@pytest.mark.parametrize(("pieces", "expected"), SHORT.values(), ids=SHORT)
async def test_a_stream_without_a_picture(pieces, expected):
    """A stream without `completed` is a failure, and its last partial is never passed off as the picture."""
    *partials, outcome = await streamed(*pieces)

    assert all(isinstance(each, UpstreamPartial) for each in partials)
    assert (Failure, expected) == (type(outcome), getattr(outcome, "reason", None))


async def test_the_type_decides_not_the_name():
    """Events are known by the `type` in their JSON; the name counts where there is none."""
    named = b'event: image_generation.completed\ndata: {"b64_json":"QUJD"}\n\n'
    contradicting = DONE.replace(b"event: image_generation.completed", b"event: image_generation.partial_image")

    assert isinstance((await streamed(named))[-1], Success)
    assert isinstance((await streamed(contradicting))[-1], Success)


JSON_ANSWER = b' \n {"created":1,"data":[{"b64_json":"QUJD"}]}'
TOLD_APART = {
    "JSON called text": ("text/plain", [JSON_ANSWER], Success),
    "JSON that is called nothing": (None, [JSON_ANSWER], Success),
    "JSON that begins with white space": (None, [b" ", b"\n", b"", JSON_ANSWER], Success),
    "JSON called JSON": ("Application/JSON; charset=utf-8", [JSON_ANSWER], Success),
    "JSON called problem": ("application/problem+json", [JSON_ANSWER], Success),
    "a stream called text": ("text/plain; charset=utf-8", [HALF, DONE], Success),
    "a stream that is called nothing": (None, [HALF, DONE], Success),
    "a stream that begins with a comment": ("text/plain", [b"\n", b":", b" hm\n\n", DONE], Success),
    "a stream in other letters": ("Text/Event-Stream", [DONE], Success),
    "HTML": ("text/html", [b"<html>", b"</html>"], Failure),
    "nothing": ("text/plain", [], Failure),
    "lost at once": ("text/plain", [httpx2.ReadError("ReadError")], Failure),
    "lost after a moment": ("text/plain", [b"{", httpx2.ReadError("ReadError")], Failure),
}


@pytest.mark.parametrize(("kind", "pieces", "expected"), TOLD_APART.values(), ids=TOLD_APART)
async def test_a_stream_or_json(kind, pieces, expected):
    """Where the content type does not say whether an answer is a stream, its beginning does."""
    *partials, outcome = await streamed(*pieces, headers={} if kind is None else {"content-type": kind})

    assert expected is type(outcome)
    assert HALF.count(b"event:") * pieces.count(HALF) == len(partials)


# -- surely not sent, or perhaps --------------------------------------------------------------------------------------


async def test_nobody_there(connection):
    """A target that cannot be reached was surely not asked."""
    nobody = target(endpoint="http://127.0.0.1:1")

    outcome = await outcome_of(upstream(connection).attempt(ask(nobody)))

    assert (FailureReason.UNREACHABLE, OutcomeKind.UNREACHABLE, None) == (outcome.reason, outcome.kind, outcome.status)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx2.ConnectError("x"), FailureReason.UNREACHABLE),
        (httpx2.PoolTimeout("x"), FailureReason.NO_TURN),
        (httpx2.ReadError("x"), FailureReason.CUT_SHORT),
    ],
    ids=["not sent", "no turn", "lost"],
)
async def test_no_head(raised, expected):
    """Without the head of an answer, it counts whether the request may have arrived, and if not, whose doing it is."""
    asking = upstream(FakeTransport(Row(raises=raised)))

    (outcome,) = await events_of(asking.attempt(ask(target())))

    assert (expected, expected is FailureReason.CUT_SHORT) == (outcome.reason, asking.sent == 1)


@pytest.mark.parametrize("at", ["sent", "404"])
async def test_sending_is_told(azure, connection, at):
    """An attempt tells when it is sent, once, whatever comes of it."""
    asking = upstream(connection)

    await outcome_of(asking.attempt(ask(deployed(azure, "gpt-image-1" if at == "sent" else "fault-404"))))

    assert 1 == asking.sent


NO_TOKENS = {
    "none": (Tokens(raises=NoToken("the identity endpoint answered 500")), "answered 500"),
}


@pytest.mark.parametrize(("turn", "sent"), [(4.999, 1), (5.0, 0)])
async def test_too_late_to_begin(turn, sent):
    """What has waited for its connection until it was too late is not sent."""
    clock = Clock()
    connection = FakeTransport(Row(status=404, turn=turn), clock=clock)
    asked = replace(ask(target(), ends_at=clock() + 10), begins_by=clock() + 5)
    asking = upstream(connection, clock=clock)

    outcome = await outcome_of(asking.attempt(asked))

    assert (sent, sent == 0) == (asking.sent, outcome.reason is FailureReason.NO_TIME)


async def test_no_token_in_time():
    """A token that is not there as the time ends says nothing of the identity: nothing is sent, that is all."""
    asking = upstream(connection := FakeTransport(Row()), tokens=Tokens(gate=asyncio.Event()))

    (outcome,) = await events_of(asking.attempt(ask(target("a", key=None), ends_at=time.monotonic() + 0.05)))

    assert (FailureReason.NO_TIME, 0, []) == (outcome.reason, asking.sent, connection.requests)


@pytest.mark.parametrize(("tokens", "words"), NO_TOKENS.values(), ids=NO_TOKENS)
async def test_no_token(tokens, words):
    """Without a token nothing is sent, and the outcome says why, for the log."""
    connection = FakeTransport(Row())

    (outcome,) = await events_of(upstream(connection, tokens=tokens).attempt(ask(target("a", key=None))))

    assert (FailureReason.NO_TOKEN, None, []) == (outcome.reason, outcome.status, connection.requests)
    assert words in outcome.error.message


# -- leaving early ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partials", [1, 2])
async def test_closing_early(azure, connection, partials):
    """Who leaves in the middle frees the connection: upstream sees it, and the next call goes through."""
    at = deployed(azure, "fault-stream-hang-after-2")
    attempt = upstream(connection).attempt(ask(at, stream=True, partials=2))
    for _ in range(partials):
        await anext(attempt)
    await attempt.aclose()
    async with asyncio.timeout(HANGS_SECONDS):
        await azure.calls.until(lambda calls: not calls.open_now)

    assert azure.calls.last.state == "left"


async def test_cancelled_while_waiting(azure, connection):
    """Who is cancelled while upstream is silent frees the connection."""
    task = asyncio.ensure_future(events_of(upstream(connection).attempt(ask(deployed(azure, "fault-hang")))))
    async with asyncio.timeout(HANGS_SECONDS):
        await azure.calls.until(lambda calls: calls.open_now)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await azure.calls.until(lambda calls: not calls.open_now)

    assert azure.calls.last.state == "left"


@pytest.mark.parametrize(
    "row",
    [Row(headers=SSE, pieces=[HALF, DONE]), Row(headers=SSE, pieces=[HALF]), Row(pieces=[b"{}"]), Row(status=500)],
    ids=["stream", "cut", "json", "error"],
)
async def test_nothing_is_left_open(row):
    """At the end of an attempt, well or not, its connection is free."""
    connection = FakeTransport(row)

    await events_of(upstream(connection).attempt(ask(target(), stream=True)))

    assert connection.open_now == 0


async def test_nothing_more_is_read_than_is_wanted():
    """What upstream says next is not read before someone asks for it."""
    read = []

    class Pieces(list):
        def __iter__(self):
            for number, piece in enumerate(super().__iter__()):
                read.append(number)
                yield piece

    connection = FakeTransport(Row(headers=SSE, pieces=Pieces([HALF, HALF, HALF, DONE])))
    async with aclosing(upstream(connection).attempt(ask(target(), stream=True))) as events:
        await anext(events)
        for _ in range(20):
            await asyncio.sleep(0)
        assert read == [0]


async def test_a_fault_after_the_head_is_never_surely_not_sent():
    """What goes wrong once upstream has answered is not told as unreachable: that would be asked, and paid, again."""
    transport = FakeTransport(Row(headers=SSE, pieces=[httpx2.ConnectError("a mistake of a transport's")]))
    outcome = await outcome_of(upstream(transport).attempt(ask(target(), stream=True)))
    assert (FailureReason.CUT_SHORT, OutcomeKind.AMBIGUOUS) == (outcome.reason, outcome.kind)
    assert transport.open_now == 0
