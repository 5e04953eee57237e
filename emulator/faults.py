"""Every failure on request: a table from a fault's name to what it does.

A fault is asked for by the deployment's name (see `emulator.names`) or by the header `x-emulator-fault`. It
happens to calls that are otherwise good: a wrong key, an unknown deployment or a bad body is refused as ever.
A row says which calls it is for. `stream` faults leave plain JSON calls alone (they draw as usual), `json`
faults leave streams alone. K counts partial images: those sent first, of the ones that were asked for; N is
a number, MS are milliseconds.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from emulator import errors
from emulator import refusals as say
from emulator.answers import Manner
from emulator.errors import TEXT, Answer
from emulator.stream import Ending, Script

For = Literal["every", "json", "stream"]


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What is done in place of drawing: an answer, or none at all."""

    does: Answer | Literal["reset", "close", "hang"]
    wait: float = 0.0
    """Seconds before it is done."""


Fault = Manner | Instead


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    pattern: str
    """The fault's name; a last word of N, K or MS stands for a number."""
    calls: For
    says: str
    make: Callable[[int], Fault]
    """Makes the fault from the number in its name (0 if it has none)."""

    def matches(self, name: str) -> bool:
        """Say whether this is the row for a fault's full name."""
        literal, numbered = self._parts()
        return re.fullmatch(re.escape(literal) + r"\d{1,8}" * numbered, name) is not None

    def fault(self, name: str, *, stream: bool) -> Fault:
        """Make the fault for a call; where it is not for calls of this kind, a good answer."""
        if self.calls not in ("every", "stream" if stream else "json"):
            return Manner()
        literal, numbered = self._parts()
        return self.make(int(name.removeprefix(literal)) if numbered else 0)

    def _parts(self) -> tuple[str, bool]:
        literal = re.sub("(?<=-)(N|K|MS)$", "", self.pattern)
        return literal, literal != self.pattern


def find(name: str) -> Row | None:
    """Find the row for a fault's full name, e.g. `429-retry-after-7`."""
    return next((row for row in FAULTS if row.matches(name)), None)


def _answer(make: Callable[..., Answer], *values: Any) -> Callable[[int], Fault]:
    return lambda _: Instead(does=make(*values))


def _later(status: int) -> Callable[[int], Fault]:
    return lambda ms: Instead(does=say.failed(status), wait=ms / 1000)


def _throttled(header: str, value: Callable[[int], str] = str) -> Callable[[int], Fault]:
    return lambda number: Instead(does=say.throttled(**{header: value(number)}))


def _manner(**how: Any) -> Callable[[int], Fault]:
    return lambda _: Manner(**how)


def _script(**how: Any) -> Callable[[int], Fault]:
    return lambda _: Manner(script=Script(**how))


def _after(ending: Ending, problem: Callable[..., bytes] = bytes, *values: Any) -> Callable[[int], Fault]:
    return lambda count: Manner(script=Script(ending=ending, stop_after=count, problem=problem(*values)))


def _rows(calls: For, *rows: tuple[str, str, Callable[[int], Fault]]) -> tuple[Row, ...]:
    return tuple(Row(pattern, calls, says, make) for pattern, says, make in rows)


_REFUSED = _rows(
    "every",
    ("content-policy", "400 content_policy_violation with inner_error", _answer(say.content_policy)),
    ("content-filter", "400 contentFilter", _answer(say.content_filter)),
    ("moderation-blocked", "400 moderation_blocked", _answer(say.moderation_blocked)),
    ("refused-403", "403 content_policy_violation", _answer(say.content_policy, 403)),
    ("unknown-parameter", "400 unknown_parameter", _answer(errors.unknown_parameter, "prompt")),
    ("invalid-payload", "400 invalidPayload", _answer(errors.invalid_property, "quality")),
    ("400-plain", "400 in plain text", _answer(Answer, 400, b"Bad Request", (TEXT,))),
    ("401", "401, for a good key", _answer(errors.access_denied)),
    ("403", "403 Forbidden: network rules", _answer(say.forbidden, say.NO_PUBLIC_ACCESS)),
    ("blocked", "403 Forbidden: resource blocked", _answer(say.forbidden, say.RESOURCE_BLOCKED)),
    ("404", "404 DeploymentNotFound", _answer(errors.deployment_not_found)),
    ("413", "413", _answer(say.failed, 413)),
    ("422", "422", _answer(say.failed, 422)),
)

