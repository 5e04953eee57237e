"""The description of the one call that the gateway is for."""

from __future__ import annotations

from typing import Any, Final

from core.domain.errors import AuthUnavailable, InvalidRequest, Unauthenticated
from core.domain.request import DEPLOYMENT_NAME, ImageRequest
from tools.openapi.answers import EVERY_EVENT, ImagesAnswer, JobView, Model, ModelPage
from tools.openapi.errors import OF_A_CANCELLATION, OF_A_JOB, OF_A_PICTURE, OF_IMAGES, OF_MODELS, example
from tools.openapi.parts import JSON, Json, answered, headers_of, parameter, ref, refused

FIELDS: Final[dict[str, str]] = {
    "model": "The deployment, where the path names none. Else a label for errors and logs, which may be left out.",
    "prompt": "What to draw. Not blank; some models take 4,000 characters.",
    "n": "How many pictures; 1 if it is left out.",
    "size": "One of the documented sizes, or `WIDTHxHEIGHT` where the deployment's model takes free sizes.",
    "quality": "`standard` and `hd` are `medium` and `high` on GPT-image models, and the other way round on DALL·E 3.",
    "style": "For DALL·E 3. GPT-image models do not know it; then it is left out, and a header says so.",
    "response_format": "If it is left out, what the model gives by itself: `b64_json` on GPT-image models. No effect on"
    " streams.",
    "user": "Whoever the picture is for, in the caller's own terms.",
    "stream": "Whether to answer with server-sent events.",
    "fallbacks": "Deployments to try, in this order, when the one before fails: `NAME` or `azure/NAME`.",
    "background": "For GPT-image models. `transparent` does not go with `jpeg`.",
    "moderation": "For GPT-image models.",
    "output_format": "For GPT-image models.",
    "output_compression": "For GPT-image models, with `jpeg` or `webp`.",
    "partial_images": "At most how many unfinished pictures to see before each finished one, in a stream.",
}
"""What each field is for. Types and bounds are the model's."""

_REQUEST: Final[Json] = {
    "model": "gpt-image-2",
    "prompt": "A lighthouse at dawn",
    "size": "1024x1024",
    "quality": "medium",
    "fallbacks": ["gpt-image-1.5"],
}
_EXTRA: Final[Json] = {
    "provider": "azure",
    "model_requested": "gpt-image-2",
    "deployment": "gpt-image-2",
    "request_type": "image_generation",
    "latency_ms": 18250,
    "fallback_index": 0,
    "attempts": [{"deployment": "gpt-image-2", "outcome": "picture", "status": 200, "latency_ms": 18241}],
}
_USAGE: Final[Json] = {
    "input_tokens": 12,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
    "output_tokens": 1056,
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 1056},
    "total_tokens": 1068,
}
_ANSWER: Final[Json] = {
    "created": 1795176000,
    "data": [{"b64_json": "iVBORw0KGgo…", "index": 0}],
    "background": "opaque",
    "output_format": "png",
    "quality": "medium",
    "size": "1024x1024",
    "usage": _USAGE,
    "extra_fields": _EXTRA,
}
_JOB: Final[Json] = {
    "id": "5f2a9c1e019aa0b1c2d35f2a9c1e0001",
    "status": "queued",
    "deployment": "gpt-image-2",
    "event_id": "6f1d7c0b1f0f4c5d9d0c2f6f3a4b5c6d",
    "created_at": "2026-11-20T12:00:00+00:00",
    "ended_at": None,
}
_STREAM: Final = """\
: keep-alive

event: image_generation.partial_image
data: {"type":"image_generation.partial_image","b64_json":"iVBORw0KGgo…","partial_image_index":0,"index":0}

event: image_generation.completed
data: {"type":"image_generation.completed","b64_json":"iVBORw0KGgo…","index":0,"usage":{…},"extra_fields":{…}}

"""
_ANSWER_HEADERS: Final = (
    *("idempotent-replayed", "x-gateway-hosting"),
    *("x-gateway-deployment", "x-gateway-fallback-index", "x-gateway-attempts", "x-gateway-dropped-params"),
    *("x-gateway-mapped-params", "x-gateway-cost-usd"),
    *(f"x-ratelimit-{what}-{of}" for of in ("requests", "images") for what in ("limit", "remaining", "reset")),
)


def items() -> Json:
    """What stands at the paths of each route, by the route's name."""
    return {
        "generate_image": {"post": _generate("generateImage", [_DEPLOYMENT])},
        "generate_image_by_model": {"post": _generate("generateImageByModel", [])},
        "list_models": {"get": _models("listModels", "List the deployments that the caller may call", ModelPage)},
        "show_model": {
            "parameters": [parameter("model", "path", {"type": "string"}, "The deployment.", example="gpt-image-2")],
            "get": _models("getModel", "Show a deployment that the caller may call", Model),
        },
        "show_image": {"get": _picture()},
        "job": _job(),
    }


_DEPLOYMENT: Final = parameter(
    "deployment",
    "path",
    {"type": "string", "pattern": f"^{DEPLOYMENT_NAME.pattern}$"},
    "The deployment that draws.",
    example="gpt-image-2",
)
_MODEL: Final[Json] = {"id": "gpt-image-2", "object": "model", "created": 0, "owned_by": "azure"}


