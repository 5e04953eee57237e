"""The whole description, made at the first request and kept."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final

import orjson

from core.admin.forms import KeyChanges, NewKey, Rotation
from core.admin.usage_views import KeyUsage, UsagePage
from core.admin.views import KeyPage, NewSecret, OneKey
from core.domain.request import ImageRequest
from core.domain.response import JSON, HttpResponse
from core.openapi import governance, images
from core.openapi.answers import CompletedEvent, ErrorBody, ErrorEvent, Health, ImagesAnswer, JobView, PartialImageEvent
from core.openapi.parts import HEADERS, Json, answered, headers_of, schemas
from core.refusals import request_id

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = "0.1.0"

_READ: Final = (ImageRequest, NewKey, KeyChanges, Rotation)
_WRITTEN: Final = (
    *(ImagesAnswer, PartialImageEvent, CompletedEvent, ErrorEvent, ErrorBody, JobView, Health),
    *(KeyPage, OneKey, NewSecret, UsagePage, KeyUsage),
)
_CREDENTIALS: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A virtual key (`sk-bf-…`), or a JWT whose `role` is `virtual_key` or `admin`.",
    },
    **{
        name: {"type": "apiKey", "in": "header", "name": header, "description": "The same, as it is."}
        for name, header in (("apiKey", "api-key"), ("xApiKey", "x-api-key"), ("virtualKey", "x-bf-vk"))
    },
}


def answer(headers: Sequence[tuple[str, str]]) -> HttpResponse:
    """Answer with the description, or with 304 where the caller has it (RFC 9110 §13.1.2)."""
    text, etag = _written()
    own = {"x-request-id": request_id(headers), "etag": etag, "cache-control": "no-cache"}
    known = ",".join(value for name, value in headers if name == "if-none-match")
    if etag in [each.strip().removeprefix("W/") for each in known.split(",")]:
        return HttpResponse(status=304, headers=own, body=(b"",))
    return HttpResponse(status=200, headers={**own, "content-type": JSON}, body=(text,))


def description() -> Json:
    """Describe the whole public API."""
    models = schemas(_READ, _WRITTEN)
    models["ImageRequest"] = images.described(models["ImageRequest"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Image gateway for Azure OpenAI",
            "version": VERSION,
            "description": (
                "Pictures from Azure OpenAI deployments, with virtual keys. The API is Bifrost's; SDKs of OpenAI work"
                " unchanged. Every error has one shape (`ErrorBody`), also 404 for any other path and 405 for any other"
                " method. Every answer has `x-request-id`."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [
            {"name": "Images", "description": "Drawing."},
            {"name": "Governance", "description": "Virtual keys and their use, for admins: a JWT of the role `admin`."},
            {"name": "Service", "description": "About the gateway itself."},
        ],
        "security": [{name: []} for name in _CREDENTIALS],
        "paths": {
            images.PATH: {"post": images.operation()},
            "/images/{name}": {"get": images.picture()},
            "/jobs/{id}": images.job(),
            **governance.paths(),
            **_service(),
        },
        "components": {"schemas": models, "headers": dict(HEADERS), "securitySchemes": dict(_CREDENTIALS)},
    }


def _service() -> Json:
    document = {
        "description": "This description.",
        "headers": headers_of("etag"),
        "content": {JSON: {"schema": {"type": "object"}}},
    }
    unchanged = {"description": "It is the one that `If-None-Match` names.", "headers": headers_of("etag")}
    return {
        "/health": {
            "get": {
                "operationId": "getHealth",
                "tags": ["Service"],
                "summary": "Say that the process lives",
                "security": [],
                "responses": {"200": answered(Health, "It does.", example={"status": "ok"})},
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "getOpenApi",
                "tags": ["Service"],
                "summary": "Describe this API",
                "security": [],
                "responses": {"200": document, "304": unchanged},
            }
        },
    }


@cache
def _written() -> tuple[bytes, str]:
    text = orjson.dumps(description())
    return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'
