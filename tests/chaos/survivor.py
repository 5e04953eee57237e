"""Who comes after a process that was killed: another gateway over the same store, whose clock can be moved."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

from adapters.bootstrap import utc_now
from core.auth.caller import Caller
from core.domain.http_request import HttpRequest
from core.domain.limits import Limits, Rate
from core.limits.limiter import Limiter
from tests.chaos.dying import LIMIT, body_of
from tests.house import KEY

if TYPE_CHECKING:
    from adapters.azure_storage.tables import AzureTables
    from adapters.bootstrap import App
    from core.domain.response import HttpResponse
    from tests.chaos.dying import Scene

CREDENTIAL = [("authorization", f"Bearer {KEY}")]
TEAM_A = Caller(id="team-a", limits=Limits(images=Rate(limit=LIMIT, window_seconds=3600)))


class Later:
    """The wall clock, moved by some time."""

    def __init__(self) -> None:
        self.by = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return utc_now() + self.by


async def in_flight(tables: AzureTables, now: Later) -> int:
    """How many calls have something reserved of the key's limits."""
    limiter = Limiter(tables, call_seconds=220, now=now, wait=asyncio.sleep, chance=lambda: 0.5)
    return (await limiter.status(TEAM_A)).in_flight


async def heard(reply: HttpResponse) -> tuple[tuple[int, str | None], bytes]:
    """An answer's status, what an error says it is (None: it is none), and the whole body."""
    body = await body_of(reply)
    said = json.loads(body)
    return (reply.status, said["error"]["code"] if "error" in said else None), body


class Survivor:
    """Asks for jobs, and delivers messages once more, as the Functions host does."""

    def __init__(self, built: App, scene: Scene, queues: Any) -> None:
        """`queues` are those of the scene."""
        self._built = built
        self._scene = scene
        self._queues = queues

    async def shown(self, job_id: str) -> dict[str, Any]:
        """`GET /jobs/{id}`."""
        reply = await self._built.services.jobs.show(HttpRequest(parameters={"id": job_id}, headers=CREDENTIAL))
        assert reply.status == 200
        shown: dict[str, Any] = json.loads(await body_of(reply))
        return shown

    async def deliver(self, job_id: str | None) -> None:
        """Deliver the message that started it; None: that of image-requests."""
        if job_id is None:
            await self._built.queue_consumer().consume(self._scene.letter, "message-1", 2)
        else:
            await self._built.job_runner.run(job_id, 2)

    async def messages(self, queue: str) -> list[str]:
        """What can be taken from a queue now."""
        peeked = await self._queues.queue(queue)._client.peek_messages(max_messages=32)
        return [base64.b64decode(message.content).decode() for message in peeked]

    async def waiting(self, queue: str) -> int:
        """How many messages a queue has, those that are yet to be delivered later among them."""
        properties = await self._queues.queue(queue)._client.get_queue_properties()
        count: int = properties.approximate_message_count
        return count


def id_of_the_letter(scene: Scene) -> str:
    """The id of the job that a message starts."""
    return f"letter-{hashlib.sha256(scene.name.encode()).hexdigest()[:32]}"
