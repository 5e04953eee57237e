"""Every failure on request: a table from a fault's name to what it does.

A fault is asked for by the deployment's name (see `emulator.deployment_names`) or by the header `x-emulator-fault`. It
happens to calls that are otherwise valid: a wrong key, an unknown deployment or a bad body is refused as ever.
A row says which calls it is for. `stream` faults leave plain JSON calls alone (they succeed as usual), `json`
faults leave streams alone. K counts partial images: those sent first, of the ones that were requested; N is
a number, MS are milliseconds.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from emulator import errors
from emulator import fault_responses as responses
from emulator.error_events import ERRORS, NOT_JSON, bare_error_event, error_event, flat_error_event
from emulator.errors import TEXT, HttpResponse
from emulator.event_stream import StreamEnd, StreamOptions
from emulator.image_response import ResponseOptions

Calls = Literal["every", "json", "stream"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is done in place of making a picture: a response, or none at all."""

    action: HttpResponse | Literal["reset", "close", "hang"]
    delay_seconds: float = 0.0
    """Before it is done."""


Effect = ResponseOptions | Failure


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    pattern: str
    """The fault's name; a last word of N, K or MS stands for a number."""
    calls: Calls
    description: str
    make_effect: Callable[[int], Effect]
    """Makes the effect from the number in the fault's name (0 if it has none)."""

    def matches(self, name: str) -> bool:
        """Whether this is the row for a fault's full name."""
        literal, numbered = self._parts()
        return re.fullmatch(re.escape(literal) + r"\d{1,8}" * numbered, name) is not None

    def effect(self, name: str, *, stream: bool) -> Effect:
        """Make the effect on a call; where the fault is not for calls of this kind, the call succeeds."""
        if self.calls not in ("every", "stream" if stream else "json"):
            return ResponseOptions()
        literal, numbered = self._parts()
        return self.make_effect(int(name.removeprefix(literal)) if numbered else 0)

    def _parts(self) -> tuple[str, bool]:
        literal = re.sub("(?<=-)(N|K|MS)$", "", self.pattern)
        return literal, literal != self.pattern


def find_fault(name: str) -> Fault | None:
    """Find the row for a fault's full name, e.g. `429-retry-after-7`."""
    return next((fault for fault in FAULTS if fault.matches(name)), None)


def _respond(make: Callable[..., HttpResponse], *values: Any) -> Callable[[int], Effect]:
    return lambda _: Failure(action=make(*values))


def _respond_later(status: int) -> Callable[[int], Effect]:
    return lambda ms: Failure(action=responses.server_error(status), delay_seconds=ms / 1000)


def _throttle(header: str, value: Callable[[int], str] = str) -> Callable[[int], Effect]:
    return lambda number: Failure(action=responses.too_many_requests(**{header: value(number)}))


def _options(**options: Any) -> Callable[[int], Effect]:
    return lambda _: ResponseOptions(**options)


def _stream(**options: Any) -> Callable[[int], Effect]:
    return lambda _: ResponseOptions(stream=StreamOptions(**options))


def _end_after(end: StreamEnd, event: bytes = b"") -> Callable[[int], Effect]:
    return lambda count: ResponseOptions(stream=StreamOptions(end=end, max_partials=count, error_event=event))


def _error_after(event: bytes) -> Callable[[int], Effect]:
    return _end_after(StreamEnd.ERROR, event)


def _rows(calls: Calls, *rows: tuple[str, str, Callable[[int], Effect]]) -> tuple[Fault, ...]:
    return tuple(Fault(pattern, calls, description, make_effect) for pattern, description, make_effect in rows)


