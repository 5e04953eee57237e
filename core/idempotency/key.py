"""How a caller names a call, so that it is safe to repeat (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import orjson

from core.domain.errors import InvalidRequest
from core.idempotency.repeats import RepeatKey
from core.idempotency.store import IdempotencyKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.auth.caller import Caller
    from core.domain.request import ImageRequest

HEADER: Final = "idempotency-key"
RETRY_HEADER: Final = "idempotency-retry"
ACCEPT_DUPLICATE: Final = "accept-duplicate"
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")


def read_idempotency_key(
    headers: Sequence[tuple[str, str]],
    caller: Caller,
    request: ImageRequest,
    *,
    deployment: str,
    api_version: str | None,
    later: bool,
) -> IdempotencyKey | None:
    """The name that a caller gave a call; None: none. Raises InvalidRequest.

    It belongs to the caller and to this request: deployment, api-version, the body by what it says, and whether its
    answer is awaited or asked for `later`.
    """
    given = {value.strip() for name, value in headers if name == HEADER}
    if not given:
        return None
    key = given.pop()
    if given or not _KEY.fullmatch(key):
        raise InvalidRequest(
            "Idempotency-Key must be given once, with 1 to 255 printable ASCII characters", param="Idempotency-Key"
        )
    return IdempotencyKey(
        scope=caller.scope, name=key, fingerprint=_fingerprint(deployment, api_version, later, request.fields)
    )


def make_repeat_key(caller: Caller, request: ImageRequest, *, deployment: str, api_version: str | None) -> RepeatKey:
    """Name a request by what makes it identical to another: caller, deployment, api-version, body."""
    return RepeatKey(caller.scope, _fingerprint(deployment, api_version, request.fields))


def _fingerprint(*parts: object) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def accepts_duplicate(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether the caller would rather pay twice than go without. Raises InvalidRequest."""
    given = {value.strip().lower() for name, value in headers if name == RETRY_HEADER}
    if given - {ACCEPT_DUPLICATE}:
        raise InvalidRequest(f"Idempotency-Retry can only be {ACCEPT_DUPLICATE}", param="Idempotency-Retry")
    return bool(given)
