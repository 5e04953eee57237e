"""A workshop for tests: everything it stands on fails, or dies, at the step that a test names."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import orjson

from adapters.bootstrap import compose
from adapters.stores import Stores
from core.domain.http_request import HttpRequest
from core.domain.limits import Limits, Rate
from core.jobs.events import EVENTS, RESULTS
from core.jobs.runner import POISON_DELIVERY
from core.jobs.store import MAX_TRIES
from core.jobs.store import QUEUE as JOBS
from core.limits.quota_store import QuotaStore
from core.settings.settings import read_settings
from core.storage.memory import MemoryBlobs, MemoryTables
from core.storage.row_keys import COUNTERS
from core.storage.tables import StoreUnavailable
from tests.fakes import COMPLETED, Clock, FakeTransport, Row
from tests.house import KEY, PROMPT, environment, key_record
from tests.transports import everywhere

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from adapters.bootstrap import App
    from core.domain.response import HttpResponse

REFUSED, ANSWER_LOST, DIES, DIES_AFTER = "refused", "answer lost", "dies", "dies after"
START = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
PICTURE = b'event: %s\ndata: {"type":"%s","b64_json":"QUJD","created_at":1}\n\n' % ((COMPLETED.encode(),) * 2)
ALLOWANCE = Limits(images=Rate(limit=10, window_seconds=3600))
UNLIMITED: dict[str, Any] = {}
LIMITED: dict[str, Any] = {"rate_limit": {"images": {"limit": 10, "window": "1h"}}}


class Died(BaseException):
    """The process has been killed: nothing of it goes on."""


class Steps:
    """Counts what one process does outside of itself, and lets it fail at the steps that a test names."""

    def __init__(self, faults: Mapping[int, str]) -> None:
        self.faults = faults
        self.before: dict[int, Callable[[], Any]] = {}
        """What happens before a step."""
        self.taken = 0
        self.is_dead = False

    async def take(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do something, or fail at it."""
        number, self.taken = self.taken, self.taken + 1
        fault = self.faults.get(number)
        if number in self.before:
            self.before[number]()
            await asyncio.sleep(0)
        if fault == DIES or self.is_dead:
            self.is_dead = True
            raise Died
        if fault == REFUSED:
            raise StoreUnavailable("no connection", perhaps_done=False)
        done = await work()
        if fault == DIES_AFTER:
            self.is_dead = True
            raise Died
        if fault == ANSWER_LOST:
            raise StoreUnavailable("no answer", perhaps_done=True)
        return done


class _Stepwise:
    """Anything whose named methods are steps."""

    def __init__(self, inner: Any, steps: Steps, names: set[str]) -> None:
        self._inner, self._steps, self._names = inner, steps, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found
        return lambda *given, **named: self._steps.take(lambda: found(*given, **named))


class _Store:
    """Tables, blobs or queues, each of which is stepwise."""

    def __init__(self, make: Callable[[str], Any], steps: Steps, names: set[str], but: str = "") -> None:
        self._make, self._steps, self._names, self._but = make, steps, names, but

    def _part(self, name: str) -> Any:
        part = self._make(name)
        return part if name == self._but else _Stepwise(part, self._steps, self._names)

    table = container = queue = _part


class Post:
    """Queues that keep what is sent."""

    def __init__(self) -> None:
        self.sent: dict[str, list[tuple[str, float]]] = {}

    def queue(self, name: str) -> _Queue:
        """Give a queue."""
        return _Queue(self.sent.setdefault(name, []))


class _Queue:
    def __init__(self, sent: list[tuple[str, float]]) -> None:
        self._sent = sent

    async def send(self, text: str, *, delay_seconds: float = 0.0) -> None:
        self._sent.append((text, delay_seconds))


