"""The one place where an error becomes an answer, and the one guard around every handler.

The shape is Bifrost's published error (`create-image`), with `error.message` always there, so that every OpenAI SDK
raises its typed error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from core.domain.errors import GatewayError, InternalFault, RecordsUnavailable
from core.domain.response import json_response
from core.storage.tables import StoreUnavailable
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from core.domain.response import HttpResponse

PROVIDER: Final = "azure"
GENERATION: Final = "image_generation"
"""The `request_type` of what is no other's."""


class ErrorContext(Protocol):
    """The call that an error ends."""

    @property
    def event_id(self) -> str:
        """The call's id, for the log."""
        ...

    @property
    def is_retry_safe(self) -> bool:
        """Whether the call may be made again after a fault of the gateway's own."""
        ...

    def error_json(self, error: GatewayError) -> dict[str, Any]:
        """Build the error body."""
        ...


class RouteErrors(Struct, frozen=True, kw_only=True):
    """The errors of a route that generates nothing."""

    event_id: str
    request_type: str
    is_retry_safe: bool

    def error_json(self, error: GatewayError) -> dict[str, Any]:
        """Build the error body."""
        return error_body(
            error, event_id=self.event_id, model_requested=None, stream=False, request_type=self.request_type
        )


async def guard(work: Awaitable[HttpResponse], call: ErrorContext) -> HttpResponse:
    """Answer a call, whatever goes wrong. Only cancellation is raised."""
    try:
        return await work
    except GatewayError as error:
        return error_response(call, error)
    except StoreUnavailable as unavailable:
        return error_response(call, RecordsUnavailable(perhaps_done=unavailable.perhaps_done))
    except Exception as fault:  # noqa: BLE001 -- the one place where a fault of ours becomes an answer
        write_fault(fault, call.event_id)
        return error_response(call, InternalFault(retry_safe=call.is_retry_safe))


def error_response(call: ErrorContext, error: GatewayError) -> HttpResponse:
    """Answer a call with an error."""
    headers = error.headers if error.retry_safe else {**error.headers, "x-should-retry": "false"}
    return json_response(error.status, call.error_json(error), headers)


def error_body(
    error: GatewayError,
    *,
    event_id: str,
    model_requested: str | None,
    stream: bool,
    attempts: list[dict[str, Any]] | None = None,
    request_type: str | None = None,
) -> dict[str, Any]:
    """Turn an error into the JSON of contract §5. `attempts` is the trail, given when upstream was called.

    `request_type` is given where it is not a generation of pictures.
    """
    extra: dict[str, Any] = {
        "provider": PROVIDER,
        "model_requested": model_requested or "",
        "request_type": request_type or (f"{GENERATION}_stream" if stream else GENERATION),
    }
    if attempts is not None:
        extra["attempts"] = attempts
    return {
        "event_id": event_id,
        "type": error.type,
        "is_bifrost_error": error.is_bifrost_error,
        "status_code": error.status,
        "error": {
            **error.details(),
            "type": error.type,
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "event_id": event_id,
        },
        "extra_fields": extra,
    }
