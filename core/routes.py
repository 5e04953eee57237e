"""The route table: every path of the gateway with its methods and who answers them.

One HTTP trigger takes every path and hands it to the `Router`. A template is matched segment by segment; case does not
matter in its fixed parts, nor does a last slash. What stands in braces is one segment, decoded.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from core.cors import CorsPolicy
from core.domain.errors import MethodNotAllowed, Misconfigured, NotFound
from core.domain.request import DEPLOYMENT_NAME
from core.domain.response import JSON, HttpResponse, Stream, json_response
from core.errors_http import GENERATION, RouteErrors, guard
from core.tasks import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from core.admin.http_api import AdminApi
    from core.domain.http_request import HttpRequest
    from core.gateway import Gateway
    from core.jobs.http_api import JobsApi
    from core.model_list import ModelsApi

    Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]

_MAX_SHOWN_PATH: Final = 128
"""How much of a path an error repeats, in characters."""
_READS: Final = frozenset({"GET", "HEAD"})


class Services(Struct, frozen=True, kw_only=True):
    """Who answers, where the settings are right."""

    gateway: Gateway
    jobs: JobsApi
    models: ModelsApi
    cors: CorsPolicy
    admin: Callable[[], AdminApi]
    """Imports and makes it with its first call."""


class Route(Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    templates: tuple[str, ...]
    handlers: Mapping[str, Callable[[Router], Handler]]
    """By method. Who answers GET answers HEAD, too."""
    request_type: str = GENERATION
    """What the error body calls such a call."""
    outlives_caller: bool = True
    """Whether it is carried out to its end when its caller leaves meanwhile."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it takes."""
        methods = tuple(self.handlers)
        return ("GET", "HEAD", *methods[1:]) if methods[0] == "GET" else methods


_PREFIXES: Final = ("/openai/v1", "/v1", "/openai/openai/v1", "/openai", "/openai/openai")
"""Where clients of OpenAI and of Azure OpenAI look, with `https://HOST` or `https://HOST/openai` as their address."""

ROUTES: Final = (
    Route(
        name="generate_image",
        templates=(
            "/openai/openai/deployments/{deployment}/images/generations",
            "/openai/deployments/{deployment}/images/generations",
        ),
        handlers={"POST": lambda router: router.services.gateway.generate_image},
        outlives_caller=False,
    ),
    Route(
        name="generate_image_by_model",
        templates=tuple(f"{prefix}/images/generations" for prefix in _PREFIXES),
        handlers={"POST": lambda router: router.services.gateway.generate_image},
        outlives_caller=False,
    ),
    Route(
        name="list_models",
        templates=(
            *(f"{prefix}/models" for prefix in _PREFIXES),
            *(f"{prefix}/deployments/{{deployment}}/models" for prefix in _PREFIXES),
        ),
        handlers={"GET": lambda router: router.services.models.list_models},
        request_type="list_models",
    ),
    Route(
        name="show_model",
        templates=tuple(f"{prefix}/models/{{model}}" for prefix in _PREFIXES),
        handlers={"GET": lambda router: router.services.models.show_model},
        request_type="list_models",
    ),
    Route(
        name="show_image",
        templates=("/images/{name}",),
        handlers={"GET": lambda router: router.services.gateway.show_image},
    ),
    Route(
        name="job",
        templates=("/jobs/{id}",),
        handlers={
            "GET": lambda router: router.services.jobs.show,
            "DELETE": lambda router: router.services.jobs.cancel,
        },
        request_type="image_generation_job",
    ),
    Route(
        name="virtual_keys",
        templates=("/api/governance/virtual-keys",),
        handlers={
            "GET": lambda router: router.services.admin().list_keys,
            "POST": lambda router: router.services.admin().create_key,
        },
        request_type="governance",
    ),
    Route(
        name="virtual_key",
        templates=("/api/governance/virtual-keys/{id}",),
        handlers={
            "GET": lambda router: router.services.admin().show_key,
            "PUT": lambda router: router.services.admin().change_key,
            "DELETE": lambda router: router.services.admin().delete_key,
        },
        request_type="governance",
    ),
    Route(
        name="rotate_virtual_key",
        templates=("/api/governance/virtual-keys/{id}/rotate",),
        handlers={"POST": lambda router: router.services.admin().rotate_key},
        request_type="governance",
    ),
    Route(
        name="virtual_key_usage",
        templates=("/api/governance/virtual-keys/{id}/usage",),
        handlers={"GET": lambda router: router.services.admin().show_usage_of_key},
        request_type="governance",
    ),
    Route(
        name="usage",
        templates=("/api/governance/usage",),
        handlers={"GET": lambda router: router.services.admin().show_usage},
        request_type="governance",
    ),
    Route(name="health", templates=("/health",), handlers={"GET": lambda router: router.show_health}),
    Route(name="openapi", templates=("/openapi.json",), handlers={"GET": lambda router: router.show_openapi}),
)
_TEMPLATES: Final = tuple((template.split("/")[1:], route) for route in ROUTES for template in route.templates)