_REFUSED = _rows(
    "every",
    ("content-policy", "400 content_policy_violation with inner_error", _respond(responses.content_policy)),
    ("content-filter", "400 contentFilter", _respond(responses.content_filter)),
    ("moderation-blocked", "400 moderation_blocked", _respond(responses.moderation_blocked)),
    ("responsible-ai", "400 ResponsibleAIPolicyViolation, the outer code", _respond(responses.responsible_ai)),
    (
        "moderation-blocked-bom",
        "400 moderation_blocked after a byte order mark",
        lambda _: Failure(action=responses.with_byte_order_mark(responses.moderation_blocked())),
    ),
    ("refused-403", "403 content_policy_violation", _respond(responses.content_policy, 403)),
    ("unknown-parameter", "400 unknown_parameter", _respond(errors.unknown_parameter, "prompt")),
    ("invalid-payload", "400 invalidPayload", _respond(errors.invalid_property, "quality")),
    ("400-plain", "400 in plain text", _respond(HttpResponse, 400, b"Bad Request", (TEXT,))),
    ("401", "401, for a valid key", _respond(errors.access_denied)),
    ("403", "403 Forbidden: network rules", _respond(responses.forbidden, responses.NO_PUBLIC_ACCESS)),
    ("blocked", "403 Forbidden: resource blocked", _respond(responses.forbidden, responses.RESOURCE_BLOCKED)),
    ("404", "404 DeploymentNotFound", _respond(errors.deployment_not_found)),
    ("404-operation", "404 OperationNotSupported", _respond(errors.wrong_operation, "gpt-image-1")),
    ("404-resource", "404 Resource not found", _respond(errors.resource_not_found)),
    ("413", "413", _respond(responses.server_error, 413)),
    ("422", "422", _respond(responses.server_error, 422)),
)

_THROTTLED = _rows(
    "every",
    ("429", "429, both headers say 20 s", _respond(responses.too_many_requests_for_20_seconds)),
    ("429-bare", "429 without a header", _respond(responses.too_many_requests)),
    ("429-retry-after-N", "429, retry-after: N", _throttle("retry_after")),
    ("429-retry-after-ms-N", "429, retry-after-ms: N", _throttle("retry_after_ms")),
    ("429-retry-after-date-N", "429, retry-after: the date in N s", _throttle("retry_after", responses.http_date)),
    (
        "429-retry-after-past-N",
        "429, retry-after: the date N s ago",
        _throttle("retry_after", lambda seconds: responses.http_date(-seconds)),
    ),
    ("429-insufficient-quota", "429 insufficient_quota", _respond(responses.insufficient_quota)),
    ("429-retry-after-nonsense", "429, retry-after: soon", _throttle("retry_after", lambda _: "soon")),
)

_FAILED = _rows(
    "every",
    ("408", "408 at once", _respond(responses.server_error, 408)),
    ("408-after-MS", "408 after MS", _respond_later(408)),
    *(
        row
        for status in (500, 502, 503, 504)
        for row in (
            (f"{status}", f"{status} in JSON", _respond(responses.server_error, status)),
            (f"{status}-after-MS", f"{status} after MS", _respond_later(status)),
            (f"{status}-html", f"{status} in HTML", _respond(responses.html_page, status)),
            (f"{status}-empty", f"{status}, empty", _respond(HttpResponse, status, b"", ())),
        )
    ),
)

_WRONG = _rows(
    "every",
    ("302", "302 to a path that would count a call", _respond(responses.redirect)),
    ("200-empty", "200, empty", _respond(HttpResponse, 200, b"")),
    ("200-html", "200 in HTML", _respond(responses.html_page, 200)),
    ("200-not-json", "200, called JSON but cut off", _respond(HttpResponse, 200, b'{"created":1,"da')),
    ("200-without-image", '200, JSON with "data": []', _respond(responses.without_image)),
    ("200-null-image", '200, JSON with "data": [{}]', _respond(responses.without_image, {})),
    ("reset", "RST before any answer", lambda _: Failure(action="reset")),
    ("close", "closed before any answer", lambda _: Failure(action="close")),
    ("hang", "no answer until the client disconnects", lambda _: Failure(action="hang")),
)

_BROKEN = _rows(
    "json",
    ("200-cut", "closed in the middle of the body", _options(broken="cut")),
    ("200-reset", "RST in the middle of the body", _options(broken="reset")),
)

_ODD = _rows(
    "every",
    ("slow-MS", "success after MS", lambda ms: ResponseOptions(delay_seconds=ms / 1000)),
    ("drip", "success in many small pieces", _options(drip=True, stream=StreamOptions(small_pieces=True))),
    ("text-plain", "success as text/plain", _options(content_type="text/plain; charset=utf-8")),
    ("gzip", "success, gzip, asked for or not", _options(gzip=True)),
    ("bom", "success after a byte order mark", _options(byte_order_mark=True)),
    ("no-usage", "success without usage", _options(usage=False)),
    ("cached-tokens-N", "N input tokens, half of them cached", lambda count: ResponseOptions(input_tokens=count)),
    (
        "no-response_format",
        "unknown_parameter where it is given",
        _options(refused_key="response_format"),
    ),
    ("no-style", "unknown_parameter where it is given", _options(refused_key="style")),
    ("unknown-field", "success with fields nobody knows", _options(unknown_fields=True)),
    ("bytes-N", "N characters of base64 noise, at once", lambda size: ResponseOptions(noise_characters=size)),
)

