"""A gateway in a process of its own that is killed (SIGKILL) at a named step, over Azurite and before an emulator.

Steps are named by what passes between the gateway and the world, and counted: `after change GatewayOnce 1` is when the
first change of that table has been made. Nothing in the gateway knows of it: its stores and its connection are wrapped.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx2

from adapters.azure_storage.blobs import AzureBlobs
from adapters.azure_storage.queues import AzureQueues
from adapters.azure_storage.tables import AzureTables
from adapters.bootstrap import App, compose, utc_now
from adapters.stores import Stores
from core.azure_openai.token_source import NoIdentity
from core.domain.http_request import HttpRequest
from core.settings.environment import Environment
from core.settings.settings import read_settings
from core.settings.storage import read_storage
from tests.house import KEY, PROMPT, environment, key_record
from tests.transports import everywhere, new_transport

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Iterator

    from core.domain.response import HttpResponse

SECONDS_TO_DIE: Final = 30.0
LIMIT: Final = 30
"""Pictures in an hour, so that there is something to reserve."""
CHARACTERS: Final = 60_000
"""Of a picture's base64: its answer does not fit into a row."""
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where it happens; the same for who dies and for who comes after."""

    storage: str
    """Azurite's connection string."""
    prefix: str
    """Before the names of tables, containers and queues."""
    emulator_url: str
    deployment: str
    name: str = "order-4711"
    """The Idempotency-Key, and the id of a message."""

    @property
    def settings(self) -> dict[str, str]:
        """Of the gateway."""
        return environment(
            self.emulator_url,
            AzureWebJobsStorage=self.storage,
            GATEWAY_VIRTUAL_KEYS=[key_record(rate_limit={"images": {"limit": LIMIT, "window": "1h"}})],
            GATEWAY_CATALOGUE={
                "deployments": {"drawn": {"family": "gpt-image-1", "targets": [{"deployment": self.deployment}]}}
            },
        )

    def call(self, **headers: str) -> HttpRequest:
        """A call with the name."""
        given = {"authorization": f"Bearer {KEY}", "idempotency-key": self.name, **headers}
        return HttpRequest(
            parameters={"deployment": "drawn"},
            headers=list(given.items()),
            body=json.dumps({"model": "gpt-image-1", "prompt": PROMPT}).encode(),
        )

    @property
    def letter(self) -> str:
        """A message that asks for the same."""
        request = {"model": "gpt-image-1", "prompt": PROMPT}
        return json.dumps({"id": self.name, "deployment": "drawn", "virtual_key_id": "team-a", "request": request})


class Death:
    """Kills this process when a step is reached."""

    def __init__(self, step: str = "") -> None:
        self._step = step
        self._seen: Counter[str] = Counter()

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        """Let something happen between two steps."""
        self._seen[what] += 1
        number = self._seen[what]
        self.reach(f"before {what} {number}")
        yield
        self.reach(f"after {what} {number}")

    def reach(self, step: str) -> None:
        """Come to a step."""
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


class Wrapped:
    """One table, container or queue: all of its methods as they are, but for those named, which are steps."""

    def __init__(self, one: Any, death: Death, **steps: str) -> None:
        self._one = one
        self._death = death
        self._steps = steps

    def __getattr__(self, method: str) -> Any:
        """Give a method, between two steps where it is one."""
        call, step = getattr(self._one, method), self._steps.get(method)
        if step is None:
            return call

        async def around(*arguments: Any, **options: Any) -> Any:
            with self._death.around(step):
                return await call(*arguments, **options)

        return around


