"""Reading what an operator sent: bodies into forms, the query, and `If-Match`. The first thing wrong is a 400."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from core.admin.forms import (
    MAX_DEPLOYMENTS,
    MAX_GRACE_SECONDS,
    MAX_METADATA,
    Form,
)
from core.auth.limits_json import MAX_PER_WINDOW, MAX_USD, WINDOW_RULE
from core.domain.errors import InvalidRequest
from core.domain.json_input import parse_object, shown
from core.domain.wrong_field import unknown_name, wrong_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_F = TypeVar("_F", bound=Form)

_RATE: Final = 'null, or an object such as {"limit": 60, "window": "1m"}'
_LIMIT: Final = f"a whole number from 1 to {MAX_PER_WINDOW:,}"
_FIELD: Final = re.compile(r"[.\[]")
CURSOR: Final = re.compile(r"([0-9a-f]{2}){1,512}")
LEGAL: Final[Mapping[str, str]] = {
    "name": "a string of 1 to 256 characters without control characters",
    "deployments": f"an array of at most {MAX_DEPLOYMENTS} deployment names",
    "deployments[]": "a deployment's name, or * for every one",
    "active": "true or false",
    "expires_at": "null, or a time with its zone such as 2027-01-01T00:00:00Z (RFC 3339)",
    "rate_limit": "null, or an object with requests, images or both",
    "rate_limit.requests": _RATE,
    "rate_limit.requests.limit": _LIMIT,
    "rate_limit.requests.window": WINDOW_RULE,
    "rate_limit.images": _RATE,
    "rate_limit.images.limit": _LIMIT,
    "rate_limit.images.window": WINDOW_RULE,
    "budget": 'null, or an object such as {"usd": 50, "window": "month"}',
    "budget.usd": f"a number of US dollars, more than 0 and at most {MAX_USD:,}",
    "budget.window": "one of day, week, month, total",
    "metadata": f"an object of at most {MAX_METADATA} strings",
    "metadata.*": "a string of at most 256 characters under a name of 1 to 64, none a control character",
    "grace_seconds": f"a whole number of seconds from 0 to {MAX_GRACE_SECONDS:,}",
}
"""What each field may be, for the errors. `[]` stands for an index and `*` for a name of the operator's own."""


def read_form(form: type[_F], body: bytes) -> _F:
    """Read a body. Raises InvalidRequest (400)."""
    fields = parse_object(body)
    try:
        return form.model_validate(fields)
    except ValidationError as invalid:
        legal = {rule: words for rule, words in LEGAL.items() if _FIELD.split(rule)[0] in form.model_fields}
        raise wrong_field(invalid, fields, legal) from None


def read_query(query: Iterable[tuple[str, str]], *known: str) -> dict[str, str]:
    """Read the query, each parameter at most once. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for name, value in query:
        if name not in known:
            raise unknown_name("query parameter", name, known, name)
        if name in found:
            raise InvalidRequest(f"{name} is given more than once", param=name)
        found[name] = value
    return found


def read_limit(query: Mapping[str, str], *, default: int, most: int) -> int:
    """Read how many entries a page may have. Raises InvalidRequest."""
    text = query.get("limit")
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
    if not 1 <= number <= most:
        raise InvalidRequest(f"limit must be a whole number from 1 to {most}, got {shown(text)}", param="limit")
    return number


def make_cursor(place: str) -> str:
    """Make a cursor of a place in a list."""
    return place.encode().hex()


def read_cursor(text: str) -> str:
    """Read a cursor back. A place that no list has given is one too: a page begins at whatever comes next."""
    if CURSOR.fullmatch(text) is None:
        raise InvalidRequest(f"cursor must be one that this list has given, got {shown(text)}", param="cursor")
    return bytes.fromhex(text).decode(errors="replace")


def read_if_match(headers: Iterable[tuple[str, str]]) -> frozenset[str] | None:
    """Read the ETags of `If-Match` (RFC 9110 §13.1.1), also without quotes, and `*`. None: there is none.

    A weak one never matches, as the RFC has it: it keeps its `W/`. In quotes `"*"` is an ETag, and no key's.
    """
    values = [value for name, value in headers if name == "if-match"]
    if not values:
        return None
    given = {each.strip() for each in ",".join(values).split(",")}
    return frozenset(each if each == '"*"' else each.removeprefix('"').removesuffix('"') for each in given)
