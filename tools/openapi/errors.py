"""Which errors a caller can meet: per status, what it means, and the codes. Statuses and words stand here once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from core.errors_http import error_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.domain.errors import GatewayError


class ErrorStatus(Struct, frozen=True, kw_only=True):
    """One status that is an error."""

    means: str
    codes: Mapping[str, str]
    """Each `error.code`, with when it is given."""
    headers: tuple[str, ...] = ()
    """Headers that such an answer has besides (see `parts.HEADERS`)."""
    upstream: bool = field(default=False)
    """Whether the code may also be one of upstream's own."""

    def described(self) -> str:
        """The whole row in words."""
        codes = "\n".join(f"* `{code}`: {when}" for code, when in self.codes.items())
        own = "\n\nOr upstream's own code, as it came." if self.upstream else ""
        return f"{self.means}\n\n{codes}{own}"


_AUTH_401: Final = ErrorStatus(
    means="Who calls is not known.",
    codes={
        "missing_credentials": "there is no credential",
        "ambiguous_credentials": "several headers carry different ones",
        "invalid_credentials": "it does not count; the message says no more than that",
        "expired_credentials": "its time is over",
    },
    headers=("www-authenticate",),
)
_TOO_SLOW: Final = ErrorStatus(means="The body did not arrive in time.", codes={"request_timeout": "after 30 seconds"})
_ENCODING: Final = ErrorStatus(
    means="The body is compressed in another way than gzip or deflate.",
    codes={"unsupported_encoding": "`Accept-Encoding` names those that are taken"},
    headers=("accept-encoding",),
)
_TOO_LARGE: Final = ErrorStatus(means="The body is too large.", codes={"request_too_large": "more than 1 MiB"})
_FAULT: Final = ErrorStatus(means="The gateway failed.", codes={"internal_error": "its log has the event id"})

OF_IMAGES: Final[Mapping[int, ErrorStatus]] = {
    400: ErrorStatus(
        means="What was asked cannot be asked, or upstream refused it.",
        codes={
            "invalid_json": "the body is not a JSON object in UTF-8, or one of absurd depth or size",
            "missing_required_parameter": "`prompt` is not there, or `model` where the path names no deployment",
            "invalid_type": "a field has another type",
            "invalid_value": "a field has a value that is not legal, or that the deployment's model cannot honour",
            "url_not_available": "`response_format` is `url`, and there is no address at which to fetch pictures",
            "deployment_not_found": "a fallback does not exist",
        },
        upstream=True,
    ),
    401: _AUTH_401,
    402: ErrorStatus(
        means="The key's budget does not last for this call.",
        codes={"budget_exceeded": "asking again helps when the budget renews"},
        headers=("x-should-retry",),
    ),
    403: ErrorStatus(
        means="The key may not do this.",
        codes={
            "key_inactive": "it has been deactivated",
            "deployment_not_allowed": "not this deployment, or not one of the fallbacks",
            "price_unknown": "it has a budget, and the deployment has no price to count with",
        },
    ),
    404: ErrorStatus(means="There is no such deployment.", codes={"deployment_not_found": "here or upstream"}),
    408: _TOO_SLOW,
    409: ErrorStatus(
        means="A call with this `Idempotency-Key` has not come to an answer.",
        codes={
            "idempotency_in_progress": "it is still running",
            "outcome_unknown": "it broke off, and a picture may have been drawn; `Idempotency-Retry` draws again",
        },
        headers=("retry-after", "retry-after-ms", "x-should-retry"),
    ),
    413: _TOO_LARGE,
    415: _ENCODING,
    422: ErrorStatus(
        means="Upstream refused it, or the name is another call's.",
        codes={"idempotency_mismatch": "another request had this `Idempotency-Key`"},
        upstream=True,
    ),
    429: ErrorStatus(
        means="Too much at once.",
        codes={"rate_limited": "more than the key may in a window of time"},
        headers=("retry-after", "retry-after-ms"),
        upstream=True,
    ),
    500: _FAULT,
    502: ErrorStatus(
        means="Upstream gave no picture.",
        codes={
            "upstream_error": "it failed, or its answer could not be read",
            "upstream_unreachable": "there was no connection, or none in time; nothing was drawn",
            "upstream_auth_failed": "it does not take the gateway's own credentials",
            "upstream_blocked": "the resource is blocked",
        },
        headers=("x-should-retry",),
    ),
    503: ErrorStatus(
        means="The gateway cannot do it now.",
        codes={
            "misconfigured": "its settings are wrong; its log says which",
            "auth_unavailable": "who calls cannot be checked",
            "limits_unavailable": "what the key has used cannot be counted",
            "gateway_busy": "this instance has no connection free; nothing was drawn",
            "store_unavailable": "the store for named calls and jobs cannot be reached; nothing was drawn. With"
            " `x-should-retry`, a job may have been ordered",
            "stopping": "this instance ends",
        },
        headers=("retry-after", "x-should-retry"),
    ),
    504: ErrorStatus(
        means="No picture in time. It may have been drawn and billed all the same.",
        codes={"upstream_timeout": "ask again only if a second picture may be paid for"},
        headers=("x-should-retry",),
    ),
}
"""`POST …/images/generations`."""

