"""What happens when: one row for each thing that can go wrong upstream. The tests run it; docs/faults.md shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a caller sees."""

    status: int
    code: str
    """`picture`, or the error's code."""
    should_retry: bool = True
    """False: the answer says `x-should-retry: false`, because asking again may buy a second picture."""
    retry_after: str | None = None
    """The header, in seconds."""
    in_the_stream: bool = False
    """The status was 200 by then: the error came as the last event."""

    def __str__(self) -> str:
        """Say it in the words of the page."""
        if self.code == "picture":
            return "the picture"
        where = "an `error` event" if self.in_the_stream else str(self.status)
        waits = f", `retry-after: {self.retry_after}`" if self.retry_after else ""
        return f"{where} `{self.code}`{waits}{'' if self.should_retry else ' ⛔'}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault, and what it leads to."""

    fault: str
    """The emulator's name for it."""
    does: str
    """What upstream does, in words."""
    json: Seen
    stream: Seen | None = None
    """None: the same as for JSON."""
    falls_back: bool = True
    """Whether a listed fallback gets the call."""
    calls: int = 1
    """How often the target is asked where there is no fallback."""
    calls_before_fallback: int | None = None
    """How often it is asked before a fallback is; None: as often."""
    n: int | None = None
    """How many pictures the JSON caller asks for: with two or more, upstream is not asked for a stream."""
    slowly: bool = False
    """Whether upstream takes its time: the clock runs a hundred times as fast."""
    silent: bool = False
    """Whether upstream falls silent without an end: the gateway waits for a second only."""
    outcome: str = "picture"
    """What the trail calls an attempt that ends so."""
    of_the_gateway: bool = False
    """Whether the error is the gateway's own (`is_bifrost_error`) and not upstream's."""


def _error(status: int, code: str, *, again: bool = True, retry_after: str | None = None) -> Seen:
    return Seen(status=status, code=code, should_retry=again, retry_after=retry_after)


def _event(code: str) -> Seen:
    return Seen(status=200, code=code, in_the_stream=True)


PICTURE = Seen(status=200, code="picture")
FAILED = _error(502, "upstream_error")
LOST = _error(502, "upstream_error", again=False)
TIMED_OUT = _error(504, "upstream_timeout", again=False)
AUTH = _error(502, "upstream_auth_failed")
LOST_MIDWAY = _event("upstream_error")

OVERLOADED = {"json": FAILED, "calls": 3, "outcome": "server_error"}
THROTTLED = {"calls": 3, "calls_before_fallback": 1, "outcome": "throttled"}

CUT_SHORT = {"outcome": "cut_short", "of_the_gateway": True}

