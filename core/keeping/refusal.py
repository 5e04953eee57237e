"""The error body of what came by a queue and is no valid request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from core.contract.errors import error_body

if TYPE_CHECKING:
    from core.contract.errors import GatewayError


def refusal_body(error: GatewayError, event_id: str) -> bytes:
    """An error, in the one shape."""
    return orjson.dumps(error_body(error, event_id=event_id, model_requested=None, stream=False))
