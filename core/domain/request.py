"""What the caller asks for: one JSON object, checked field by field (contract §3).

Types are strict, `null` in an optional field means absent, and fields that nobody here knows are kept for
upstream. What depends on the model's family is decided in `catalogue.fitting`, not here.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
)

from core.domain.errors import InvalidRequest
from core.domain.http_request import MAX_BODY_BYTES, body_too_large
from core.domain.image_json import MAX_DEPTH, is_too_deep

DEPLOYMENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A deployment's name; to be used with `fullmatch`."""

SIZES: Final = ("256x256", "512x512", "1024x1024", "1792x1024", "1024x1792", "1536x1024", "1024x1536", "auto")
QUALITIES: Final = ("standard", "hd", "low", "medium", "high", "auto")
EXTRA_QUALITIES: Final = ("xhigh", "max")
"""What a family may take besides; which one does is the family's to say."""

_TARGETS_DEFAULT: Final = frozenset({"", "preview", "latest", "v1"})
_DATED: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(-preview)?")

_Size = Annotated[StrictStr, StringConstraints(pattern=r"\A(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})\z")]
_Name = Annotated[StrictStr, StringConstraints(pattern=rf"\A(azure/)?{DEPLOYMENT_NAME.pattern}\z")]


class ImageRequest(BaseModel):
    """A valid request. `fields` is what the caller gave, without the fields that were `null`."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), hide_input_in_errors=True, defer_build=True
    )

    model: Annotated[StrictStr, StringConstraints(min_length=1, max_length=128)]
    prompt: Annotated[StrictStr, StringConstraints(pattern=r"\S", max_length=32_000)]
    n: Annotated[StrictInt, Field(ge=1, le=10)] | None = None
    size: _Size | None = None
    quality: Literal["standard", "hd", "low", "medium", "high", "auto", "xhigh", "max"] | None = None
    style: Literal["natural", "vivid"] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    user: Annotated[StrictStr, StringConstraints(max_length=256)] | None = None
    stream: StrictBool | None = None
    fallbacks: Annotated[list[_Name], Field(max_length=5)] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    moderation: Literal["low", "auto"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[StrictInt, Field(ge=0, le=100)] | None = None
    partial_images: Annotated[StrictInt, Field(ge=0, le=3)] | None = None

    @property
    def images(self) -> int:
        """How many pictures are asked for."""
        return self.n or 1

    @property
    def streams(self) -> bool:
        """Whether the answer is to be a stream."""
        return bool(self.stream)

    @property
    def partials(self) -> int:
        """At most how many unfinished pictures the caller wants to see."""
        return (self.partial_images or 0) if self.streams else 0

    @property
    def fallback_names(self) -> list[str]:
        """The fallbacks' deployment names, in order, without the provider's prefix."""
        return [name.removeprefix("azure/") for name in self.fallbacks or []]

    @property
    def fields(self) -> dict[str, Any]:
        """What was given, known and unknown. A known field that was `null` counts as not given."""
        known = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in known.items() if value is not None} | (self.model_extra or {})


_LEGAL: Final[dict[str, str]] = {
    "model": "a string of 1 to 128 characters",
    "prompt": "a string of at most 32,000 characters that is not blank",
    "n": "an integer between 1 and 10",
    "size": f"one of {', '.join(SIZES)}, or WIDTHxHEIGHT in pixels where the model takes free sizes",
    "quality": f"one of {', '.join((*QUALITIES, *EXTRA_QUALITIES))}",
    "style": "one of natural, vivid",
    "response_format": "one of url, b64_json",
    "user": "a string of at most 256 characters",
    "stream": "true or false",
    "fallbacks": "an array of at most 5 deployment names",
    "fallbacks[]": "a deployment name, or azure/NAME: a letter or digit, then at most 63 of A-Z a-z 0-9 . _ -",
    "background": "one of transparent, opaque, auto",
    "moderation": "one of low, auto",
    "output_format": "one of png, jpeg, webp",
    "output_compression": "an integer between 0 and 100",
    "partial_images": "an integer between 0 and 3",
}
_OUT_OF_RANGE: Final = frozenset({"greater_than_equal", "less_than_equal"})
_WRONG_TYPE: Final = frozenset({"int_type", "string_type", "bool_type", "list_type"})
_NEVER_ECHOED: Final = frozenset({"prompt", "user"})


def parse_request(body: bytes) -> ImageRequest:
    """Read a request's body. Raises BodyTooLarge (413) or InvalidRequest (400) with the first thing wrong."""
    fields = parse_object(body)
    try:
        return ImageRequest.model_validate(fields)
    except ValidationError as invalid:
        raise _first_wrong(invalid, fields) from None


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a body as one JSON object. Raises BodyTooLarge (413) or InvalidRequest (400)."""
    if len(body) > MAX_BODY_BYTES:
        raise body_too_large()
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The request body is not valid JSON (line {error.lineno}, column {error.colno})", code="invalid_json"
        ) from None
    if not isinstance(fields, dict):
        raise InvalidRequest(f"The request body must be a JSON object, got {shown(fields)}", code="invalid_json")
    if is_too_deep(body, fields):
        raise InvalidRequest(f"The request body is nested more than {MAX_DEPTH} deep", code="invalid_json")
    return fields


def parse_api_version(values: list[str]) -> str | None:
    """Read the query's `api-version`: a dated version, or None for the target's default. Raises InvalidRequest."""
    value = values[0] if values else ""
    if len(set(values)) > 1:
        raise InvalidRequest("api-version is given more than once, with different values", param="api-version")
    if value.lower() in _TARGETS_DEFAULT:
        return None
    dated = _DATED.fullmatch(value)
    if dated and _is_date(dated.group(1)):
        return value
    raise InvalidRequest(
        "api-version must be a date such as 2025-04-01-preview, or preview, latest, v1 or left out"
        f" for the deployment's own, got {shown(value)}",
        param="api-version",
    )


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _first_wrong(invalid: ValidationError, fields: dict[str, Any]) -> InvalidRequest:
    first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    name, *rest = first["loc"]
    index = next((part for part in rest if isinstance(part, int)), None)
    param = str(name) if index is None else f"{name}[{index}]"
    legal = _LEGAL[str(name) if index is None else f"{name}[]"]
    if first["type"] == "missing":
        return InvalidRequest(f"{param} is required: {legal}", code="missing_required_parameter", param=param)
    value = fields[str(name)] if index is None else fields[str(name)][index]
    if first["type"] in _OUT_OF_RANGE:
        legal = legal.removeprefix("an integer ")
    got = "" if name in _NEVER_ECHOED else f", got {shown(value)}"
    code = "invalid_type" if first["type"] in _WRONG_TYPE else "invalid_value"
    return InvalidRequest(f"{param} must be {legal}{got}", code=code, param=param)


def shown(value: object) -> str:
    """A value as an error may show it: short, on one line, and never a whole structure."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list():
            return f"an array of {len(value)}"
        case str() if len(value) > 40:
            return f"a string of {len(value)} characters"
        case _:
            return ascii(value)