def _models(operation_id: str, summary: str, model: type[ModelPage | Model]) -> Json:
    example = _MODEL if model is Model else {"object": "list", "data": [_MODEL]}
    return {
        "operationId": operation_id,
        "tags": ["Images"],
        "summary": summary,
        "description": "As OpenAI lists its models. Without a catalogue: the known model families.",
        "responses": {"200": answered(model, "What there is.", example=example), **refused(OF_MODELS, {})},
    }


def _generate(operation_id: str, path_parameters: list[Json]) -> Json:
    where = "in the path" if path_parameters else "that `model` names"
    return {
        "operationId": operation_id,
        "tags": ["Images"],
        "summary": "Create image",
        "description": (
            f"Draws pictures on the deployment {where}, or on one of the fallbacks. What its model cannot honour,"
            " such as a size that it does not know, is a 400 before anything is drawn. Fields that are not listed here"
            " are passed on to the model. Every field but `prompt` may be `null`, which is as if it were left"
            " out."
        ),
        "parameters": [
            *path_parameters,
            parameter(
                "api-version",
                "query",
                {"type": "string"},
                "A date, with or without `-preview`, goes upstream as it is; `preview`, `latest`, `v1` or none is the"
                " deployment's own.",
                example="2025-04-01-preview",
            ),
            parameter(
                "Idempotency-Key",
                "header",
                {"type": "string", "minLength": 1, "maxLength": 255},
                "A name of the caller's for this call. Asked again with the same name, nothing is drawn again: the"
                " answer is the one that there was.",
            ),
            parameter(
                "Idempotency-Retry",
                "header",
                {"type": "string", "enum": ["accept-duplicate"]},
                "Draw again where it is not known what came of the call of that name.",
            ),
            parameter(
                "Prefer",
                "header",
                {"type": "string"},
                "`respond-async`: answer with a job at once, which is drawn later and may take longer than a call"
                " (RFC 7240). No effect on streams.",
                example="respond-async",
            ),
            parameter(
                "x-request-id", "header", {"type": "string"}, "A name for this call, for the answer and the log."
            ),
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": ref(ImageRequest), "example": _REQUEST}}},
        "responses": {"200": _pictures(), "202": _ordered(), **refused(OF_IMAGES, _examples())},
    }


def _job() -> Json:
    headers = ("retry-after",)
    shared = {"tags": ["Images"]}
    return {
        "parameters": [
            parameter("id", "path", {"type": "string", "minLength": 1}, "The job's id.", example=_JOB["id"])
        ],
        "get": {
            **shared,
            "operationId": "getJob",
            "summary": "Show a job",
            "description": "To the caller who ordered it, and to admins.",
            "responses": {"200": answered(JobView, "The job.", *headers, example=_JOB), **refused(OF_A_JOB, {})},
        },
        "delete": {
            **shared,
            "operationId": "cancelJob",
            "summary": "Cancel a job",
            "description": "What has not begun is not drawn, and costs nothing.",
            "responses": {
                "200": answered(JobView, "It is cancelled.", example={**_JOB, "status": "cancelled"}),
                **refused(OF_A_CANCELLATION, {}),
            },
        },
    }


def _picture() -> Json:
    return {
        "operationId": "getImage",
        "tags": ["Images"],
        "summary": "Show a stored picture",
        "description": "At the `url` of an answer, where the gateway itself is asked for it. Its name is its key.",
        "security": [],
        "parameters": [parameter("name", "path", {"type": "string", "minLength": 1}, "The picture's name.")],
        "responses": {
            "200": {
                "description": "The picture.",
                "headers": headers_of(),
                "content": {"image/*": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}},
            },
            **refused(OF_A_PICTURE, {}),
        },
    }


def described(schema: Json) -> Json:
    """The schema of the request's body with the words of each field."""
    properties = {name: {**field, "description": FIELDS[name]} for name, field in schema["properties"].items()}
    return {**schema, "description": "What to draw.", "properties": properties, "required": ["prompt"]}


def _pictures() -> Json:
    whole = answered(
        ImagesAnswer, "Pictures: JSON, or with `stream: true` server-sent events.", *_ANSWER_HEADERS, example=_ANSWER
    )
    whole["headers"] = headers_of(*_ANSWER_HEADERS)
    whole["content"]["text/event-stream"] = {
        "schema": {
            "type": "string",
            "description": (
                "Partial images, if they were asked for, then one `completed` for each picture, and the end. Silence is"
                " filled with comments. A failure after the first byte is a last event `error`. `x-events` has the"
                " schema of the `data` of each event."
            ),
        },
        "x-events": {name: ref(model) for name, model in EVERY_EVENT.items()},
        "example": _STREAM,
    }
    return whole


def _ordered() -> Json:
    headers = ("location", "preference-applied", "retry-after", "idempotent-replayed")
    return answered(JobView, "With `Prefer: respond-async`: the job that has been ordered.", *headers, example=_JOB)


def _examples() -> dict[int, dict[str, Any]]:
    return {
        400: example(InvalidRequest("n must be between 1 and 10, got 11", param="n")),
        401: example(Unauthenticated("The credentials are not valid", code="invalid_credentials")),
        503: example(AuthUnavailable()),
    }
