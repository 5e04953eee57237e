"""From what upstream answered to the one outcome that it means: contract §5 and the bodies that Azure sends."""

from __future__ import annotations

import datetime as dt

import httpx2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.azure_openai import response_outcome
from core.domain.image_json import ImageJson
from core.domain.outcome import Failure, FailureReason, OutcomeKind, Success, UpstreamError
from tests.fakes import rendered

NOW = dt.datetime(2026, 11, 1, 12, 0, 0, tzinfo=dt.UTC)
EARLY, LATE = 10.0, 10.001

SAFETY = "Your request was rejected as a result of our safety system."
INNER = {"code": "ResponsibleAIPolicyViolation", "content_filter_results": {"violence": {"filtered": True}}}
BLOCKED = "Your resource has been temporarily blocked because we detected behavior that may violate our content policy."
NETWORK = "Public access is disabled. Please configure private endpoint."
NO_DEPLOYMENT = "The API deployment for this resource does not exist."
WRONG_ENDPOINT = (FailureReason.WRONG_ENDPOINT, OutcomeKind.MISCONFIGURED)
RATE = "Requests to the Operation have exceeded call rate limit. Please retry after 20 seconds."
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>temporarily blocked content_filter</body></html>"
"""A page with words in it that must not count."""


def said(error: object, **beside: object) -> bytes:
    return orjson.dumps({**beside, "error": error})


