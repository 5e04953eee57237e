"""The errors that a caller can get. `core/errors_http.py` is the one place where an error becomes a response.

GatewayError
├── CallerError             the caller can correct it; nothing went upstream
│   ├── Unauthenticated     401  no credential, or none that is valid
│   ├── BudgetExceeded      402  it may cost more than the key has left
│   ├── Forbidden           403  the caller is known, and may not do this
│   ├── InvalidRequest      400  the request cannot be honoured
│   ├── NotFound            404
│   ├── MethodNotAllowed    405
│   ├── BodyTooSlow         408
│   ├── Conflict            409  the state of a resource does not allow it
│   ├── InProgress, OutcomeUnknown, GenerationInProgress   409  of a repeated call (core/idempotency)
│   ├── EtagMismatch        412  somebody else has changed it
│   ├── BodyTooLarge        413
│   ├── UnsupportedEncoding 415
│   ├── Mismatch            422  the idempotency key of another request (core/idempotency)
│   ├── EtagRequired        428  a change without If-Match
│   ├── RateLimited         429  more than the key may in a window of time
│   └── KeyBusy             429  more calls of the key at once than there may be (core/limits)
├── GatewayFault            the operator can correct it, or it is a fault of the gateway
│   ├── Misconfigured       503
│   ├── AuthUnavailable     503
│   ├── LimitsUnavailable   503
│   ├── RecordsUnavailable  503
│   ├── Stopping            503
│   ├── Overdue, Left       504
│   └── InternalFault       500
└── UpstreamFailure         upstream was asked and gave no picture (contract §5)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class GatewayError(Exception):
    """A no that the caller is told. Never carries a key, a prompt or a backend's host.

    `retry_safe` is false where asking again may buy a second picture, or cannot help; the answer then says
    `x-should-retry: false`, which the official SDKs obey.
    """

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"
    is_bifrost_error: bool = True
    retry_safe: bool = True

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else type(self).code
        self.param = param
        self.headers = dict(headers or {})

    def details(self) -> dict[str, Any]:
        """Fields of the `error` object besides the standard ones."""
        return {}


class CallerError(GatewayError):
    """The caller can mend it. Nothing went upstream."""

    type = "invalid_request_error"


class Unauthenticated(CallerError):
    """401: no credential, or none that counts (RFC 6750 §3)."""

    status = 401
    type = "authentication_error"
    code = "invalid_credentials"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param, headers={"www-authenticate": "Bearer"})


class BudgetExceeded(CallerError):
    """402: the call may cost more than is left of the key's budget. Asking again in a while does not help."""

    status = 402
    type = "insufficient_quota"
    code = "budget_exceeded"
    retry_safe = False


class Forbidden(CallerError):
    """403: the caller is known, and this is not for them."""

    status = 403
    type = "permission_error"
    code = "deployment_not_allowed"


class InvalidRequest(CallerError):
    """400: what was asked cannot be asked. `param` names where."""

    status = 400
    code = "invalid_value"


class NotFound(CallerError):
    """404: there is no such path or deployment."""

    status = 404
    code = "not_found"


class MethodNotAllowed(CallerError):
    """405, with the methods that are taken (RFC 9110 §15.5.6)."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method} is not taken here; use {allowed}", headers={"allow": allowed})


class BodyTooSlow(CallerError):
    """408: the request's body did not arrive in time (RFC 9110 §15.5.9)."""

    status = 408
    code = "request_timeout"


class Conflict(CallerError):
    """409: it cannot be done to this thing, whoever asks."""

    status = 409
    code = "conflict"


class EtagMismatch(CallerError):
    """412: the thing is not as it was when the caller read it (RFC 9110 §15.5.13)."""

    status = 412
    code = "etag_mismatch"
    retry_safe = False

    def __init__(self) -> None:
        super().__init__(
            "It has been changed since it was read, and nothing was written; read it again", param="If-Match"
        )


class UnsupportedEncoding(CallerError):
    """415: the request's body is compressed in a way that is not taken (RFC 9110 §15.5.16)."""

    status = 415
    code = "unsupported_encoding"

    def __init__(self, given: str) -> None:
        super().__init__(
            f"A request body may be compressed with gzip or deflate, not with {given}",
            param="Content-Encoding",
            headers={"accept-encoding": "gzip, deflate"},
        )


