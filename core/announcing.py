"""Telling of a generation's end: a CloudEvent in a queue, and for who came by a queue the outcome as a blob."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from core.contract.errors import error_body
from core.keeping.bodies import whole
from core.keeping.jobs import State
from core.keeping.lost import JobLost

if TYPE_CHECKING:
    from core.contract.errors import GatewayError
    from core.keeping.jobs import Job
    from core.storage.blobs import Container
    from core.storage.queues import Queue

EVENTS: Final = "image-events"
RESULTS: Final = "image-results"

_TYPES: Final = {
    State.SUCCEEDED: "image.generation.succeeded",
    State.FAILED: "image.generation.failed",
    State.CANCELLED: "image.generation.cancelled",
}


class Announcer:
    """Tells those who wait for a job's end."""

    def __init__(self, events: Queue, results: Container) -> None:
        self._events = events
        self._results = results

    async def announce(self, job: Job) -> None:
        """Put the outcome where it is expected, and say so. Raises StoreUnavailable. Twice does no harm."""
        result = job.order.result
        if result is not None:
            await self._results.put(f"{result}.json", [await outcome_of(job)], content_type="application/json")
        await self._events.send(orjson.dumps(self._event(job)).decode())

    async def refuse(self, result: str, error: GatewayError, body: bytes, event_id: str) -> None:
        """The same for a message that was no valid request. Raises StoreUnavailable."""
        await self._results.put(f"{result}.json", [body], content_type="application/json")
        event = _cloud_event(
            result,
            _TYPES[State.FAILED],
            time=None,
            data={
                "id": result,
                "status": State.FAILED,
                "deployment": None,
                "status_code": error.status,
                "event_id": event_id,
                "result": f"{RESULTS}/{result}.json",
            },
        )
        await self._events.send(orjson.dumps(event).decode())

    def _event(self, job: Job) -> dict[str, Any]:
        name = job.order.result or job.id
        return _cloud_event(
            name,
            _TYPES[job.state],
            time=None if job.ended_at is None else job.ended_at.isoformat(),
            data={
                "id": name,
                "status": job.state,
                "deployment": job.order.deployment,
                "status_code": job.status,
                "event_id": job.order.event_id,
                "result": f"/jobs/{job.id}" if job.order.result is None else f"{RESULTS}/{name}.json",
            },
        )


def _cloud_event(name: str, kind: str, *, time: str | None, data: dict[str, Any]) -> dict[str, Any]:
    """An event in JSON (CloudEvents 1.0.2). Its id is the generation's, so that telling twice is known as such."""
    event = {
        "specversion": "1.0",
        "id": name,
        "source": "/image-gateway",
        "type": kind,
        "subject": name,
        "datacontenttype": "application/json",
        "data": data,
    }
    return event if time is None else {**event, "time": time}


async def outcome_of(job: Job) -> bytes:
    """The answer, or the error body, of a job that has ended. Raises StoreUnavailable."""
    if job.body is not None:
        return await whole(job.body)
    error = JobLost()
    return orjson.dumps(error_body(error, event_id=job.order.event_id, model_requested=None, stream=False))
