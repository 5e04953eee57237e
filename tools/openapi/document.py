"""The whole description of the API."""

from __future__ import annotations

from typing import Final

from core.admin.forms import KeyChanges, NewKey, Rotation
from core.admin.usage import KeyUsage, UsagePage
from core.admin.views import KeyPage, NewSecret, OneKey
from core.domain.request import ImageRequest
from core.domain.response import JSON
from core.routes import ROUTES, Route
from tools.openapi import governance, images
from tools.openapi.answers import (
    CompletedEvent,
    ErrorBody,
    ErrorEvent,
    Health,
    ImagesAnswer,
    JobView,
    Model,
    ModelPage,
    PartialImageEvent,
)
from tools.openapi.parts import HEADERS, Json, answered, headers_of, schemas

VERSION: Final = "0.1.0"

_READ: Final = (ImageRequest, NewKey, KeyChanges, Rotation)
_WRITTEN: Final = (
    *(ImagesAnswer, PartialImageEvent, CompletedEvent, ErrorEvent, ErrorBody, JobView, Model, ModelPage, Health),
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


def description() -> Json:
    """Describe the whole public API."""
    models = schemas(_READ, _WRITTEN)
    models["ImageRequest"] = images.described(models["ImageRequest"])
    items = {**images.items(), **governance.items(), **_service()}
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
        "paths": {route.templates[0]: _with_other_paths(items[route.name], route) for route in ROUTES},
        "components": {"schemas": models, "headers": dict(HEADERS), "securitySchemes": dict(_CREDENTIALS)},
    }


def _with_other_paths(item: Json, route: Route) -> Json:
    """An item whose operations name the other paths at which they are."""
    others = "".join(f"\n* `{template}`" for template in route.templates[1:])
    return {
        name: {**each, "description": f"{each['description']}\n\nThe same at\n{others}"}
        if others and isinstance(each, dict)
        else each
        for name, each in item.items()
    }


def _service() -> Json:
    document = {
        "description": "This description.",
        "headers": headers_of("etag"),
        "content": {JSON: {"schema": {"type": "object"}}},
    }
    unchanged = {"description": "It is the one that `If-None-Match` names.", "headers": headers_of("etag")}
    return {
        "health": {
            "get": {
                "operationId": "getHealth",
                "tags": ["Service"],
                "summary": "Say that the process lives",
                "security": [],
                "responses": {"200": answered(Health, "It does.", example={"status": "ok"})},
            }
        },
        "openapi": {
            "get": {
                "operationId": "getOpenApi",
                "tags": ["Service"],
                "summary": "Describe this API",
                "security": [],
                "responses": {"200": document, "304": unchanged},
            }
        },
    }