class EtagRequired(CallerError):
    """428: a change that does not say what was read would undo somebody else's (RFC 6585 §3)."""

    status = 428
    code = "precondition_required"

    def __init__(self) -> None:
        super().__init__(
            "Send If-Match with the etag that was read, so that nobody's change is lost, or If-Match: * to change"
            " whatever is there",
            param="If-Match",
        )


class BodyTooLarge(CallerError):
    """413: the request's body is larger than any request for a picture."""

    status = 413
    code = "request_too_large"


class RateLimited(CallerError):
    """429: more requests or pictures than the key may have in a window of time."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limited"

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None) -> None:
        """`retry_after`: after so many seconds it would pass; None: never, so that asking again cannot help."""
        super().__init__(message, param=param, headers={} if retry_after is None else wait_headers(retry_after))
        self.retry_safe = retry_after is not None


class GatewayFault(GatewayError):
    """The operator's to mend, or ours."""


class Misconfigured(GatewayFault):
    """503: the settings are wrong. The caller learns no more; the log at start names the setting."""

    status = 503
    code = "misconfigured"

    def __init__(self) -> None:
        super().__init__("The gateway is not configured correctly; its operator finds the cause in its log")


class AuthUnavailable(GatewayFault):
    """503: who is calling cannot be checked now, so nobody is let in (fail closed)."""

    status = 503
    code = "auth_unavailable"

    def __init__(self) -> None:
        super().__init__("Credentials cannot be checked at the moment; try again shortly", headers={"retry-after": "5"})


class LimitsUnavailable(GatewayFault):
    """503: what a key has used cannot be read or written now, so a key with limits is not let through (fail closed)."""

    status = 503
    code = "limits_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The limits of this key cannot be checked at the moment; try again shortly", headers={"retry-after": "5"}
        )


class RecordsUnavailable(GatewayFault):
    """503: records cannot be read or written now. `perhaps_done`: a change may have been made all the same."""

    status = 503
    code = "store_unavailable"

    def __init__(self, *, perhaps_done: bool) -> None:
        super().__init__(
            "The store cannot be reached at the moment; "
            + ("the change may have been made, so look before trying again" if perhaps_done else "try again shortly"),
            headers={"retry-after": "5"},
        )
        self.retry_safe = not perhaps_done


class Stopping(GatewayFault):
    """503: this instance of the gateway is being stopped, and the call could not be finished before."""

    status = 503
    code = "stopping"

    def __init__(self, *, retry_safe: bool = False) -> None:
        super().__init__("This instance of the gateway is being stopped", headers={"retry-after": "1"})
        self.retry_safe = retry_safe


class Overdue(GatewayFault):
    """504: the caller read so slowly that the time of the whole call went by before the picture came."""

    status = 504
    code = "upstream_timeout"
    retry_safe = False

    def __init__(self) -> None:
        super().__init__("The time for this call is over; the picture may have been drawn all the same")


class InternalFault(GatewayFault):
    """500: a fault of the gateway's own."""

    def __init__(self, *, retry_safe: bool) -> None:
        super().__init__("The gateway failed; its operator finds the cause in its log under this event id")
        self.retry_safe = retry_safe


class UpstreamFailure(GatewayError):
    """Upstream was asked, and there is no picture. Built from outcomes by `contract.failure`."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        type: str,  # noqa: A002 -- the name on the wire
        param: str | None,
        details: Mapping[str, Any],
        is_bifrost_error: bool,
        retry_safe: bool,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(message, code=code, param=param, headers=headers)
        self.status = status
        self.type = type
        self.is_bifrost_error = is_bifrost_error
        self.retry_safe = retry_safe
        self._details = dict(details)

    def details(self) -> dict[str, Any]:
        """What else the upstream said: `inner_error` with the content-filter results, and the like."""
        return self._details


def wait_headers(seconds: float) -> dict[str, str]:
    """The headers that ask a caller to wait. SDKs read the milliseconds first, which say it more exactly."""
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}
