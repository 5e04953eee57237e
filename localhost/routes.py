"""Route templates as ASP.NET reads them, and which function gets a call. No I/O.

A template becomes one regular expression over the decoded path: `images/{id:int}/{*rest}` matches
`/images/7/a/b` and gives `{"id": "7", "rest": "a/b"}`. What differs from most Python routers: case does
not matter, a trailing slash does not matter, and of two functions that match, the one whose *name* comes
first in the alphabet wins, not the one with the more specific template (azure-functions-host#9876).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localhost import constraints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Template text: an escaped brace, a parameter, a slash, or anything else.
_TOKEN = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<parameter>(?:[^{}]|\{\{|\}\})+)\}|/|[^{}/]+")
_PARAMETER = re.compile(
    r"(?P<stars>\*{0,2})(?P<name>[^*?:=/]+)"
    r"(?P<constraints>(?::\w+(?:\(.*?\)(?=[:=?]|$))?)*)"
    r"(?:=(?P<default>.*)|(?P<optional>\?))?",
    re.DOTALL,
)
_CONSTRAINT = re.compile(r":(\w+)(?:\((.*?)\)(?=:|$))?", re.DOTALL)
_CATCH_ALL = "([^/].*)?"
# An encoded slash is not decoded, so that it stays inside its segment.
_ESCAPES = re.compile(r"(?:%(?!2[Ff])[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One `{name}` of a template."""

    name: str
    catch_all: bool = False
    optional: bool = False
    default: str | None = None
    checks: tuple[constraints.Check, ...] = ()

    @property
    def may_be_absent(self) -> bool:
        return self.catch_all or self.optional or self.default is not None

    def admits(self, value: str | None) -> bool:
        if value is None:
            return self.optional or not self.checks
        return all(check(value) for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A route template, parsed."""

    pattern: re.Pattern[str]
    parameters: tuple[Parameter, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """Return the route parameters that `path` gives, or None if it is not of this route."""
        if not (found := self.pattern.fullmatch(path)):
            return None
        values: dict[str, str] = {}
        for parameter, text in zip(self.parameters, found.groups(), strict=True):
            value = text or parameter.default
            if not parameter.admits(value):
                return None
            if value is not None:
                values[parameter.name] = value
        return values


@dataclass(frozen=True, kw_only=True)
class Route:
    """A function's place: which paths and methods are its own. No methods means every method."""

    function: str
    template: Template
    methods: frozenset[str] = frozenset()

    @classmethod
    def of(cls, function: str, trigger: Mapping[str, Any], prefix: str) -> Route:
        """Read what an HTTP trigger says: its `route`, else the function's name, and its `methods`."""
        template = parse(f"{prefix}/{trigger.get('route') or function}")
        methods = frozenset(map(str.upper, trigger.get("methods", ())))
        return cls(function=function, template=template, methods=methods)

    def match(self, method: str, path: str) -> dict[str, str] | None:
        if self.methods and method.upper() not in self.methods:
            return None
        return self.template.match(path)


def http_trigger(bindings: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the HTTP trigger among a function's bindings, if there is one."""
    return next((binding for binding in bindings if binding["type"] == "httpTrigger"), None)


@dataclass(frozen=True)
class Table:
    """All routes of an app, in the order in which they are asked."""

    routes: tuple[Route, ...]

    @classmethod
    def of(cls, routes: Iterable[Route]) -> Table:
        return cls(tuple(sorted(routes, key=lambda route: (route.function.casefold(), route.function))))

    def find(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """Return the name of the function that gets this call, and its route parameters."""
        for route in self.routes:
            if (values := route.match(method, path)) is not None:
                return route.function, values
        return None


def decoded(raw_path: bytes) -> str:
    """Return the path as Kestrel hands it to routing: decoded but for %2F, without dot segments."""
    kept: list[str] = []
    for segment in _ESCAPES.sub(_unescaped, raw_path.decode("latin-1")).split("/"):
        if segment == "..":
            del kept[max(1, len(kept) - 1) :]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


def _unescaped(escapes: re.Match[str]) -> str:
    try:
        return bytes.fromhex(escapes[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return escapes[0]


def parse(text: str) -> Template:
    """Read a template, or raise ValueError with what is wrong with it."""
    segments = _segments(text)
    parameters = [part for parts in segments for part in parts if isinstance(part, Parameter)]
    names = {parameter.name.casefold() for parameter in parameters}
    if len(names) < len(parameters):
        raise ValueError(f"route {text!r} names a parameter twice")
    if any(parameter.catch_all for parts in segments[:-1] for parameter in parameters if parameter in parts):
        raise ValueError(f"route {text!r} goes on after its catch-all")
    return Template(pattern=_pattern(segments), parameters=tuple(parameters))


def _segments(text: str) -> list[list[str | Parameter]]:
    segments: list[list[str | Parameter]] = [[]]
    position = 0
    while position < len(text):
        if not (token := _TOKEN.match(text, position)):
            raise ValueError(f"route {text!r} has a brace without its partner")
        position = token.end()
        if token[0] == "/":
            segments.append([])
        elif token["parameter"]:
            segments[-1].append(_parameter(token["parameter"].replace("{{", "{").replace("}}", "}")))
        else:
            segments[-1].append(token[0][0] if token["brace"] else token[0])
    segments = [parts for parts in segments if parts]
    for parts in segments:
        if len(parts) > 1 and any(isinstance(part, Parameter) and part.may_be_absent for part in parts):
            raise ValueError(f"route {text!r} has a parameter that may be absent beside other text")
    return segments


def _parameter(text: str) -> Parameter:
    if not (found := _PARAMETER.fullmatch(text)):
        raise ValueError(f"{{{text}}} is not a route parameter")
    return Parameter(
        name=found["name"],
        catch_all=bool(found["stars"]),
        optional=bool(found["optional"]),
        default=found["default"],
        checks=tuple(constraints.check(*one) for one in _CONSTRAINT.findall(found["constraints"])),
    )


def _pattern(segments: list[list[str | Parameter]]) -> re.Pattern[str]:
    """One group for each parameter; from the first that may be absent to the end, each within the last."""
    required = len(segments)
    while required and getattr(segments[required - 1][0], "may_be_absent", False):
        required -= 1
    tail = ""
    for parts in reversed(segments[required:]):
        tail = f"(?:/{_segment(parts)}{tail})?"
    if not tail.endswith(f"{_CATCH_ALL})?"):  # which has taken a trailing slash already
        tail += "/?"
    head = "".join(f"/{_segment(parts)}" for parts in segments[:required])
    return re.compile(head + tail, re.IGNORECASE | re.ASCII | re.DOTALL)


def _segment(parts: list[str | Parameter]) -> str:
    return "".join(
        re.escape(part) if isinstance(part, str) else _CATCH_ALL if part.catch_all else "([^/]+)" for part in parts
    )