class DeadlyStores(Stores):
    """The stores of an account, each change of which is a step."""

    def __init__(self, scene: Scene, connection: httpx2.AsyncBaseTransport, death: Death) -> None:
        account = read_storage(Environment({"AzureWebJobsStorage": scene.storage}))
        assert account is not None
        self.account = account
        self.tables = _Each(
            AzureTables(account, connection, NoIdentity(), prefix=scene.prefix),
            lambda tables, name: Wrapped(tables.table(name), death, change=f"change {name}"),
        )
        self.blobs = _Each(
            AzureBlobs(account, connection, NoIdentity(), prefix=scene.prefix, now=utc_now),
            lambda blobs, name: Wrapped(blobs.container(name), death, put=f"put {name}"),
        )
        self.queues = _Each(
            AzureQueues(account, connection, NoIdentity(), prefix=scene.prefix),
            lambda queues, name: Wrapped(queues.queue(name), death, send=f"send {name}"),
        )


class _Each:
    def __init__(self, store: Any, give: Callable[[Any, str], Wrapped]) -> None:
        self._store = store
        self._give = give
        self.table = self.container = self.queue = self._named

    def _named(self, name: str) -> Wrapped:
        return self._give(self._store, name)


class DeadlyTransport(httpx2.AsyncBaseTransport):
    """The transport to upstream. Its steps: the head of an answer, and the whole."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, death: Death) -> None:
        self._transport = transport
        self._death = death

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request (see httpx2.AsyncBaseTransport)."""
        self._death.reach("before ask")
        response = await self._transport.handle_async_request(request)
        self._death.reach("after head")
        stream = _Stream(response, self._death)
        return httpx2.Response(response.status_code, headers=response.headers, stream=stream)


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, death: Death) -> None:
        self._response = response
        self._death = death

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body; that its end has come is a step."""
        async for piece in self._response.aiter_raw():
            yield piece
        self._death.reach("after answer")

    async def aclose(self) -> None:
        await self._response.aclose()


@asynccontextmanager
async def gateway(
    scene: Scene, death: Death | None = None, now: Callable[[], dt.datetime] = utc_now
) -> AsyncIterator[App]:
    """Build a gateway on the scene; without `death` it lives.

    `now` is the gateway's wall clock, and not that of its signatures, which Azurite compares with its own.
    """
    death = death or Death()
    connection = new_transport()
    built = compose(
        read_settings(scene.settings),
        transports=everywhere(DeadlyTransport(connection, death)),
        stores=DeadlyStores(scene, connection, death),
        now=now,
    )
    try:
        yield built
        await built.gateway.flush(5)
    finally:
        await connection.aclose()


async def body_of(reply: HttpResponse) -> bytes:
    """The whole body of an answer."""
    if isinstance(reply.body, tuple):
        return b"".join(bytes(piece) for piece in reply.body)
    return b"".join([bytes(piece) async for piece in reply.body])


async def call_and_die(scene: Scene, step: str) -> None:
    """Make the call."""
    death = Death(step)
    async with gateway(scene, death) as built:
        await body_of(await built.gateway.generate_image(scene.call()))
        death.reach("after all")


async def order_and_die(scene: Scene, step: str) -> None:
    """Order a job, and carry it out."""
    death = Death(step)
    async with gateway(scene, death) as built:
        reply = await built.gateway.generate_image(scene.call(prefer="respond-async"))
        death.reach("after order")
        job_id = json.loads(await body_of(reply))["id"]
        await built.job_runner.run(job_id, 1)


async def take_and_die(scene: Scene, step: str) -> None:
    """Carry out what a message asks for."""
    async with gateway(scene, Death(step)) as built:
        await built.queue_consumer().consume(scene.letter, "message-1", 1)


def _run(act: Callable[[Scene, str], Any], scene: Scene, step: str) -> None:
    asyncio.run(act(scene, step))


@asynccontextmanager
async def dying(act: Callable[[Scene, str], Any], scene: Scene, step: str) -> AsyncIterator[Any]:
    """Act in a process of its own; when the block is over it must have been killed."""
    process = _PROCESSES.Process(target=_run, args=(act, scene, step), daemon=True)
    process.start()
    try:
        yield process
        await asyncio.to_thread(process.join, SECONDS_TO_DIE)
        assert -signal.SIGKILL == process.exitcode
    finally:
        process.kill()
        process.join()
