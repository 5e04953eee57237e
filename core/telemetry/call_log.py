"""What the gateway writes about its work: a JSON line for each call, each change by an operator, each fault of its own.

Never a prompt, a picture or a credential: what may be written is listed here, field by field.
"""

from __future__ import annotations

import logging
from typing import Final

import orjson
from msgspec import Struct
from msgspec.structs import asdict

LOGGERS: Final = ("gateway", "core", "function_app")
"""Under these stand all loggers of the gateway."""

_calls: Final = logging.getLogger("gateway.calls")
_changes: Final = logging.getLogger("gateway.changes")
_faults: Final = logging.getLogger("gateway.faults")


def write_to_the_console() -> None:
    """Write the gateway's lines to stderr, and nowhere else.

    Under the Functions host that is the safe way: it takes a worker's record only while the invocation runs to which it
    belongs (azure-functions-host, GrpcWorkerChannel), and drops what is written at the start or after a stream's
    function has returned. What a worker writes to its console it keeps.
    """
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter("%(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [console]
        logger.setLevel(logging.INFO)
        logger.propagate = False


class CallRecord(Struct, frozen=True, kw_only=True):
    """The log line of one call. Written once, when it ends."""

    event_id: str
    caller: str | None = None
    deployment: str
    """The one in the path."""
    deployment_used: str | None = None
    """The one that generated the pictures."""
    stream: bool = False
    outcome: str = "left"
    """`picture`, the error's code, or `left`: the caller went away first."""
    attempts: int = 0
    """How often upstream was called."""
    tried: tuple[str, ...] = ()
    """How each of these calls ended, and which fallbacks were skipped."""
    status: int | None = None
    """The HTTP status of the answer; None if the caller had left."""
    latency_ms: int = 0
    perhaps_billed: bool = False
    """Whether an attempt that gave no picture may have reached a model."""

    def write(self) -> None:
        """Write the line."""
        _calls.info("%s", orjson.dumps(asdict(self)).decode())


class ChangeRecord(Struct, kw_only=True):
    """The log line of one change by an operator."""

    event_id: str
    admin: str
    """The `sub` of the admin's JWT."""
    action: str
    """`create`, `change`, `rotate` or `delete`."""
    key_id: str
    details: tuple[str, ...] = ()
    """Which fields were given."""
    outcome: str = "done"
    """`perhaps`: the store did not answer, so it may have been made or not."""

    def write(self) -> None:
        """Write the line."""
        _changes.info("%s", orjson.dumps(asdict(self)).decode())


def write_fault(fault: BaseException, event_id: str) -> None:
    """Write down a fault of our own: its kind and place. Not its words, which may hold what was asked."""
    place: list[str] = []
    trace = fault.__traceback__
    while trace is not None:
        place.append(f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}")
        trace = trace.tb_next
    line = {"event_id": event_id, "fault": type(fault).__name__, "place": place[-8:]}
    _faults.error("%s", orjson.dumps(line).decode())