class Town:
    """A gateway whose processes come and go over one store, a queue that delivers at least once, and a model."""

    def __init__(self, *answers: Row, key: Mapping[str, Any] = LIMITED, **settings: Any) -> None:
        self.clock = Clock()
        self.tables = MemoryTables()
        self.blobs = MemoryBlobs(self.now)
        self.post = Post()
        streamed = Row(headers={"content-type": "text/event-stream"}, pieces=[PICTURE])
        self.model = FakeTransport(*(answers or (streamed,)), clock=self.clock)
        self._settings = settings
        self._key = key
        self.built = self.process()

    def now(self) -> dt.datetime:
        """The wall clock."""
        return START + dt.timedelta(seconds=self.clock() - 1000)

    def process(self, faults: Mapping[int, str] | None = None, *, counters_too: bool = False) -> App:
        """A new process; the one before is no longer there. Its steps are in `steps`."""
        self.steps = Steps(faults or {})
        stores = Stores(None, self.model, lambda _: None, now=self.now, wait=self.clock.wait)
        spared = "" if counters_too else COUNTERS
        stores.tables = _Store(self.tables.table, self.steps, {"get", "change"}, spared)
        stores.blobs = _Store(self.blobs.container, self.steps, {"get", "put"})
        stores.queues = _Store(self.post.queue, self.steps, {"send"})
        self.built = compose(
            read_settings(
                environment(
                    "https://example.openai.azure.com", GATEWAY_VIRTUAL_KEYS=[key_record(**self._key)], **self._settings
                )
            ),
            transports=everywhere(self.model),
            stores=stores,
            clock=self.clock,
            now=self.now,
            wait=self.clock.wait,
            chance=lambda: 0.0,
        )
        return self.built

    def change_key(self, **key: Any) -> None:
        """Give the key another record, which the next process knows."""
        self._key = key
        self.process()

    async def order(self, **headers: str) -> str:
        """Order a job; its id."""
        reply = await self.call(prefer="respond-async", **headers)
        value = orjson.loads(b"".join(bytes(piece) for piece in reply.whole))
        assert 202 == reply.status, value
        return str(value["id"])

    async def call(self, **headers: str) -> HttpResponse:
        """Ask for a picture."""
        own = {"authorization": f"Bearer {KEY}", "host": "127.0.0.1:7071", "x-request-id": "e1"}
        given = {**own, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.built.gateway.generate_image(
            HttpRequest(
                parameters={"deployment": "gpt-image-1"},
                headers=[*given.items()],
                body=json.dumps({"model": "m", "prompt": PROMPT}).encode(),
            )
        )

    async def deliver(self, restart: Callable[[], Any] | None = None) -> None:
        """Do as the Functions host until the queue is empty: five tries, and then the message is set aside.

        Where a process dies there is another, made by `restart`, and the message comes again.
        """
        queue = self.post.sent.setdefault(JOBS, [])
        for _ in range(50):
            if not queue:
                return
            text, delay = queue.pop(0)
            self.clock.pass_by(delay)
            await self._deliver(lambda tries, text=text: self.built.job_runner.run(text, tries), restart)
        raise AssertionError("there is no end to it")

    async def receive(self, letter: Mapping[str, Any]) -> None:
        """Do the same with a letter, and with what it leaves in the queue."""
        text = json.dumps(letter)
        await self._deliver(lambda tries: self.built.queue_consumer().consume(text, "1", tries), None)
        await self.deliver()

    async def _deliver(self, handle: Callable[[int], Awaitable[None]], restart: Callable[[], Any] | None) -> None:
        for delivery in (*range(1, MAX_TRIES + 1), *[POISON_DELIVERY] * 60):
            try:
                await handle(delivery)
            except StoreUnavailable:
                self.clock.pass_by(30)
            except Died:
                await settled()
                (restart or self.process)()
            else:
                return
        raise AssertionError("there is no end to it")

    async def state(self, job_id: str) -> dict[str, Any]:
        """A job as its caller sees it."""
        headers = [("authorization", f"Bearer {KEY}")]
        reply = await self.built.services.jobs.show(HttpRequest(parameters={"id": job_id}, headers=headers))
        value: dict[str, Any] = orjson.loads(b"".join(bytes(piece) for piece in reply.whole))
        assert 200 == reply.status, value
        return value

    async def result(self, name: str) -> dict[str, Any] | None:
        """What is kept of a letter."""
        found = await self.blobs.container(RESULTS).get(f"{name}.json")
        return None if found is None else orjson.loads(b"".join([bytes(piece) async for piece in found.pieces()]))

    @property
    def events(self) -> list[tuple[str, str, int | None]]:
        """What has been told: whose end, which, and with what status."""
        told = [json.loads(text) for text, _ in self.post.sent.get(EVENTS, [])]
        return [(each["id"], each["data"]["status"], each["data"]["status_code"]) for each in told]

    @property
    def asked(self) -> int:
        """How often the model was asked."""
        return len(self.model.requests)

    async def account(self) -> tuple[int, int]:
        """Of the key: calls in flight, and pictures that count."""
        await settled()
        account = (await QuotaStore(self.tables.table(COUNTERS), "team-a").read()).quota
        status = account.status(0, ALLOWANCE)
        assert status.images is not None
        return status.in_flight, 10 - status.images.remaining


async def settled() -> None:
    """Let the tasks go on that can."""
    for _ in range(50):
        await asyncio.sleep(0)
