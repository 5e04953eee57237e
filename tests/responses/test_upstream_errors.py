"""From a generation without a picture to the error that the caller sees: contract §5, every reason."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from core.domain.outcome import ERROR_MAPPINGS, GATEWAY_REASONS, FailureReason, OutcomeKind, UpstreamError
from core.responses.response_builder import ResponseBuilder
from core.responses.upstream_errors import NOTHING_DRAWN, ONLY_COOLING, failure_of
from core.routing.attempt_log import AttemptSummary
from tests.fakes import failed
from tests.responses.scripted import EVENT_ID, TRAIL, a_call, body_of, gave_up

THEIRS = UpstreamError(
    code="their_code",
    message="their words, and a host",
    param="prompt",
    type="their_type",
    details={"inner_error": {"code": "ResponsibleAIPolicyViolation"}},
)

ROWS = {
    # reason, upstream's status: status, code, type, what upstream said is shown, an answer of upstream's
    (FailureReason.REFUSED, 400): (400, "their_code", "their_type", True),
    (FailureReason.REFUSED, 403): (400, "their_code", "their_type", True),
    (FailureReason.REFUSED, 200): (400, "their_code", "their_type", True),
    (FailureReason.REJECTED, 400): (400, "their_code", "their_type", True),
    (FailureReason.REJECTED, 413): (413, "their_code", "their_type", True),
    (FailureReason.REJECTED, 422): (422, "their_code", "their_type", True),
    (FailureReason.THROTTLED, 429): (429, "their_code", "their_type", True),
    (FailureReason.THROTTLED, 408): (429, "their_code", "their_type", True),
    (FailureReason.UNAUTHORIZED, 401): (502, "upstream_auth_failed", "upstream_error", False),
    (FailureReason.UNAUTHORIZED, 403): (502, "upstream_auth_failed", "upstream_error", False),
    (FailureReason.NO_TOKEN, None): (502, "upstream_auth_failed", "upstream_error", False),
    (FailureReason.BLOCKED, 403): (502, "upstream_blocked", "upstream_error", False),
    (FailureReason.NOT_FOUND, 404): (404, "deployment_not_found", "upstream_error", False),
    (FailureReason.WRONG_ENDPOINT, 404): (502, "upstream_error", "upstream_error", True),
    (FailureReason.REJECTED, 200): (400, "their_code", "their_type", True),
    (FailureReason.OUT_OF_QUOTA, 429): (429, "their_code", "their_type", True),
    (FailureReason.SERVER_ERROR, 503): (502, "upstream_error", "upstream_error", False),
    (FailureReason.LATE_SERVER_ERROR, 500): (502, "upstream_error", "upstream_error", False),
    (FailureReason.UNEXPECTED_STATUS, 302): (502, "upstream_error", "upstream_error", False),
    (FailureReason.CUT_SHORT, 200): (502, "upstream_error", "upstream_error", False),
    (FailureReason.NO_PICTURE, 200): (502, "upstream_error", "upstream_error", False),
    (FailureReason.UNREADABLE, 200): (502, "upstream_error", "upstream_error", False),
    (FailureReason.STREAM_ERROR, 200): (502, "upstream_error", "upstream_error", True),
    (FailureReason.UNREACHABLE, None): (502, "upstream_unreachable", "upstream_error", False),
    (FailureReason.NO_TIME, None): (502, "upstream_unreachable", "upstream_error", False),
    (FailureReason.NO_TURN, None): (503, "gateway_busy", "upstream_error", False),
    (FailureReason.TIMED_OUT, None): (504, "upstream_timeout", "upstream_error", False),
    (FailureReason.TIMED_OUT, 408): (504, "upstream_timeout", "upstream_error", False),
    (FailureReason.NO_FIRST_BYTE, None): (504, "upstream_timeout", "upstream_error", False),
    (FailureReason.WENT_SILENT, 200): (504, "upstream_timeout", "upstream_error", False),
}


def shown(reason, status, error=THEIRS, *, summary=TRAIL, retry_after=None):
    return failure_of(gave_up(failed(reason, status=status, error=error, retry_after=retry_after), summary=summary))


def test_every_reason_has_a_row():
    """No reason is without its row here, and none without its row in the table."""
    assert set(FailureReason) == {reason for reason, _ in ROWS} == set(ERROR_MAPPINGS)


@pytest.mark.parametrize(("case", "row"), ROWS.items())
def test_a_reason(case, row):
    """Each reason has its status, code and type; upstream's words are shown where they are the caller's business."""
    error = shown(*case)

    status, code, type_, as_it_came = row
    assert (status, code, type_) == (error.status, error.code, error.type)
    assert (
        as_it_came
        == (error.message == THEIRS.message)
        == (error.param == "prompt")
        == (error.details() == THEIRS.details)
    )
    assert error.message


@pytest.mark.parametrize(("case", "row"), ROWS.items())
def test_a_reason_without_words(case, row):
    """Where upstream said nothing, the gateway's own words stand in, and a code and a type are always there."""
    error = shown(*case, UpstreamError())

    assert all(isinstance(part, str) and part for part in (error.message, error.code, error.type))
    assert (row[0], None, {}) == (error.status, error.param, error.details())


def test_types_without_words():
    """The gateway's own types are those that SDKs know."""
    types = {
        reason: shown(reason, 400, UpstreamError()).type
        for reason in (FailureReason.REFUSED, FailureReason.REJECTED, FailureReason.THROTTLED)
    }

    assert ["image_generation_user_error", "invalid_request_error", "rate_limit_error"] == list(types.values())