ROWS = (
    # Refused: the prompt or the picture is at fault, everywhere.
    Row(
        fault="content-policy",
        does="400 `content_policy_violation`",
        json=_error(400, "content_policy_violation"),
        falls_back=False,
        outcome="refused",
    ),
    Row(
        fault="content-filter",
        does="400 `contentFilter`",
        json=_error(400, "contentFilter"),
        falls_back=False,
        outcome="refused",
    ),
    Row(
        fault="moderation-blocked",
        does="400 `moderation_blocked`",
        json=_error(400, "moderation_blocked"),
        falls_back=False,
        outcome="refused",
    ),
    Row(
        fault="refused-403",
        does="403 `content_policy_violation`",
        json=_error(400, "content_policy_violation"),
        falls_back=False,
        outcome="refused",
    ),
    Row(
        fault="stream-moderation-after-1",
        does="a stream, one partial image, then `moderation_blocked`",
        json=_error(400, "moderation_blocked"),
        stream=_event("moderation_blocked"),
        falls_back=False,
        outcome="refused",
    ),
    Row(
        fault="stream-moderation-after-0",
        does="a stream, and before its first event `moderation_blocked`",
        json=_error(400, "moderation_blocked"),
        falls_back=False,
        outcome="refused",
    ),
    # Rejected: the request is wrong for the model.
    Row(
        fault="unknown-parameter",
        does="400 `unknown_parameter`",
        json=_error(400, "unknown_parameter"),
        falls_back=False,
        outcome="rejected",
    ),
    Row(
        fault="invalid-payload",
        does="400 `invalidPayload`",
        json=_error(400, "invalidPayload"),
        falls_back=False,
        outcome="rejected",
    ),
    Row(
        fault="400-plain", does="400 in plain text", json=_error(400, "rejected"), falls_back=False, outcome="rejected"
    ),
    Row(fault="413", does="413", json=_error(413, "413"), falls_back=False, outcome="rejected"),
    Row(fault="422", does="422", json=_error(422, "422"), falls_back=False, outcome="rejected"),
    # Throttled: not now.
    Row(fault="429", does="429, wait 20 s", json=_error(429, "429", retry_after="20"), outcome="throttled"),
    Row(
        fault="429-retry-after-2",
        does="429, wait 2 s",
        json=_error(429, "429", retry_after="2"),
        **THROTTLED,
    ),
    Row(
        fault="429-retry-after-ms-1500",
        does="429, wait 1,500 ms",
        json=_error(429, "429", retry_after="2"),
        **THROTTLED,
    ),
    Row(fault="429-bare", does="429 without a wait", json=_error(429, "429", retry_after="10"), **THROTTLED),
    Row(
        fault="429-retry-after-nonsense",
        does="429, wait “soon”",
        json=_error(429, "429", retry_after="10"),
        **THROTTLED,
    ),
    Row(
        fault="429-retry-after-86400",
        does="429, wait a day",
        json=_error(429, "429", retry_after="86400"),
        outcome="throttled",
    ),
    Row(
        fault="stream-429-after-0",
        does="a stream, and before its first event `rate_limit_exceeded`",
        json=_error(429, "rate_limit_exceeded", retry_after="10"),
        **THROTTLED,
    ),
    Row(fault="408", does="408 at once", json=_error(429, "408", retry_after="10"), **THROTTLED),
    # Overloaded: turned away before anything was drawn.
    *(
        Row(fault=f"{status}{form}", does=f"{status} at once{words}", **OVERLOADED)
        for status in (500, 502, 503, 504)
        for form, words in (("", ""), ("-html", ", in HTML"), ("-empty", ", empty"))
    ),
    Row(fault="500-after-20", does="500 after 2 s", slowly=True, **OVERLOADED),
    # Ambiguous: it may have been drawn, and billed.
    Row(fault="500-after-150", does="500 after 15 s", json=LOST, slowly=True, outcome="late_server_error"),
    Row(fault="503-after-150", does="503 after 15 s", json=LOST, slowly=True, outcome="late_server_error"),
    Row(fault="408-after-150", does="408 after 15 s", json=TIMED_OUT, slowly=True, outcome="timed_out"),
    Row(fault="reset", does="the connection is reset before an answer", json=LOST, **CUT_SHORT),
    Row(fault="close", does="the connection is closed before an answer", json=LOST, **CUT_SHORT),
    Row(fault="hang", does="no answer", json=TIMED_OUT, silent=True, outcome="no_first_byte", of_the_gateway=True),
    Row(fault="200-cut", does="an answer that is cut short", json=LOST, stream=PICTURE, n=2, **CUT_SHORT),
    Row(fault="200-reset", does="an answer whose connection is reset", json=LOST, stream=PICTURE, n=2, **CUT_SHORT),
    Row(fault="200-empty", does="200, empty", json=LOST, outcome="unreadable", of_the_gateway=True),
    Row(fault="200-html", does="200 in HTML", json=LOST, outcome="unreadable", of_the_gateway=True),
    Row(fault="200-not-json", does="200, not JSON", json=LOST, outcome="unreadable", of_the_gateway=True),
    Row(fault="200-without-image", does="200 without a picture", json=LOST, outcome="no_picture", of_the_gateway=True),
    Row(fault="200-null-image", does="200 with an empty item", json=LOST, outcome="no_picture", of_the_gateway=True),
    Row(
        fault="stream-cut-after-1",
        does="a stream, one partial image, then the end",
        json=LOST,
        stream=LOST_MIDWAY,
        **CUT_SHORT,
    ),
    Row(
        fault="stream-408-after-1",
        does="a stream, one partial image, then cut for silence",
        json=LOST,
        stream=LOST_MIDWAY,
        **CUT_SHORT,
    ),
    Row(
        fault="stream-reset-after-1",
        does="a stream, one partial image, then a reset",
        json=LOST,
        stream=LOST_MIDWAY,
        **CUT_SHORT,
    ),
    Row(
        fault="stream-cut-midway",
        does="a stream that ends inside the finished picture",
        json=LOST,
        stream=LOST_MIDWAY,
        **CUT_SHORT,
    ),
    Row(
        fault="stream-junk",
        does="a stream whose finished picture cannot be read",
        json=LOST,
        stream=LOST_MIDWAY,
        outcome="unreadable",
        of_the_gateway=True,
    ),
    Row(
        fault="stream-hang-after-0",
        does="a stream, and silence before its first event",
        json=TIMED_OUT,
        outcome="went_silent",
        of_the_gateway=True,
        silent=True,
    ),
    Row(
        fault="stream-hang-after-1",
        does="a stream, one partial image, then silence",
        json=TIMED_OUT,
        stream=_event("upstream_timeout"),
        outcome="went_silent",
        of_the_gateway=True,
        silent=True,
    ),
    Row(
        fault="stream-error-after-1",
        does="a stream, one partial image, then an error event",
        json=LOST,
        stream=LOST_MIDWAY,
        outcome="stream_error",
    ),
    Row(
        fault="stream-error-bare-after-1",
        does="the same, without an event's name",
        json=LOST,
        stream=LOST_MIDWAY,
        outcome="stream_error",
    ),
    Row(
        fault="stream-429-after-1",
        does="a stream, one partial image, then `rate_limit_exceeded`",
        json=LOST,
        stream=LOST_MIDWAY,
        outcome="stream_error",
    ),
    *(
        Row(fault=f"stream-{ends}-after-0", does=f"a stream, and before its first event {words}", json=LOST, **how)
        for ends, words, how in (
            ("cut", "the end", CUT_SHORT),
            ("408", "cut for silence", CUT_SHORT),
            ("reset", "a reset", CUT_SHORT),
            ("error", "an error event", {"outcome": "stream_error"}),
            ("error-bare", "an error event without a name", {"outcome": "stream_error"}),
        )
    ),
    # Misconfigured and blocked: the operator's to mend.
    Row(fault="401", does="401", json=AUTH, outcome="unauthorized"),
    Row(fault="403", does="403, a network rule", json=AUTH, outcome="unauthorized"),
    Row(fault="404", does="404", json=_error(404, "deployment_not_found"), outcome="not_found"),
    Row(fault="302", does="302 to somewhere else", json=FAILED, outcome="unexpected_status", of_the_gateway=True),
    Row(fault="blocked", does="403, the resource is blocked", json=_error(502, "upstream_blocked"), outcome="blocked"),
    # Odd, and right.
    Row(fault="text-plain", does="the picture as text/plain", json=PICTURE),
    Row(fault="gzip", does="the picture, compressed unasked", json=PICTURE),
    Row(fault="drip", does="the picture in many small pieces", json=PICTURE),
    Row(fault="no-usage", does="the picture without usage", json=PICTURE),
    Row(fault="stream-json", does="JSON where a stream was asked", json=PICTURE),
    Row(fault="stream-crlf", does="a stream with `\\r\\n`", json=PICTURE),
    Row(fault="stream-cr", does="a stream with `\\r`", json=PICTURE),
    Row(fault="stream-tiny", does="a stream in tiny pieces", json=PICTURE),
    Row(fault="stream-no-blank", does="a stream whose last blank line is missing", json=PICTURE),
    Row(fault="stream-no-event-lines", does="a stream of data lines only", json=PICTURE),
    Row(fault="stream-comments", does="a stream with comments and unknown events", json=PICTURE),
    Row(fault="more-partials", does="more partial images than asked", json=PICTURE),
)
