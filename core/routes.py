"""The route table: every path of the gateway with its methods and who answers them.

One HTTP trigger takes every path and hands it to the `Router`. A template is matched segment by segment; case does not
matter in its fixed parts, nor does a last slash. What stands in braces is one segment, decoded.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from core.domain.errors import MethodNotAllowed, Misconfigured, NotFound
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

    Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]

_READS: Final = frozenset({"GET", "HEAD"})


class Services(Struct, frozen=True, kw_only=True):
    """Who answers, where the settings are right."""

    gateway: Gateway
    jobs: JobsApi
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


ROUTES: Final = (
    Route(
        name="generate_image",
        templates=("/openai/openai/deployments/{deployment}/images/generations",),
        handlers={"POST": lambda router: router.services.gateway.generate_image},
        outlives_caller=False,
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
        return reply.with_headers({"cache-control": "no-store", **reply.headers, "x-request-id": request.event_id})

    async def _handle(self, route: Route | None, request: HttpRequest) -> HttpResponse:
        if route is None:
            raise NotFound("There is nothing at this path")
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


async def _close(reply: HttpResponse) -> None:
    if isinstance(reply.body, Stream):
        await reply.body.aclose()
