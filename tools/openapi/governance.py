"""The description of the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.admin.forms import DEFAULT_GRACE_SECONDS, KeyChanges, NewKey, Rotation
from core.admin.http_api import DEFAULT_PAGE, MAX_KEYS_PER_PAGE, MAX_LINES_PER_PAGE
from core.admin.parsing import CURSOR
from core.admin.usage import KeyUsage, UsagePage
from core.admin.views import KeyPage, NewSecret, OneKey
from core.domain.errors import EtagMismatch, EtagRequired, Forbidden, InvalidRequest
from core.ledger.reports import EARLIEST, LATEST, MAX_DAYS, GroupBy
from tools.openapi.errors import OF_A_CHANGE, OF_A_DELETION, OF_A_KEY, OF_KEYS, example
from tools.openapi.parts import JSON, Json, answered, headers_of, parameter, ref, refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from tools.openapi.errors import ErrorStatus

_REQUEST_TYPE: Final = "governance"
_ID: Final = "vk-019aa0b1c2d35f2a9c1e"
_ETAG: Final = "8c2f0a4be1d94f0c9f6f2d5a7b3c1e0d"
_SECRET: Final = "sk-bf-1a2bX0nrJq5oPOpiPUTWNgMbXlbFQQYHFQS4pwCWJZ8"  # noqa: S105 -- an example

_NEW: Final[Json] = {
    "name": "Team A",
    "deployments": ["gpt-image-2"],
    "expires_at": None,
    "rate_limit": {"requests": {"limit": 60, "window": "1m"}, "images": {"limit": 20, "window": "1h"}},
    "budget": {"usd": 50, "window": "month"},
    "metadata": {"cost_center": "4711"},
}
_KEY: Final[Json] = {
    "id": _ID,
    "name": "Team A",
    "prefix": _SECRET[:10],
    "source": "store",
    "deployments": ["gpt-image-2"],
    "active": True,
    "expires_at": None,
    "rate_limit": _NEW["rate_limit"],
    "budget": _NEW["budget"],
    "metadata": _NEW["metadata"],
    "previous_key_until": None,
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
    "last_used_at": None,
    "etag": _ETAG,
}
_ONE: Final[Json] = {"virtual_key": _KEY}
_WITH_SECRET: Final[Json] = {**_ONE, "key": _SECRET}
_SUMS: Final[Json] = {
    "calls": 41,
    "failed_calls": 1,
    "images": 40,
    "possible_images": 0,
    "tokens": {"text_in": 520, "image_in": 0, "image_out": 42240, "text_out": 0},
    "cost_usd": 1.27,
    "estimated_usd": 0.0,
    "possibly_billed_usd": 0.0,
    "possibly_billed_calls": 0,
    "unpriced_calls": 0,
}
_REPORT: Final[Json] = {
    "from": "2026-11-01",
    "to": "2026-11-20",
    "group_by": "key",
    "usage": [{**_SUMS, "key_id": _ID, "admin": False}],
    "totals": _SUMS,
    "next_cursor": None,
}
_USED: Final[Json] = {
    **_REPORT,
    "group_by": "day",
    "usage": [{**_SUMS, "day": "2026-11-20"}],
    "id": _ID,
    "in_flight": 1,
    "requests": {"limit": 60, "window": "1m", "remaining": 58, "reset_seconds": 41.0},
    "images": {"limit": 20, "window": "1h", "remaining": 17, "reset_seconds": 3391.0},
    "budget": {
        "usd": 50.0,
        "window": "month",
        "spent_usd": 1.27,
        "reserved_usd": 0.05,
        "remaining_usd": 48.68,
        "renews_at": "2026-12-01T00:00:00Z",
    },
}


def items() -> Json:
    """The admin API: what stands at the paths of each route, by the route's name."""
    return {
        "virtual_keys": {"get": _list(), "post": _create()},
        "virtual_key": {"parameters": [_id()], "get": _get(), "put": _change(), "delete": _delete()},
        "rotate_virtual_key": {"parameters": [_id()], "post": _rotate()},
        "virtual_key_usage": {"parameters": [_id()], "get": _usage_of_key()},
        "usage": {"get": _usage()},
    }


def _list() -> Json:
    return _operation(
        "listVirtualKeys",
        "List virtual keys",
        "First those of the setting `GATEWAY_VIRTUAL_KEYS`, then the stored ones, the oldest first.",
        successes={"200": answered(KeyPage, "A page of keys.", example={"virtual_keys": [_KEY], "next_cursor": None})},
        errors=OF_KEYS,
        parameters=_paging(MAX_KEYS_PER_PAGE),
    )


def _create() -> Json:
    made = answered(NewSecret, "The new key, shown this once.", "etag", "location", example=_WITH_SECRET)
    made["links"] = {
        name: {"operationId": operation, "parameters": {"id": "$response.body#/virtual_key/id", **more}}
        for name, operation, more in (
            ("show", "getVirtualKey", {}),
            ("change", "changeVirtualKey", {"If-Match": "$response.body#/virtual_key/etag"}),
            ("rotate", "rotateVirtualKey", {}),
            ("usage", "getVirtualKeyUsage", {}),
            ("delete", "deleteVirtualKey", {}),
        )
    }
    return _operation(
        "createVirtualKey",
        "Make a virtual key",
        "What is left out is not there: without `deployments` the key may call none yet, without `rate_limit` and"
        " `budget` it has no limits.",
        successes={"201": made},
        errors=OF_KEYS,
        body=(NewKey, _NEW),
    )


