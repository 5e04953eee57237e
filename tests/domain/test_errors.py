"""Every way in which the gateway says no, as the caller sees it (contract §5)."""

from __future__ import annotations

import orjson
import pytest

from core.domain.errors import (
    AuthUnavailable,
    BodyTooLarge,
    BodyTooSlow,
    CallerError,
    Forbidden,
    GatewayError,
    GatewayFault,
    InternalFault,
    InvalidRequest,
    MethodNotAllowed,
    Misconfigured,
    NotFound,
    Unauthenticated,
    UpstreamFailure,
)
from core.errors_http import error_body


def upstream(**fields: object) -> UpstreamFailure:
    """A failure that upstream told us of."""
    given = {
        "status": 400,
        "code": "content_policy_violation",
        "type": "invalid_request_error",
        "param": None,
        "details": {},
        "is_bifrost_error": False,
        "retry_safe": True,
        "headers": {},
        **fields,
    }
    return UpstreamFailure("Your request was rejected", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "headers"),
    [
        pytest.param(
            Unauthenticated("m", code="missing_credentials"),
            401,
            "authentication_error",
            "missing_credentials",
            {"www-authenticate": "Bearer"},
            id="401",
        ),
        pytest.param(Forbidden("m"), 403, "permission_error", "deployment_not_allowed", {}, id="403"),
        pytest.param(
            Forbidden("m", code="key_inactive"), 403, "permission_error", "key_inactive", {}, id="403, another code"
        ),
        pytest.param(InvalidRequest("m"), 400, "invalid_request_error", "invalid_value", {}, id="400"),
        pytest.param(NotFound("m"), 404, "invalid_request_error", "not_found", {}, id="404"),
        pytest.param(
            MethodNotAllowed("PUT", "POST"),
            405,
            "invalid_request_error",
            "method_not_allowed",
            {"allow": "POST"},
            id="405",
        ),
        pytest.param(BodyTooSlow("m"), 408, "invalid_request_error", "request_timeout", {}, id="408"),
        pytest.param(BodyTooLarge("m"), 413, "invalid_request_error", "request_too_large", {}, id="413"),
        pytest.param(Misconfigured(), 503, "server_error", "misconfigured", {}, id="503 misconfigured"),
        pytest.param(
            AuthUnavailable(), 503, "server_error", "auth_unavailable", {"retry-after": "5"}, id="503 auth_unavailable"
        ),
        pytest.param(InternalFault(retry_safe=True), 500, "server_error", "internal_error", {}, id="500"),
    ],
)
def test_each_error(error: GatewayError, status: int, kind: str, code: str, headers: dict[str, str]) -> None:
    """Each error has its status, type, code and headers, says something, and is the gateway's own."""
    assert (status, kind, code, headers) == (error.status, error.type, error.code, error.headers)
    assert error.is_bifrost_error
    assert error.retry_safe
    assert error.message


def test_tree() -> None:
    """An error is the caller's to mend, or the operator's, or it is upstream's; never two of these."""
    whose = [CallerError, GatewayFault, UpstreamFailure]
    leaves = [each for parent in GatewayError.__subclasses__() for each in (parent.__subclasses__() or [parent])]
    assert len(leaves) > 10
    assert [] == [leaf for leaf in leaves if sum(issubclass(leaf, parent) for parent in whose) != 1]


def test_body_of_the_contract() -> None:
    """The JSON of an error is exactly the example of contract §5."""
    error = InvalidRequest("n must be between 1 and 10, got 11", param="n")
    expected = {
        "event_id": "e-1",
        "type": "invalid_request_error",
        "is_bifrost_error": True,
        "status_code": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_value",
            "message": "n must be between 1 and 10, got 11",
            "param": "n",
            "event_id": "e-1",
        },
        "extra_fields": {"provider": "azure", "model_requested": "gpt-image-1", "request_type": "image_generation"},
    }
    actual = error_body(error, event_id="e-1", model_requested="gpt-image-1", stream=False)
    assert expected == actual
    assert orjson.dumps(expected) == orjson.dumps(actual)


def test_stream_and_unknown_model() -> None:
    """A streaming call is told by `request_type`, and a model that is not known yet is an empty text, never null."""
    extra = error_body(NotFound("m"), event_id="e", model_requested=None, stream=True)["extra_fields"]
    assert {"provider": "azure", "model_requested": "", "request_type": "image_generation_stream"} == extra


@pytest.mark.parametrize("summary", [[], [{"deployment": "a", "outcome": "throttled", "status": 429, "ms": 5}]])
def test_attempts(summary: list[dict[str, object]]) -> None:
    """The summary of attempts stands in `extra_fields` exactly when it is given, even where it is empty."""
    body = error_body(upstream(), event_id="e", model_requested="m", stream=False, attempts=summary)
    assert summary == body["extra_fields"]["attempts"]


def test_upstream_failure_keeps_what_upstream_said() -> None:
    """An upstream error keeps its code, message, type, param and inner error, and is not the gateway's own."""
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_results": {"violence": {"filtered": True}}}
    body = error_body(
        upstream(details={"inner_error": inner}, param="prompt"), event_id="e", model_requested="m", stream=False
    )
    assert body["is_bifrost_error"] is False
    assert {
        "type": "invalid_request_error",
        "code": "content_policy_violation",
        "message": "Your request was rejected",
        "param": "prompt",
        "event_id": "e",
        "inner_error": inner,
    } == body["error"]


def test_upstream_cannot_speak_for_the_gateway() -> None:
    """What else upstream put into its error never replaces the fields that are the gateway's to say."""
    error = upstream(details={"event_id": "theirs", "message": "theirs", "code": "theirs"})
    body = error_body(error, event_id="ours", model_requested="m", stream=False)["error"]
    expected = ("ours", "Your request was rejected", "content_policy_violation")
    assert expected == (body["event_id"], body["message"], body["code"])


def test_a_fault_says_whether_to_try_again() -> None:
    """A fault of ours is safe to try again only where it is said to be."""
    assert [True, False] == [InternalFault(retry_safe=safe).retry_safe for safe in (True, False)]


def test_headers_are_a_copy() -> None:
    """Headers that are handed to an error are not shared with it."""
    headers = {"a": "b"}
    error = InvalidRequest("m", headers=headers)
    headers["c"] = "d"
    assert {"a": "b"} == error.headers
