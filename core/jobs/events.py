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
    """Tells that a job has ended."""

    def __init__(self, events: Queue, results: Container) -> None:
        self._events = events
        self._results = results

    async def publish(self, job: Job) -> None:
        """Store the outcome of a queue message's job, and send an event; twice does no harm. Raises StoreUnavailable.

        An outcome is small: its pictures are behind links, unless they could not be stored.
        """
        body = b"" if job.body is None else await whole(job.body)
        if job.order.result is not None and job.body is not None:
            await self._results.put(f"{job.order.result}.json", [body], content_type="application/json")
        await self._events.send(orjson.dumps(_event(job, body)).decode())


def _event(job: Job, body: bytes) -> dict[str, Any]:
    """An event in JSON (CloudEvents 1.0.2). Its id is the generation's, so that a second one is known as such."""
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
            **_outcome(job, body),
        },
    }


def _outcome(job: Job, body: bytes) -> dict[str, Any]:
    """What an event says of the outcome itself: the error's code and message, or the images and their cost in USD.

    An image is named by its address without its query, which holds a signature. One that could not be stored has none.
    """
    if job.state is JobState.CANCELLED or not body:
        return {}
    value = orjson.loads(body)
    if job.state is JobState.FAILED:
        return {"code": value["error"]["code"], "message": value["error"]["message"]}
    addresses = [item["url"].partition("?")[0] for item in value["data"] if item.get("url")]
    extra = value.get("extra_fields", {})
    return {"images": addresses, **{name: extra[name] for name in ("cost_usd",) if name in extra}}