_THROTTLED = _rows(
    "every",
    ("429", "429, both headers say 20 s", _answer(say.throttled_for_20_seconds)),
    ("429-bare", "429 without a header", _answer(say.throttled)),
    ("429-retry-after-N", "429, retry-after: N", _throttled("retry_after")),
    ("429-retry-after-ms-N", "429, retry-after-ms: N", _throttled("retry_after_ms")),
    ("429-retry-after-date-N", "429, retry-after: the HTTP date in N s", _throttled("retry_after", say.http_date)),
    ("429-retry-after-nonsense", "429, retry-after: soon", _throttled("retry_after", lambda _: "soon")),
)

_FAILED = _rows(
    "every",
    ("408", "408 at once", _answer(say.failed, 408)),
    ("408-after-MS", "408 after MS", _later(408)),
    *(
        row
        for status in (500, 502, 503, 504)
        for row in (
            (f"{status}", f"{status} in JSON", _answer(say.failed, status)),
            (f"{status}-after-MS", f"{status} after MS", _later(status)),
            (f"{status}-html", f"{status} in HTML", _answer(say.page, status)),
            (f"{status}-empty", f"{status}, empty", _answer(Answer, status, b"", ())),
        )
    ),
)

_WRONG = _rows(
    "every",
    ("302", "302 to a path that would count a call", _answer(say.redirect)),
    ("200-empty", "200, empty", _answer(Answer, 200, b"")),
    ("200-html", "200 in HTML", _answer(say.page, 200)),
    ("200-not-json", "200, called JSON but cut off", _answer(Answer, 200, b'{"created":1,"da')),
    ("200-without-image", '200, JSON with "data": []', _answer(say.without_image)),
    ("200-null-image", '200, JSON with "data": [{}]', _answer(say.without_image, {})),
    ("reset", "RST before any answer", lambda _: Instead(does="reset")),
    ("close", "closed before any answer", lambda _: Instead(does="close")),
    ("hang", "no answer until the client leaves", lambda _: Instead(does="hang")),
)

_BROKEN = _rows(
    "json",
    ("200-cut", "closed in the middle of the body", _manner(broken="cut")),
    ("200-reset", "RST in the middle of the body", _manner(broken="reset")),
)

_ODD = _rows(
    "every",
    ("slow-MS", "a good answer after MS", lambda ms: Manner(wait=ms / 1000)),
    ("drip", "a good answer in many small pieces", _manner(drip=True, script=Script(chopped=True))),
    ("text-plain", "a good answer as text/plain", _manner(content_type="text/plain; charset=utf-8")),
    ("gzip", "a good answer, gzip, asked for or not", _manner(gzip=True)),
    ("no-usage", "a good answer without usage", _manner(usage=False)),
    ("unknown-field", "a good answer with fields nobody knows", _manner(unknown_fields=True)),
    ("bytes-N", "N characters of base64 noise, at once", lambda size: Manner(picture_size=size)),
)

_STREAMS = _rows(
    "stream",
    ("more-partials", "three partial images, whatever was asked", _manner(partials=3)),
    ("stream-json", "plain JSON", _manner(always_json=True)),
    ("stream-cut-after-K", "K partials, EOF", _after(Ending.EOF)),
    ("stream-cut-midway", "EOF inside the completed event's data", _script(ending=Ending.MIDWAY)),
    ("stream-408-after-K", "K partials, closed (Azure after 60 s of silence)", _after(Ending.CLOSE)),
    ("stream-reset-after-K", "K partials, RST", _after(Ending.RESET)),
    ("stream-hang-after-K", "K partials, nothing more", _after(Ending.HANG)),
    ("stream-error-after-K", "K partials, event: error", _after(Ending.PROBLEM, say.error_event)),
    ("stream-error-bare-after-K", "K partials, data: an error inside", _after(Ending.PROBLEM, say.bare_error)),
    ("stream-moderation-after-K", "K partials, data: refused", _after(Ending.PROBLEM, say.moderation_event)),
    ("stream-429-after-K", "K partials, rate_limit_exceeded", _after(Ending.PROBLEM, say.rate_limit_event)),
    ("stream-junk", "partials, an event that is not JSON, EOF", _script(ending=Ending.PROBLEM, problem=say.JUNK)),
    ("stream-crlf", "lines end with CR LF", _script(newline=b"\r\n")),
    ("stream-cr", "lines end with CR", _script(newline=b"\r")),
    ("stream-tiny", "cut into pieces of odd sizes", _script(chopped=True)),
    ("stream-no-blank", "no blank line after the last event", _script(last_blank=False)),
    ("stream-no-event-lines", "data lines only", _script(event_lines=False)),
    ("stream-comments", "comments and unknown events between", _script(comments=True)),
    ("stream-slow-MS", "MS before each event", lambda ms: Manner(script=Script(pause=ms / 1000))),
)

FAULTS = (*_REFUSED, *_THROTTLED, *_FAILED, *_WRONG, *_BROKEN, *_ODD, *_STREAMS)
"""The whole table."""
