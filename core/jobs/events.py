"""Telling of a generation's end: a CloudEvent in a queue, and for who came by a queue the outcome as a blob."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from core.jobs.job import JobState
from core.storage.stored_body import whole

if TYPE_CHECKING:
    from core.jobs.job import Job
    from core.storage.blobs import Container
    from core.storage.queues import Queue

EVENTS: Final = "image-events"
RESULTS: Final = "image-results"

_TYPES: Final = {
    JobState.SUCCEEDED: "image.generation.succeeded",
    JobState.FAILED: "image.generation.failed",
    JobState.CANCELLED: "image.generation.cancelled",
}


class EventPublisher:
    """Tells those who wait for a job's end."""

    def __init__(self, events: Queue, results: Container) -> None:
        self._events = events
        self._results = results

    async def publish(self, job: Job) -> None:
        """Put the outcome where it is expected, and say so. Raises StoreUnavailable. Twice does no harm."""
        if job.order.result is not None and job.body is not None:
            await self._results.put(
                f"{job.order.result}.json", [await whole(job.body)], content_type="application/json"
            )
        await self._events.send(orjson.dumps(_event(job)).decode())


def _event(job: Job) -> dict[str, Any]:
    """An event in JSON (CloudEvents 1.0.2). Its id is the generation's, so that telling twice is known as such."""
    name = job.order.result or job.id
    return {
        "specversion": "1.0",
        "id": name,
        "source": "/image-gateway",
        "type": _TYPES[job.state],
        "subject": name,
        "time": (job.ended_at or job.created_at).isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "id": name,
            "status": job.state,
            "deployment": job.order.deployment or None,
            "status_code": job.status,
            "event_id": job.order.event_id,
            "result": f"/jobs/{job.id}" if job.order.result is None else f"{RESULTS}/{name}.json",
        },
    }
