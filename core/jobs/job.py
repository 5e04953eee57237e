"""A job as a value: what was ordered, and how far it has come."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import orjson
from msgspec import Struct

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from core.storage.blobs import Content
    from core.storage.tables import Row

ID: Final = re.compile(r"(letter-)?[0-9a-f]{32}")
"""A job's id; to be used with `fullmatch`."""


class JobState(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobRequest(Struct, frozen=True, kw_only=True):
    """What is to be carried out, and for whom."""

    caller: str
    """The caller's id."""
    is_admin: bool = False
    narrowed_to: frozenset[str] | None = None
    deployment: str
    api_version: str | None = None
    request: bytes
    """The request's body, as it came."""
    event_id: str
    base_url: str = ""
    """Where the gateway serves pictures itself, if it does."""
    hold: Mapping[str, int | str] | None = None
    """What is reserved for it of its key's limits (see Admission.hold)."""
    result: str | None = None
    """The name under which the outcome is put for those who came by a queue."""


class Job(Struct, frozen=True, kw_only=True):
    """A job as it stands."""

    id: str
    state: JobState
    order: JobRequest
    created_at: dt.datetime
    ended_at: dt.datetime | None
    status: int | None
    """The status that a call would have been answered with; None while there is none."""
    body: Content | bytes | None
    """The answer, or the error's body; None while there is none."""
    asked: bool
    """Whether the model was asked, or was about to be."""
    tries: int
    """How often somebody has begun to carry it out."""
    abandoned: bool
    """Whether it has ended because nobody carries it out any more; that is known by the clock, and in no row yet."""
    announced: bool
    """Whether those who wait for its end have been told."""
    row: Row

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in {JobState.QUEUED, JobState.RUNNING}


class StillRunning(Exception):
    """Another process carries the job out, or has died less than its lease ago: ask again later."""

    def __init__(self, seconds: float) -> None:
        """`seconds` from now it is known which."""
        super().__init__(f"still running; ask again in {seconds:.0f} s")
        self.seconds = seconds


def written(order: JobRequest) -> str:
    """An order as text, without the request itself."""
    return orjson.dumps(
        {
            "caller": order.caller,
            "is_admin": order.is_admin,
            "narrowed_to": None if order.narrowed_to is None else sorted(order.narrowed_to),
            "deployment": order.deployment,
            "api_version": order.api_version,
            "event_id": order.event_id,
            "base_url": order.base_url,
            "hold": order.hold,
            "result": order.result,
        }
    ).decode()


def read(text: str, request: bytes) -> JobRequest:
    """Read an order as `written`."""
    fields = orjson.loads(text)
    narrowed_to = fields.pop("narrowed_to")
    return JobRequest(**fields, narrowed_to=None if narrowed_to is None else frozenset(narrowed_to), request=request)
