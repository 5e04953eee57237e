"""What the caller asks for: one JSON object, checked field by field (contract §3).

Types are strict, `null` in an optional field means absent, and fields that nobody here knows are kept for
upstream. What depends on the model's family is decided in `catalogue.fitting`, not here.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Final, Literal

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
from core.domain.json_input import parse_object, shown
from core.domain.wrong_field import wrong_field

DEPLOYMENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A deployment's name; to be used with `fullmatch`."""

MAX_MODEL_CHARACTERS: Final = 128

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

    model: Annotated[StrictStr, StringConstraints(min_length=1, max_length=MAX_MODEL_CHARACTERS)]
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
_NEVER_ECHOED: Final = frozenset({"prompt", "user"})
_DEPLOYMENT: Final = "a deployment name: a letter or digit, then at most 63 of A-Z a-z 0-9 . _ -"


def parse_request(body: bytes, deployment: str | None) -> ImageRequest:
    """Read a request's body (see `read_request`). Raises InvalidRequest (400)."""
    return read_request(parse_object(body), deployment)


def read_request(fields: dict[str, Any], deployment: str | None) -> ImageRequest:
    """Read a request whose path names the `deployment`; None: its `model` does, and has that form.

    Raises InvalidRequest (400) with the first thing wrong.
    """
    if deployment is not None and fields.get("model") is None:
        fields = {**fields, "model": deployment}
    try:
        request = ImageRequest.model_validate(fields)
    except ValidationError as invalid:
        raise wrong_field(invalid, fields, _LEGAL, _NEVER_ECHOED) from None
    if deployment is None and not DEPLOYMENT_NAME.fullmatch(request.model):
        raise InvalidRequest(f"model must be {_DEPLOYMENT}, got {shown(request.model)}", param="model")
    return request


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