WAITS = [
    (FailureReason.THROTTLED, 7.0, ("7", "7000")),
    (FailureReason.THROTTLED, 0.3, ("1", "1000")),
    (FailureReason.THROTTLED, 19.2, ("20", "19200")),
    (FailureReason.THROTTLED, 86_400.0, ("86400", "86400000")),
    (FailureReason.THROTTLED, None, ("10", "10000")),
    (FailureReason.SERVER_ERROR, 5.0, ("5", "5000")),
    (FailureReason.NO_TURN, 1.0, ("1", "1000")),
    (FailureReason.SERVER_ERROR, None, None),
    (FailureReason.OUT_OF_QUOTA, None, None),
    (FailureReason.TIMED_OUT, None, None),
    (FailureReason.REFUSED, None, None),
    (FailureReason.UNREACHABLE, None, None),
]


@pytest.mark.parametrize(("reason", "stated", "expected"), WAITS)
def test_retry_after(reason, stated, expected):
    """A 429 always says when to come back; others say it where it is known."""
    headers = shown(reason, 429, retry_after=stated).headers

    found = (headers["retry-after"], headers["retry-after-ms"]) if headers else None
    assert expected == found


TRAILS = [
    AttemptSummary(calls=1),
    AttemptSummary(calls=2, ambiguous=True),
    AttemptSummary(calls=1, in_flight="a"),
    AttemptSummary(calls=1, in_flight="a", is_sent=True),
    AttemptSummary(calls=1, in_flight="a", goes_on=True),
    AttemptSummary(goes_on=True),
]


def response_to(end, **about):
    """The response to the end of a generation."""
    return asyncio.run(ResponseBuilder(a_call(**about)).build(end))


@pytest.mark.parametrize("reason", FailureReason)
@pytest.mark.parametrize("summary", TRAILS)
def test_should_retry(reason, summary):
    """`x-should-retry: false` goes with every error if any attempt may have reached a model, or no wait will help."""
    reply = asyncio.run(
        ResponseBuilder(a_call(summary=summary)).build(gave_up(failed(reason, status=400), summary=summary))
    )

    expected = summary.perhaps_billed or reason is FailureReason.OUT_OF_QUOTA
    assert expected is (reply.headers.get("x-should-retry") == "false")
    assert reply.headers.get("x-should-retry") in {None, "false"}


@pytest.mark.parametrize("reason", [reason for reason, row in ERROR_MAPPINGS.items() if row.status == 504])
def test_504(reason):
    """Whatever is told as 504 is ambiguous, so that no SDK buys a second picture by itself."""
    assert ERROR_MAPPINGS[reason].kind is OutcomeKind.AMBIGUOUS


SAYS = [
    (FailureReason.REFUSED, 400, False),
    (FailureReason.THROTTLED, 429, False),
    (FailureReason.SERVER_ERROR, 503, False),
    (FailureReason.STREAM_ERROR, 200, False),
    (FailureReason.UNREACHABLE, None, True),
    (FailureReason.TIMED_OUT, None, True),
    (FailureReason.NO_TOKEN, None, True),
]


@pytest.mark.parametrize(("reason", "status", "expected"), SAYS)
def test_who_says_no(reason, status, expected):
    """`is_bifrost_error` is false where the answer is upstream's, true where the gateway itself says no."""
    said = UpstreamError() if status is None else THEIRS

    assert expected is shown(reason, status, said).is_bifrost_error


def test_the_body():
    """The error body has the shape of contract §5, with the trail."""
    body = body_of(response_to(gave_up(failed(FailureReason.REFUSED, status=400, error=THEIRS))))

    assert {
        "event_id": EVENT_ID,
        "type": "their_type",
        "is_bifrost_error": False,
        "status_code": 400,
        "error": {
            "type": "their_type",
            "code": "their_code",
            "message": "their words, and a host",
            "param": "prompt",
            "event_id": EVENT_ID,
            "inner_error": {"code": "ResponsibleAIPolicyViolation"},
        },
        "extra_fields": {
            "provider": "azure",
            "model_requested": "my-model",
            "request_type": "image_generation",
            "attempts": TRAIL.as_json(),
        },
    } == body


def test_a_trail_without_calls():
    """Where nobody was called, the answer says so: it counts no attempts and is safe to try again."""
    summary = replace(TRAIL, calls=0)
    reply = asyncio.run(
        ResponseBuilder(a_call(summary=summary)).build(
            gave_up(failed(FailureReason.THROTTLED, retry_after=40), summary=summary)
        )
    )

    assert (429, "40", "0") == (reply.status, reply.headers["retry-after"], reply.headers["x-gateway-attempts"])
    assert "x-should-retry" not in reply.headers
    assert body_of(reply)["is_bifrost_error"] is True


@pytest.mark.parametrize(
    "failure", [failed(reason) for reason in GATEWAY_REASONS] + [failed(FailureReason.BLOCKED, only_cooling=True)]
)
@pytest.mark.parametrize("summary", TRAILS)
def test_nothing_drawn(failure, summary):
    """That nothing was drawn is said only where it is true of all that was tried."""
    assert summary.costs_nothing is failure_of(gave_up(failure, summary=summary)).message.endswith(NOTHING_DRAWN)


def test_what_only_cools():
    """Where nothing was sent, the caller is not told that something may have been drawn."""
    end = gave_up(failed(FailureReason.TIMED_OUT, retry_after=3.0, only_cooling=True), summary=AttemptSummary())
    error = failure_of(end)

    words = ONLY_COOLING + NOTHING_DRAWN
    assert (504, "upstream_timeout", True, words) == (error.status, error.code, error.retry_safe, error.message)
    assert error.headers["retry-after"] == "3"