def _get() -> Json:
    return _operation(
        "getVirtualKey",
        "Show a virtual key",
        "Everything but the key itself, of which the gateway has the hash only.",
        successes={"200": answered(OneKey, "The key.", "etag", example=_ONE)},
        errors=OF_A_KEY,
    )


def _change() -> Json:
    return _operation(
        "changeVirtualKey",
        "Change a virtual key",
        "What is left out stays, what is given is replaced whole, and `null` clears. It holds on every instance within"
        " `GATEWAY_KEY_CACHE_SECONDS` (30 by default).",
        successes={"200": answered(OneKey, "The key as it is now.", "etag", example=_ONE)},
        errors=OF_A_CHANGE,
        parameters=[_if_match(required=True)],
        body=(KeyChanges, {"deployments": ["gpt-image-2", "gpt-image-1.5"], "budget": None}),
    )


def _delete() -> Json:
    return _operation(
        "deleteVirtualKey",
        "Delete a virtual key",
        "For good; to pause a key, set `active` to `false`. What it has used stays in the reports.",
        successes={"204": {"description": "It is gone.", "headers": headers_of()}},
        errors=OF_A_DELETION,
        parameters=[_if_match()],
    )


def _rotate() -> Json:
    operation = _operation(
        "rotateVirtualKey",
        "Give a virtual key a new secret",
        f"The old one goes on to count for the grace time, a day ({DEFAULT_GRACE_SECONDS:,} s) if nothing is said.",
        successes={"200": answered(NewSecret, "The new secret, shown this once.", "etag", example=_WITH_SECRET)},
        errors=OF_A_DELETION,
        parameters=[_if_match()],
        body=(Rotation, {"grace_seconds": 0}),
    )
    operation["requestBody"]["required"] = False
    return operation


def _usage_of_key() -> Json:
    return _operation(
        "getVirtualKeyUsage",
        "Show what a virtual key has used",
        "How it stands with its limits now, and what it has used on some days.",
        successes={"200": answered(KeyUsage, "What it has used.", example=_USED)},
        errors=OF_A_KEY,
        parameters=_days(GroupBy.DAY),
    )


def _usage() -> Json:
    return _operation(
        "getUsage",
        "Show what all callers have used",
        "Admins are among them.",
        successes={"200": answered(UsagePage, "What was used.", example=_REPORT)},
        errors=OF_KEYS,
        parameters=_days(GroupBy.KEY),
    )


def _operation(
    operation_id: str,
    summary: str,
    description: str,
    *,
    successes: Json,
    errors: Mapping[int, ErrorStatus],
    parameters: list[Json] | None = None,
    body: tuple[type[BaseModel], Json] | None = None,
) -> Json:
    operation: Json = {
        "operationId": operation_id,
        "tags": ["Governance"],
        "summary": summary,
        "description": description,
        "responses": {**successes, **refused(errors, _EXAMPLES)},
    }
    if parameters is not None:
        operation["parameters"] = parameters
    if body is not None:
        form, filled_in = body
        operation["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": ref(form), "example": filled_in}},
        }
    return operation


_EXAMPLES: Final = {
    400: example(
        InvalidRequest("There is no field 'budgett'; did you mean budget?", code="unknown_parameter", param="budgett"),
        _REQUEST_TYPE,
    ),
    403: example(
        Forbidden("Only an admin may do this; send a JWT whose role is admin", code="admin_required"), _REQUEST_TYPE
    ),
    412: example(EtagMismatch(), _REQUEST_TYPE),
    428: example(EtagRequired(), _REQUEST_TYPE),
}


def _id() -> Json:
    return parameter("id", "path", {"type": "string", "minLength": 1}, "The key's id.", example=_ID)


def _if_match(*, required: bool = False) -> Json:
    words = "The `etag` that was read, with quotes or without; `*` is whatever is there."
    return parameter("If-Match", "header", {"type": "string"}, words, required=required, example=f'"{_ETAG}"')


def _paging(most: int) -> list[Json]:
    limit = {"type": "integer", "minimum": 1, "maximum": most, "default": DEFAULT_PAGE}
    return [
        parameter("limit", "query", limit, "At most so many entries."),
        parameter("cursor", "query", {"type": "string", "pattern": f"^{CURSOR.pattern}$"}, "The last `next_cursor`."),
    ]


def _days(group_by: GroupBy) -> list[Json]:
    date = {"type": "string", "format": "date"}
    groups = {"type": "string", "enum": [str(each) for each in GroupBy], "default": str(group_by)}
    return [
        parameter("from", "query", date, "The first day, in UTC; by default the first of the month of `to`."),
        parameter(
            "to",
            "query",
            date,
            f"The last day, by default today; at most {MAX_DAYS - 1} days later, and from {EARLIEST} to {LATEST}.",
        ),
        parameter("group_by", "query", groups, "What there is a line for."),
        *_paging(MAX_LINES_PER_PAGE),
    ]
