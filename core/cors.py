"""Other people's pages: which may read the gateway's answers in a browser (Fetch standard, "CORS protocol")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from core.domain.response import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.domain.http_request import HttpRequest

EVERY_ORIGIN: Final = "*"
_PREFLIGHT_SECONDS: Final = 7200
"""How long a browser may remember a preflight; Chromium takes no longer."""
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(, ?[A-Za-z0-9!#$%&'*+.^_`|~-]+){0,49}")


class CorsPolicy(Struct, frozen=True):
    """The origins of the pages that may call; `*` among them: all. Without any, none may."""

    origins: frozenset[str] = frozenset()

    def preflight(self, request: HttpRequest, methods: Sequence[str]) -> HttpResponse | None:
        """Answer a browser that asks whether a page may make a call; None: this is none, or the page may not."""
        if request.method != "OPTIONS" or request.header("access-control-request-method") is None:
            return None
        if self._allowed(request) is None:
            return None
        headers = {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-max-age": str(_PREFLIGHT_SECONDS),
            "vary": "access-control-request-headers",
        }
        asked = request.header("access-control-request-headers") or ""
        if _HEADER_NAMES.fullmatch(asked):
            headers["access-control-allow-headers"] = asked
        return HttpResponse(status=204, headers=headers, body=(b"",))

    def open(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Let a page of an allowed origin read an answer and all of its headers."""
        if not self.origins:
            return response
        headers = {}
        allowed = self._allowed(request)
        if allowed is not None:
            headers["access-control-allow-origin"] = allowed
            headers["access-control-expose-headers"] = ", ".join(response.headers)
        if EVERY_ORIGIN not in self.origins:  # what a cache holds is for one origin
            headers["vary"] = ", ".join(filter(None, (response.headers.get("vary"), "origin")))
        return response.with_headers(headers)

    def _allowed(self, request: HttpRequest) -> str | None:
        """The origin that an answer is opened to."""
        origin = request.header("origin")
        if origin is None or EVERY_ORIGIN in self.origins:
            return None if origin is None else EVERY_ORIGIN
        return origin if origin in self.origins else None
