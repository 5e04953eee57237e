"""The parts that the description is put together from: schemas of models, headers, parameters, answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from tools.openapi.answers import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from tools.openapi.errors import ErrorStatus

Json = dict[str, Any]

JSON: Final = "application/json"
_SCHEMAS: Final = "#/components/schemas/"

HEADERS: Final[Mapping[str, Json]] = {
    "x-request-id": {
        "description": "The caller's, if it is 1 to 128 printable characters, else a new one.",
        "schema": {"type": "string"},
    },
    "etag": {"description": "The key's `etag`, quoted: for `If-Match`.", "schema": {"type": "string"}},
    "accept-encoding": {"description": "`gzip, deflate`.", "schema": {"type": "string"}},
    "preference-applied": {"description": "`respond-async` (RFC 7240).", "schema": {"type": "string"}},
    "location": {"description": "The path of what is new.", "schema": {"type": "string"}},
    "www-authenticate": {"description": "`Bearer` (RFC 6750).", "schema": {"type": "string"}},
    "retry-after": {"description": "After so many seconds.", "schema": {"type": "integer", "minimum": 0}},
    "retry-after-ms": {
        "description": "The same in milliseconds, which SDKs read first.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "x-should-retry": {
        "description": "`false`: asking again may buy a second picture, or cannot help. SDKs obey it.",
        "schema": {"type": "string", "enum": ["false"]},
    },
    "idempotent-replayed": {
        "description": "`true`: this is the answer that there was to the first call of this name.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "x-gateway-hosting": {
        "description": "`failed`: a picture could not be stored, and is in the answer as base64.",
        "schema": {"type": "string", "enum": ["failed"]},
    },
    "x-gateway-deployment": {"description": "The deployment that answered.", "schema": {"type": "string"}},
    "x-gateway-fallback-index": {"description": "0 is the one in the path.", "schema": {"type": "integer"}},
    "x-gateway-attempts": {"description": "How often upstream was called.", "schema": {"type": "integer"}},
    "x-gateway-cost-usd": {"description": "What the call cost in US dollars.", "schema": {"type": "number"}},
    "x-gateway-mapped-params": {
        "description": "Parameters that were given another value, such as an api-version that is too old.",
        "schema": {"type": "string"},
    },
    "x-gateway-dropped-params": {
        "description": "Parameters that the deployment's model does not know, and that were left out.",
        "schema": {"type": "string"},
    },
    **{
        f"x-ratelimit-{what}-{of}": {"description": f"{words} {of} of the key.", "schema": {"type": kind}}
        for of in ("requests", "images")
        for what, words, kind in (
            ("limit", "The limit on", "integer"),
            ("remaining", "What is left of the", "integer"),
            ("reset", "When nothing counts any more, such as `12s`, of the", "string"),
        )
    },
}


def ref(model: type[BaseModel] | str) -> Json:
    """Refer to a model's schema."""
    return {"$ref": _SCHEMAS + (model if isinstance(model, str) else model.__name__)}


def schemas(read: Iterable[type[BaseModel]], written: Iterable[type[BaseModel]]) -> Json:
    """The schemas of all models that are read from requests, and of those that are written into answers."""
    _, found = models_json_schema(
        [*((model, "validation") for model in read), *((model, "serialization") for model in written)],
        ref_template=_SCHEMAS + "{model}",
    )
    return {name: _portable(schema) for name, schema in found["$defs"].items()}


def answered(model: type[BaseModel], description: str, *headers: str, example: Json | None = None) -> Json:
    """An answer with a JSON body."""
    content: Json = {"schema": ref(model)}
    if example is not None:
        content["example"] = example
    return {"description": description, "headers": headers_of(*headers), "content": {JSON: content}}


def refused(errors: Mapping[int, ErrorStatus], examples: Mapping[int, Json]) -> Json:
    """The answers that are errors, by status."""
    found = {}
    for status, error in errors.items():
        found[str(status)] = answered(ErrorBody, error.described(), *error.headers, example=examples.get(status))
    return found


def headers_of(*names: str) -> Json:
    """Headers by their names, with the one that every answer has."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *names)}


def parameter(name: str, where: str, schema: Json, description: str, *, required: bool = False, **more: Any) -> Json:
    """A parameter."""
    return {
        "name": name,
        "in": where,
        "required": required or where == "path",
        "schema": schema,
        "description": description,
        **more,
    }


def _portable(schema: Any) -> Any:
    """A schema without what only pydantic needs: titles that repeat names, and anchors of Rust's expressions."""
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _portable(value) for name, value in schema.items() if name != "title" or not isinstance(value, str)}
    if isinstance(found.get("pattern"), str):
        found["pattern"] = found["pattern"].replace(r"\A", "^").replace(r"\z", "$")
    return found