def find_route(path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a percent-encoded path, and what its template names in it."""
    segments = [unquote(segment) for segment in path.removeprefix("/").removesuffix("/").split("/")]
    for template, route in _TEMPLATES:
        if len(template) == len(segments):
            found = _match(template, segments)
            if found is not None:
                return route, found
    return None


def _match(template: list[str], segments: list[str]) -> dict[str, str] | None:
    found = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected[0] == "{" and segment:
            found[expected[1:-1]] = segment
        elif expected != segment.lower():
            return None
    return found


class Router:
    """Answers every request."""

    def __init__(self, services: Services | None, *, openapi: Path) -> None:
        """`services` None: the settings are wrong. `openapi` is the file of `GET /openapi.json`."""
        self._services = services
        self._cors = CorsPolicy() if services is None else services.cors
        self._openapi = openapi

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request. Only cancellation is raised: the caller has gone."""
        route, parameters = find_route(request.path) or (None, {})
        errors = RouteErrors(
            event_id=request.event_id,
            request_type=GENERATION if route is None else route.request_type,
            is_retry_safe=request.method in _READS,
        )
        work = guard(self._handle(route, replace(request, parameters=parameters)), errors)
        if route is not None and route.outlives_caller:
            reply = await uninterrupted(work, undo=_close)
        else:
            reply = await work
        reply = reply.with_headers({"cache-control": "no-store", **reply.headers, "x-request-id": request.event_id})
        return self._cors.open(request, reply)

    async def _handle(self, route: Route | None, request: HttpRequest) -> HttpResponse:
        if route is None:
            raise _unknown_path(request.path)
        preflight = self._cors.preflight(request, route.methods)
        if preflight is not None:
            return preflight
        handler = route.handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise MethodNotAllowed(request.method, ", ".join(route.methods))
        return await handler(self)(request)

    @property
    def services(self) -> Services:
        """Who answers. Raises Misconfigured (503) where the settings are wrong."""
        if self._services is None:
            raise Misconfigured
        return self._services

    async def show_health(self, _: HttpRequest) -> HttpResponse:
        """Say that the process lives. It touches nothing."""
        return json_response(200, {"status": "misconfigured" if self._services is None else "ok"})

    async def show_openapi(self, request: HttpRequest) -> HttpResponse:
        """Show the description of this API, or 304 to whoever has it (RFC 9110 §13.1.2)."""
        text, etag = self._description
        headers = {"etag": etag, "cache-control": "no-cache"}
        known = ",".join(value for name, value in request.headers if name == "if-none-match").split(",")
        if etag in [each.strip().removeprefix("W/") for each in known]:
            return HttpResponse(status=304, headers=headers, body=(b"",))
        return HttpResponse(status=200, headers={**headers, "content-type": JSON}, body=(text,))

    @cached_property
    def _description(self) -> tuple[bytes, str]:
        text = self._openapi.read_bytes()
        return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'


def _unknown_path(path: str) -> NotFound:
    import difflib  # noqa: PLC0415 -- for mistakes only

    asked = unquote(path)[:_MAX_SHOWN_PATH]
    named = re.search("/deployments/([^/]+)", asked, re.IGNORECASE)
    deployment = named[1] if named and DEPLOYMENT_NAME.fullmatch(named[1]) else "{deployment}"
    known = [template.replace("{deployment}", deployment) for route in ROUTES for template in route.templates]
    near = difflib.get_close_matches(re.sub("/+", "/", asked).lower(), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; GET /openapi.json lists what there is"
    return NotFound(f"There is nothing at {ascii(asked)[1:-1]}{hint}")


async def _close(reply: HttpResponse) -> None:
    if isinstance(reply.body, Stream):
        await reply.body.aclose()