def read(status: int, body: bytes = b"", *, seconds: float = 1.0, headers: dict[str, str] | None = None) -> Failure:
    raw = httpx2.Headers([(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()])
    return response_outcome.read_error(status, raw, body, seconds=seconds, now=NOW)


# -- contract §5, row by row ------------------------------------------------------------------------------------------

REFUSALS = {
    "content_policy_violation": said({"code": "content_policy_violation", "message": SAFETY, "inner_error": INNER}),
    "contentFilter": said({"code": "contentFilter", "message": SAFETY}, created=1698435368),
    "content_filter": said({"code": "content_filter", "message": SAFETY}),
    "moderation_blocked": said({"code": "moderation_blocked", "type": "image_generation_user_error", "param": None}),
    "in other letters": said({"code": "Content_Policy_Violation"}),
    "the inner code alone": said({"code": "400", "inner_error": INNER}),
    "the inner code with no other": said({"inner_error": INNER, "message": "no"}),
    "the inner code, spelt as other Azure services do": said({"code": "BadRequest", "innererror": INNER}),
    "without error around it": orjson.dumps({"code": "contentFilter", "message": SAFETY}),
}


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize("body", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal(status, body):
    """A refusal is told by its code, under any status that blames the caller, early or late."""
    assert [FailureReason.REFUSED] * 2 == [read(status, body, seconds=seconds).reason for seconds in (EARLY, LATE)]


NO_REFUSALS = {
    "words of the safety system": (400, said({"code": "invalid", "message": SAFETY}), FailureReason.REJECTED),
    "the code among the words": (400, said({"message": "content_policy_violation"}), FailureReason.REJECTED),
    "the code as a type": (400, said({"type": "content_filter", "message": "no"}), FailureReason.REJECTED),
    "the code as a param": (400, said({"param": "content_filter"}), FailureReason.REJECTED),
    "a longer code": (400, said({"code": "content_filter_off"}), FailureReason.REJECTED),
    "the code in plain text": (400, b"content_filter", FailureReason.REJECTED),
    "an error that is only words": (400, said("content_filter"), FailureReason.REJECTED),
    "another inner code": (400, said({"code": "400", "inner_error": {"code": "Other"}}), FailureReason.REJECTED),
    "an inner error of words": (400, said({"inner_error": "ResponsibleAIPolicyViolation"}), FailureReason.REJECTED),
    "a blocked resource speaks of policy": (
        403,
        said({"code": "Forbidden", "message": BLOCKED}),
        FailureReason.BLOCKED,
    ),
    "a server error": (500, said({"code": "content_filter_error", "message": SAFETY}), FailureReason.SERVER_ERROR),
}


@pytest.mark.parametrize(("status", "body", "expected"), NO_REFUSALS.values(), ids=NO_REFUSALS)
def test_no_refusal(status, body, expected):
    """Words in a message never make a refusal."""
    assert expected == read(status, body).reason


ROWS = [
    # status, seconds, body, reason, kind
    (
        400,
        EARLY,
        said({"message": "Unknown parameter: 'x'.", "code": "unknown_parameter"}),
        FailureReason.REJECTED,
        OutcomeKind.REJECTED,
    ),
    (
        400,
        LATE,
        said({"message": "Streaming is only supported with n=1."}),
        FailureReason.REJECTED,
        OutcomeKind.REJECTED,
    ),
    (
        400,
        EARLY,
        said({"code": "invalidPayload", "message": "Invalid payload."}),
        FailureReason.REJECTED,
        OutcomeKind.REJECTED,
    ),
    (413, EARLY, b"", FailureReason.REJECTED, OutcomeKind.REJECTED),
    (422, EARLY, b"", FailureReason.REJECTED, OutcomeKind.REJECTED),
    (
        401,
        EARLY,
        orjson.dumps({"statusCode": 401, "message": "Access denied."}),
        FailureReason.UNAUTHORIZED,
        OutcomeKind.MISCONFIGURED,
    ),
    (401, LATE, b"", FailureReason.UNAUTHORIZED, OutcomeKind.MISCONFIGURED),
    (
        403,
        EARLY,
        said({"code": "Forbidden", "message": NETWORK}),
        FailureReason.UNAUTHORIZED,
        OutcomeKind.MISCONFIGURED,
    ),
    (403, EARLY, b"", FailureReason.UNAUTHORIZED, OutcomeKind.MISCONFIGURED),
    (403, EARLY, said({"code": "Forbidden", "message": BLOCKED}), FailureReason.BLOCKED, OutcomeKind.BLOCKED),
    (403, LATE, said({"code": "Forbidden", "message": BLOCKED.upper()}), FailureReason.BLOCKED, OutcomeKind.BLOCKED),
    (403, EARLY, orjson.dumps({"statusCode": 403, "message": BLOCKED}), FailureReason.BLOCKED, OutcomeKind.BLOCKED),
    (401, EARLY, said({"message": BLOCKED}), FailureReason.UNAUTHORIZED, OutcomeKind.MISCONFIGURED),
    (404, EARLY, said({"code": "DeploymentNotFound"}), FailureReason.NOT_FOUND, OutcomeKind.MISCONFIGURED),
    (404, LATE, said({"code": "deploymentnotfound"}), FailureReason.NOT_FOUND, OutcomeKind.MISCONFIGURED),
    (404, EARLY, said({"code": "404", "message": NO_DEPLOYMENT}), FailureReason.NOT_FOUND, OutcomeKind.MISCONFIGURED),
    (404, EARLY, said({"message": NO_DEPLOYMENT}), FailureReason.NOT_FOUND, OutcomeKind.MISCONFIGURED),
    (404, LATE, b"", FailureReason.WRONG_ENDPOINT, OutcomeKind.MISCONFIGURED),
    (404, EARLY, said({"code": "404", "message": "Resource not found"}), *WRONG_ENDPOINT),
    (404, EARLY, said({"code": "OperationNotSupported", "message": NO_DEPLOYMENT}), *WRONG_ENDPOINT),
    (429, EARLY, said({"code": "insufficient_quota"}), FailureReason.OUT_OF_QUOTA, OutcomeKind.BLOCKED),
    (429, EARLY, said({"code": "429", "message": RATE}), FailureReason.THROTTLED, OutcomeKind.THROTTLED),
    (429, LATE, HTML, FailureReason.THROTTLED, OutcomeKind.THROTTLED),
    (408, 0.0, b"", FailureReason.THROTTLED, OutcomeKind.THROTTLED),
    (408, EARLY, said({"code": "408"}), FailureReason.THROTTLED, OutcomeKind.THROTTLED),
    (408, LATE, said({"code": "408"}), FailureReason.TIMED_OUT, OutcomeKind.AMBIGUOUS),
    *((status, EARLY, HTML, FailureReason.SERVER_ERROR, OutcomeKind.OVERLOADED) for status in (500, 502, 503, 504)),
    *((status, LATE, b"", FailureReason.LATE_SERVER_ERROR, OutcomeKind.AMBIGUOUS) for status in (500, 502, 503, 504)),
    *(
        (status, EARLY, b"", FailureReason.UNEXPECTED_STATUS, OutcomeKind.MISCONFIGURED)
        for status in (302, 304, 402, 409, 431)
    ),
]


@pytest.mark.parametrize(("status", "seconds", "body", "reason", "kind"), ROWS)
def test_a_status(status, seconds, body, reason, kind):
    """What an error means follows from its status, its code, and whether a model can have drawn by then."""
    outcome = read(status, body, seconds=seconds)

    assert (reason, kind, status) == (outcome.reason, outcome.kind, outcome.status)


# -- what upstream said -----------------------------------------------------------------------------------------------

BODIES = {
    "as the model's server words it": (
        said(
            {
                "message": "Unknown parameter.",
                "type": "invalid_request_error",
                "param": "style",
                "code": "unknown_parameter",
            }
        ),
        UpstreamError(
            message="Unknown parameter.", type="invalid_request_error", param="style", code="unknown_parameter"
        ),
    ),
    "the content filter's results are kept": (
        said({"code": "content_policy_violation", "message": SAFETY, "inner_error": INNER, "new": [1]}),
        UpstreamError(code="content_policy_violation", message=SAFETY, details={"inner_error": INNER, "new": [1]}),
    ),
    "401 has no error around it": (
        orjson.dumps({"statusCode": 401, "message": "Access denied."}),
        UpstreamError(message="Access denied."),
    ),
    "a number is a code": (said({"code": 429, "message": None}), UpstreamError(code="429")),
    "empty text is nothing": (said({"code": "", "message": "", "param": "", "type": ""}), UpstreamError()),
    "error is a string": (said("it broke"), UpstreamError(message="it broke")),
    "error is a list": (said([{"message": "it broke"}]), UpstreamError()),
    "error is null": (said(None), UpstreamError()),
    "error is a number": (said(7), UpstreamError()),
    "error is true": (said(error=True), UpstreamError()),
    "error is empty": (said({}), UpstreamError()),
    "nothing known": (orjson.dumps({"detail": "hm"}), UpstreamError()),
    "HTML": (HTML, UpstreamError()),
    "empty": (b"", UpstreamError()),
    "plain text": (b"Bad Request", UpstreamError()),
    "a string": (b'"no"', UpstreamError()),
    "a list": (b'["no"]', UpstreamError()),
    "null": (b"null", UpstreamError()),
    "cut off": (b'{"error":{"code":"contentFilter"', UpstreamError()),
    "not UTF-8": (b'{"error":"\xff\xfe"}', UpstreamError(message="\ufffd\ufffd")),
    "a byte order mark": (b'\xef\xbb\xbf{"error":"no"}', UpstreamError(message="no")),
    "too deep": (b'{"error":' * 3_000 + b"1" + b"}" * 3_000, UpstreamError()),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_a_body(body, expected):
    """What upstream said of its error is found in every shape that it uses; other shapes say nothing."""
    assert expected == read(400, body).error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "message", "inner_error", "type", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.integers(300, 599), JSON, st.floats(0, 200))
def test_any_error(status, value, seconds):
    """Every answer that is no success is one failure, and its words are text."""
    outcome = read(status, orjson.dumps(value), seconds=seconds)

    assert isinstance(outcome, Failure)
    error = outcome.error
    assert all(isinstance(part, str | None) for part in (error.code, error.message, error.param, error.type))


# -- Retry-After ------------------------------------------------------------------------------------------------------


def http_date(seconds: float) -> str:
    return (NOW + dt.timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")


WAITS = {
    "seconds": ({"retry-after": "20"}, 20.0),
    "zero": ({"retry-after": "0"}, None),
    "a day": ({"retry-after": "86400"}, 86_400.0),
    "a fraction": ({"retry-after": "1.5"}, 1.5),
    "spaces around": ({"retry-after": " 20 "}, 20.0),
    "a date to come": ({"retry-after": http_date(90)}, 90.0),
    "a date that has gone by": ({"retry-after": http_date(-90)}, None),
    "a date without a zone": ({"retry-after": http_date(90).removesuffix(" GMT")}, 90.0),
    "a date in another zone": ({"retry-after": "Sun, 01 Nov 2026 14:00:30 +0200"}, 30.0),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds, as older services say it": ({"x-ms-retry-after-ms": "250"}, 0.25),
    "milliseconds before seconds": ({"retry-after": "20", "retry-after-ms": "19500"}, 19.5),
    "the newer milliseconds first": ({"x-ms-retry-after-ms": "9", "retry-after-ms": "1000"}, 1.0),
    "no milliseconds, but a date": ({"retry-after": http_date(90), "retry-after-ms": "0"}, 90.0),
    "nonsense in milliseconds": ({"retry-after": "20", "retry-after-ms": "soon"}, 20.0),
    "negative milliseconds": ({"retry-after": "20", "retry-after-ms": "-1"}, 20.0),
    "nonsense": ({"retry-after": "soon"}, None),
    "negative": ({"retry-after": "-5"}, None),
    "empty": ({"retry-after": ""}, None),
    "no number": ({"retry-after": "nan"}, None),
    "without end": ({"retry-after": "inf"}, None),
    "an exponent": ({"retry-after": "1e9"}, None),
    "other digits": ({"retry-after": "\xb2\xb3"}, None),
    "too long for a number": ({"retry-after": "9" * 400}, None),
    "an impossible date": ({"retry-after": "Wed, 99 Foo 2026 07:28:00 GMT"}, None),
    "a year beyond counting": ({"retry-after": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"}, None),
    "a zone beyond counting": ({"retry-after": "Wed, 21 Oct 2026 07:28:00 +99999999999999999999"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("headers", "expected"), WAITS.values(), ids=WAITS)
def test_a_stated_wait(headers, expected):
    """Azure states waits in milliseconds, seconds or as a date (RFC 9110 §10.2.3); nonsense states none."""
    assert expected == read(429, headers=headers).retry_after


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40))
def test_any_stated_wait(text):
    """Whatever stands in the header, a wait is a number that is not negative, or none."""
    wait = read(429, headers={"retry-after": text}).retry_after

    assert wait is None or 0 <= wait < 1e12


DATES = st.builds(
    " ".join,
    st.tuples(
        st.sampled_from(["Wed,", "Sun,", ""]),
        st.integers(-1, 99).map(str),
        st.sampled_from(["Oct", "Nov", "Foo", "10"]),
        st.integers(-1, 10**20).map(str),
        st.sampled_from(["07:28:00", "99:99:99", "7:28", "a:b:c", "-1:00:00"]),
        st.sampled_from(["GMT", "+0200", "-9999", "EST", "", "+99999999999999999999"]),
    ),
)


@settings(deadline=None)
@given(DATES)
def test_anything_like_a_date(text):
    """A date that is none is no fault."""
    wait = read(429, headers={"retry-after": text}).retry_after

    assert wait is None or wait >= 0


@pytest.mark.parametrize("status", [400, 408, 500, 503])
def test_a_stated_wait_under_another_status(status):
    """A stated wait is read whatever the status is."""
    assert read(status, headers={"retry-after": "7"}).retry_after == 7.0


# -- headers that are passed on ---------------------------------------------------------------------------------------


def test_relayed_headers():
    """Of upstream's headers, the caller sees what Azure's support asks for, and nothing else."""
    headers = {
        "apim-request-id": "abc",
        "X-MS-Region": "Sweden Central",
        "set-cookie": "ApplicationGatewayAffinity=1",
        "x-ratelimit-remaining-requests": "8",
        "x-request-id": "theirs",
        "server": "Kestrel",
        "azureml-model-session": "d1",
        "location": "https://elsewhere.example",
    }

    assert {"apim-request-id": "abc", "x-ms-region": "Sweden Central"} == read(500, headers=headers).relayed


@pytest.mark.parametrize("value", ["", "x" * 257, "a\tb", "caf\xe9", "a\x7f"])
def test_relayed_headers_that_are_odd(value):
    """A header that could not be sent on as it is, or is absurdly long, is left out."""
    assert read(500, headers={"apim-request-id": value, "x-ms-region": "West"}).relayed == {"x-ms-region": "West"}


# -- answers under 200 ------------------------------------------------------------------------------------------------


def answered(value: dict[str, object], *, images: int = 4) -> Success | Failure:
    return response_outcome.read_answer(
        200, httpx2.Headers({"apim-request-id": "abc"}), ImageJson.parse(orjson.dumps(value)), images=images
    )


NO_PICTURES = {
    "no data": ({"created": 1}, FailureReason.NO_PICTURE),
    "null": ({"data": None}, FailureReason.NO_PICTURE),
    "an object": ({"data": {"b64_json": "QUJD"}}, FailureReason.NO_PICTURE),
    "empty": ({"data": []}, FailureReason.NO_PICTURE),
    "an empty item": ({"data": [{}]}, FailureReason.NO_PICTURE),
    "null items": ({"data": [None, 1, "x", []]}, FailureReason.NO_PICTURE),
    "empty text": ({"data": [{"b64_json": "", "url": ""}]}, FailureReason.NO_PICTURE),
    "null text": ({"data": [{"b64_json": None, "url": None}]}, FailureReason.NO_PICTURE),
    "wrong types": ({"data": [{"b64_json": 1}, {"url": ["https://x"]}]}, FailureReason.NO_PICTURE),
    "an error": ({"error": {"code": "server_error", "message": "An error occurred."}}, FailureReason.STREAM_ERROR),
    "an error event": ({"type": "error", "code": "server_error", "message": "x"}, FailureReason.STREAM_ERROR),
    "a refusal": ({"error": {"code": "moderation_blocked", "message": "no"}}, FailureReason.REFUSED),
    "a refusal without error around it": ({"type": "error", "code": "content_filter"}, FailureReason.REFUSED),
    "an error beside a picture": ({"error": {"code": "x"}, "data": [{"b64_json": "QUJD"}]}, FailureReason.STREAM_ERROR),
}


@pytest.mark.parametrize(("value", "expected"), NO_PICTURES.values(), ids=NO_PICTURES)
def test_an_answer_without_a_picture(value, expected):
    """Status 200 alone is no picture; and only a refusal is certain not to have been billed."""
    outcome = answered(value)

    assert isinstance(outcome, Failure)
    kind = OutcomeKind.REFUSED if expected is FailureReason.REFUSED else OutcomeKind.AMBIGUOUS
    assert (expected, kind, 200) == (outcome.reason, outcome.kind, outcome.status)
    assert outcome.relayed == {"apim-request-id": "abc"}


PICTURES = {
    "GPT-image": {
        "created": 1, "background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024",
        "data": [{"b64_json": "QUJD"}], "usage": {"total_tokens": 7},
    },
    "DALL-E": {
        "created": 1,
        "data": [{"revised_prompt": "x", "url": "https://x.example/1", "content_filter_results": {"hate": {}}}],
    },
    "unknown fields": {"data": [{"b64_json": "QUJD", "new": {"a": [1]}}], "newer": None},
    "an error that is null": {"error": None, "data": [{"b64_json": "QUJD"}]},
    "one picture of two": {"data": [{"b64_json": "QUJD"}, {"content_filter_results": {"filtered": True}}]},
}  # fmt: skip


@pytest.mark.parametrize("value", PICTURES.values(), ids=PICTURES)
def test_an_answer_with_a_picture(value):
    """An answer with a picture keeps every field, known and unknown."""
    outcome = answered(value)

    assert isinstance(outcome, Success)
    assert {**value, "data": value["data"][:1]} == rendered(outcome.answer)


def test_a_withheld_picture():
    """Of several pictures, those that came are given, and of the others it is told what their filter found."""
    filtered = {"content_filter_results": {"violence": {"filtered": True, "severity": "high"}}}
    outcome = answered({"data": [{"b64_json": None, **filtered}, {"b64_json": "QUJD"}, {"b64_json": None}]})

    assert isinstance(outcome, Success)
    assert (({"index": 0, **filtered}, {"index": 2}), [{"b64_json": "QUJD"}]) == (
        outcome.withheld,
        rendered(outcome.answer)["data"],
    )


@pytest.mark.parametrize("name", ["content_filter_results", "prompt_filter_results"])
def test_nothing_but_withheld_pictures(name):
    """Where filter results say why there is no picture it is a refusal, which may have been billed."""
    filtered = {name: {"hate": {"filtered": False}, "violence": {"filtered": True}}}
    outcome = answered({"data": [{"b64_json": None}, {"b64_json": None, **filtered}]})

    assert isinstance(outcome, Failure)
    assert (FailureReason.REFUSED, "content_filter", filtered) == (
        outcome.reason,
        outcome.error.code,
        outcome.error.details,
    )
    assert outcome.perhaps_billed


def test_more_items_than_were_asked_for():
    """Of more items than were asked for, the first are given."""
    outcome = answered({"data": [{"b64_json": "QUJD"}, {"b64_json": "REVG"}, {"b64_json": None}]}, images=1)

    assert isinstance(outcome, Success)
    assert ([{"b64_json": "QUJD"}], ()) == (rendered(outcome.answer)["data"], outcome.withheld)


def event_error(error, *, bare=False, has_drawn=False, **headers):
    """What an error means that comes as an event of a stream."""
    value = {"type": "error", **error} if bare else {"type": "error", "error": error}
    found = httpx2.Headers({name.replace("_", "-"): text for name, text in headers.items()})
    return response_outcome.read_error_event(value, found, has_drawn=has_drawn)


EVENTS = {
    # the error: its reason, whether it may be billed
    "a user error": ({"type": "image_generation_user_error", "code": "invalid_value"}, FailureReason.REJECTED, False),
    "a wrong request": ({"type": "invalid_request_error", "message": "no"}, FailureReason.REJECTED, False),
    "a rate limit": ({"type": "tokens", "code": "rate_limit_exceeded"}, FailureReason.THROTTLED, False),
    "a rate limit by its number": ({"code": 429}, FailureReason.THROTTLED, False),
    "moderation": (
        {"type": "image_generation_user_error", "code": "moderation_blocked"},
        FailureReason.REFUSED,
        False,
    ),
    "an outer policy violation": ({"code": "ResponsibleAIPolicyViolation"}, FailureReason.REFUSED, False),
    "no quota left": ({"code": "insufficient_quota"}, FailureReason.OUT_OF_QUOTA, False),
    "a server error": ({"type": "server_error", "code": "server_error"}, FailureReason.STREAM_ERROR, True),
    "an unknown error": ({"code": "new"}, FailureReason.STREAM_ERROR, True),
    "no words": ({}, FailureReason.STREAM_ERROR, True),
}


@pytest.mark.parametrize(("error", "reason", "billed"), EVENTS.values(), ids=EVENTS)
def test_an_error_under_status_200(error, reason, billed):
    """An error in a stream means what the same error means under a status of its own."""
    outcome = event_error(error)

    assert (reason, billed, 200) == (outcome.reason, outcome.perhaps_billed, outcome.status)


def test_an_error_without_error_around_it():
    """Also where its parts stand in the event itself, whose type is that of any error."""
    outcome = event_error({"code": "rate_limit_exceeded", "message": "slow down"}, bare=True, retry_after="7")

    assert (FailureReason.THROTTLED, 7.0, "slow down") == (outcome.reason, outcome.retry_after, outcome.error.message)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("rate_limit_exceeded", FailureReason.STREAM_ERROR),
        ("400", FailureReason.REJECTED),
        ("server_error", FailureReason.STREAM_ERROR),
    ],
)
def test_an_error_after_a_partial_image(code, reason):
    """Once something was drawn it may be billed, whatever the error is; and it is no quota that is used up."""
    outcome = event_error({"code": code}, has_drawn=True)

    assert (reason, True) == (outcome.reason, outcome.perhaps_billed)


def test_a_wait_until_a_date_in_a_200():
    """A date is compared with the answer's own, so that clocks may differ."""
    outcome = event_error({"code": "429"}, retry_after=http_date(90), date=http_date(60))
    assert 30.0 == outcome.retry_after
    assert event_error({"code": "429"}, retry_after=http_date(90)).retry_after is None


def test_items_that_are_no_objects():
    """What is no item of `data` is left out; the pictures beside it are kept."""
    outcome = answered({"data": [None, {"b64_json": "QUJD"}, "x"]})

    assert isinstance(outcome, Success)
    assert rendered(outcome.answer)["data"] == [{"b64_json": "QUJD"}]


# -- streams that have ended ------------------------------------------------------------------------------------------


def completed(**fields: object) -> ImageJson:
    return ImageJson.parse(orjson.dumps({"type": "image_generation.completed", **fields}))


def test_a_stream_without_its_picture():
    """A stream that ends without `completed` was cut short; one whose `completed` is empty has no picture."""
    assert response_outcome.read_completed([], httpx2.Headers()).reason is FailureReason.CUT_SHORT
    assert (
        response_outcome.read_completed([completed(b64_json="")], httpx2.Headers()).reason is FailureReason.NO_PICTURE
    )


def test_a_stream_with_its_picture():
    """The events of a stream become the answer that JSON would have given."""
    events = [completed(b64_json="QUJD", created_at=7, size="auto", usage={"total_tokens": 7}, new=1)]

    outcome = response_outcome.read_completed(events, httpx2.Headers())

    assert isinstance(outcome, Success)
    expected = {"created": 7, "size": "auto", "usage": {"total_tokens": 7}, "new": 1, "data": [{"b64_json": "QUJD"}]}
    assert expected == rendered(outcome.answer)


def test_an_error_that_is_nested_too_deeply():
    """An error nested deeper than can be written again is read by its status alone."""
    body = b'{"error":{"code":"content_filter","inner_error":' + b"[" * 400 + b"]" * 400 + b"}}"
    assert (FailureReason.REJECTED, None) == (read(400, body).reason, read(400, body).error.code)


@pytest.mark.parametrize("status", [400, 403, 422, 429, 500])
def test_a_refusal_by_its_code_alone(status):
    """A refusal is told by its code, whatever the status."""
    assert read(status, said({"code": "contentFilter", "message": "x"})).reason is FailureReason.REFUSED


@pytest.mark.parametrize("status", [409, 424, 499])
def test_an_unknown_status_that_comes_late(status):
    """A status that is not in the table is ambiguous where it comes late: who knows what was drawn by then."""
    assert read(status, seconds=10.0).reason is FailureReason.UNEXPECTED_STATUS
    assert read(status, seconds=10.1).reason is FailureReason.LATE_SERVER_ERROR