OF_MODELS: Final[Mapping[int, ErrorStatus]] = {
    401: _AUTH_401,
    403: ErrorStatus(means="The key may not do this.", codes={"key_inactive": "it has been deactivated"}),
    404: ErrorStatus(
        means="There is no such deployment.", codes={"deployment_not_found": "it is not there, or not the caller's"}
    ),
    500: _FAULT,
    503: ErrorStatus(
        means="The gateway cannot do it now.",
        codes={"misconfigured": "its settings are wrong", "auth_unavailable": "who calls cannot be checked"},
        headers=("retry-after",),
    ),
}
"""`GET …/models`."""

OF_A_PICTURE: Final[Mapping[int, ErrorStatus]] = {
    404: ErrorStatus(means="There is no such picture, or no longer.", codes={"not_found": "none has this name"}),
    500: _FAULT,
    503: ErrorStatus(means="The gateway cannot do it now.", codes={"misconfigured": "its settings are wrong"}),
}
"""`GET /images/{name}`."""

OF_A_JOB: Final[Mapping[int, ErrorStatus]] = {
    401: _AUTH_401,
    403: ErrorStatus(means="The key may not do this.", codes={"key_inactive": "it has been deactivated"}),
    404: ErrorStatus(means="There is no such job, or no longer.", codes={"job_not_found": "none of this caller's"}),
    500: _FAULT,
    503: ErrorStatus(
        means="The gateway cannot do it now.",
        codes={
            "misconfigured": "its settings are wrong; its log says which",
            "auth_unavailable": "who calls cannot be checked",
            "store_unavailable": "the store cannot be reached; with `x-should-retry`, a job may have been cancelled",
        },
        headers=("retry-after", "x-should-retry"),
    ),
}
"""`GET /jobs/{id}`."""
OF_A_CANCELLATION: Final[Mapping[int, ErrorStatus]] = {
    **OF_A_JOB,
    409: ErrorStatus(
        means="It is too late.",
        codes={"job_not_queued": "the job has begun, or has ended"},
        headers=("x-should-retry",),
    ),
}
"""`DELETE /jobs/{id}`."""

_ADMIN_400: Final = ErrorStatus(
    means="What was asked cannot be asked.",
    codes={
        "invalid_json": "the body is not a JSON object in UTF-8, or one of absurd depth or size",
        "unknown_parameter": "there is no such field, or query parameter",
        "missing_required_parameter": "a field that must be there is not",
        "invalid_type": "a field has another type",
        "invalid_value": "a value is not legal",
    },
)
_ADMIN: Final[Mapping[int, ErrorStatus]] = {
    400: _ADMIN_400,
    401: _AUTH_401,
    403: ErrorStatus(
        means="Only an admin may do this.",
        codes={
            "admin_required": "a virtual key, or a JWT of one; or an admin's JWT that is narrowed by `deployments`",
            "key_inactive": "a virtual key that has been deactivated",
        },
    ),
    408: _TOO_SLOW,
    413: _TOO_LARGE,
    415: _ENCODING,
    500: _FAULT,
    503: ErrorStatus(
        means="The gateway cannot do it now.",
        codes={
            "misconfigured": "its settings are wrong; its log says which",
            "auth_unavailable": "who calls cannot be checked",
            "store_unavailable": "the store cannot be reached; with `x-should-retry`, a change may have been made",
            "limits_unavailable": "what the key has used cannot be read",
        },
        headers=("retry-after", "x-should-retry"),
    ),
}
_NO_SUCH_KEY: Final = ErrorStatus(means="There is no such key.", codes={"key_not_found": "none has this id"})
_READ_ONLY: Final = ErrorStatus(
    means="This key cannot be changed here.", codes={"read_only_key": "it is one of the setting GATEWAY_VIRTUAL_KEYS"}
)
_MISMATCH: Final = ErrorStatus(
    means="The key is not as it was read; nothing was written.",
    codes={"etag_mismatch": "it was changed meanwhile"},
    headers=("x-should-retry",),
)
_CONDITION: Final = ErrorStatus(
    means="The change does not say what it is a change of.",
    codes={"precondition_required": "send `If-Match` with the `etag` that was read, or `*`"},
)

OF_KEYS: Final = _ADMIN
"""The list of keys, and reports on all callers."""
OF_A_KEY: Final[Mapping[int, ErrorStatus]] = {**_ADMIN, 404: _NO_SUCH_KEY}
OF_A_DELETION: Final[Mapping[int, ErrorStatus]] = {**OF_A_KEY, 409: _READ_ONLY, 412: _MISMATCH}
OF_A_CHANGE: Final[Mapping[int, ErrorStatus]] = {**OF_A_DELETION, 428: _CONDITION}


def example(error: GatewayError, request_type: str | None = None) -> dict[str, Any]:
    """An error as it is answered."""
    return error_body(
        error,
        event_id="6f1d7c0b1f0f4c5d9d0c2f6f3a4b5c6d",
        model_requested="gpt-image-2" if request_type is None else None,
        stream=False,
        request_type=request_type,
    )
