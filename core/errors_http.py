"""The one place where a no becomes JSON.

The shape is Bifrost's published error (`create-image`), with `error.message` always there, so that every OpenAI SDK
raises its typed error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from core.domain.errors import GatewayError

PROVIDER: Final = "azure"


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
        "request_type": request_type or ("image_generation_stream" if stream else "image_generation"),
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