_WITHHELD = _rows(
    "every",
    ("withheld", '"b64_json": null in each item and in the completed event', _options(withheld="all")),
    ("withheld-filtered", "the same with filter results", _options(withheld="all", filter_results=True)),
    ("withheld-first", '"b64_json": null in the first of n items', _options(withheld="first")),
    ("withheld-first-filtered", "the same with filter results", _options(withheld="first", filter_results=True)),
)

_CONNECTION = _rows(
    "every",
    (
        "unasked-response-N",
        "success, and N microseconds later a second response that nobody asked for",
        lambda number: ResponseOptions(afterwards=responses.UNASKED_RESPONSE, afterwards_seconds=number / 1_000_000),
    ),
    ("trailing-bytes-N", "success, and N bytes after its end", lambda count: ResponseOptions(afterwards=b"x" * count)),
)

_STREAMS = _rows(
    "stream",
    ("more-partials", "three partial images, whatever was requested", _options(partials=3)),
    ("stream-json", "plain JSON", _options(always_json=True)),
    ("stream-json-bom", "plain JSON after a byte order mark", _options(always_json=True, byte_order_mark=True)),
    ("stream-cut-after-K", "K partials, EOF", _end_after(StreamEnd.EOF)),
    ("stream-without-image", "a completed event without b64_json", _options(omit_image=True)),
    ("stream-cut-midway", "EOF inside the completed event's data", _stream(end=StreamEnd.MIDWAY)),
    ("stream-408-after-K", "K partials, closed (Azure after 60 s of silence)", _end_after(StreamEnd.CLOSE)),
    ("stream-reset-after-K", "K partials, RST", _end_after(StreamEnd.RESET)),
    ("stream-hang-after-K", "K partials, nothing more", _end_after(StreamEnd.HANG)),
    ("stream-junk", "partials, an event that is not JSON, EOF", _stream(end=StreamEnd.ERROR, error_event=NOT_JSON)),
    ("stream-crlf", "lines end with CR LF", _stream(newline=b"\r\n")),
    ("stream-cr", "lines end with CR", _stream(newline=b"\r")),
    ("stream-tiny", "cut into pieces of odd sizes", _stream(small_pieces=True)),
    ("stream-no-blank", "no blank line after the last event", _stream(last_blank_line=False)),
    ("stream-no-event-lines", "data lines only", _stream(event_lines=False)),
    ("stream-comments", "comments and unknown events between", _stream(comments=True)),
    (
        "stream-slow-MS",
        "MS before each event",
        lambda ms: ResponseOptions(stream=StreamOptions(pause_seconds=ms / 1000)),
    ),
)

_ERROR_EVENTS = _rows(
    "stream",
    ("stream-error-after-K", "K partials, event: error", _error_after(flat_error_event("server-error"))),
    ("stream-429-after-K", "K partials, rate_limit_exceeded", _error_after(flat_error_event("rate-limit"))),
    ("stream-error-bare-after-K", "K partials, data: an error inside", _error_after(bare_error_event("server-error"))),
    ("stream-moderation-after-K", "K partials, data: refused", _error_after(bare_error_event("blocked"))),
    (
        "stream-rate-limit-retry-after-N",
        "200 with retry-after: N, then event: error, rate_limit_exceeded",
        lambda seconds: ResponseOptions(
            headers=(("retry-after", str(seconds)),),
            stream=StreamOptions(end=StreamEnd.ERROR, max_partials=0, error_event=error_event("rate-limit")),
        ),
    ),
    *(
        row
        for name, error in ERRORS.items()
        for row in (
            (
                f"stream-{name}-after-K",
                f"K partials, event: error, {error['code']} inside error",
                _error_after(error_event(name)),
            ),
            (
                f"stream-{name}-no-event-line-after-K",
                "the same without the event: line",
                _error_after(error_event(name, event_line=False)),
            ),
        )
    ),
)

FAULTS = (
    *_REFUSED,
    *_THROTTLED,
    *_FAILED,
    *_WRONG,
    *_BROKEN,
    *_ODD,
    *_WITHHELD,
    *_CONNECTION,
    *_STREAMS,
    *_ERROR_EVENTS,
)
"""The whole table."""
