"""Thousands of randomly faulty calls: nothing is bought twice, and every call ends in time."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import httpx2

from adapters.bootstrap import build
from core.azure_openai.sending import SENDING
from core.domain.http_request import HttpRequest
from core.settings.settings import read_settings
from tests.house import KEY, key_record
from tests.transports import everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


SEED = 20261122
CALLS = 2000
DEADLINE = 220.0
NAMES = ("red", "green", "blue")
PICTURE = b'{"created":1,"data":[{"b64_json":"AAAA"}]}'
PARTIAL = b'data: {"type":"image_generation.partial_image","b64_json":"AA","partial_image_index":0}\n\n'
COMPLETED = b'data: {"type":"image_generation.completed","b64_json":"AAAA"}\n\n'


class World:
    """A clock that goes as the calls go, and targets that fail as chance will have it."""

    def __init__(self) -> None:
        self.chance = random.Random(SEED)  # noqa: S311 -- a test that can be repeated
        self.seconds = 0.0
        self.asked: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        """For each call: each target that got it, and whether it may have drawn."""
        self.endings: Counter[str] = Counter()

    def clock(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 11, 22, tzinfo=dt.UTC) + dt.timedelta(seconds=self.seconds)

    async def wait(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as chance will have it."""
        ending = self.chance.choice(ENDINGS)
        self.endings[ending] += 1
        self.seconds += self.chance.choice((0.1, 1.0, 15.0))
        target = str(request.url).split("/images/")[0]
        event_id = request.headers["x-ms-client-request-id"]
        if ending == "not sent":
            raise httpx2.ConnectError("nobody there")
        await request.extensions["trace"](SENDING, {})
        late = self.chance.random() < 0.3
        may_have_drawn = ending in MAY_HAVE_DRAWN or (ending == "500" and late)
        self.asked[event_id].append((target, may_have_drawn))
        if late:
            self.seconds += 11
        if ending == "lost":
            raise httpx2.ReadError("lost")
        return _answer(ending)


def _answer(ending: str) -> httpx2.Response:
    """One answer of a target."""
    stream = ending in {"stream", "cut stream", "error in stream"}
    headers = {"content-type": "text/event-stream" if stream else "application/json"}
    if ending == "429":
        headers["retry-after"] = "3"
    status = int(ending) if ending.isdigit() else 200
    return httpx2.Response(status, headers=headers, content=_pieces(ending))


async def _pieces(ending: str) -> AsyncGenerator[bytes]:
    match ending:
        case "picture":
            yield PICTURE
        case "stream":
            yield PARTIAL
            yield COMPLETED
        case "cut":
            yield PICTURE[:20]
            raise httpx2.ReadError("cut short")
        case "no picture":
            yield b'{"data":[]}'
        case "cut stream":
            yield PARTIAL
        case "error in stream":
            yield PARTIAL
            yield b'data: {"type":"error","code":"server_error","message":"x"}\n\n'
        case _:
            yield b'{"error":{"code":"x","message":"x"}}'


MAY_HAVE_DRAWN = {"lost", "cut", "no picture", "cut stream", "error in stream"}
ENDINGS = (
    *("picture", "stream", "429", "500", "503", "408", "401", "404", "400"),
    *("not sent", "lost", "cut", "no picture", "cut stream", "error in stream"),
)


def _catalogue() -> dict[str, object]:
    """Three deployments of three targets each, which they partly share."""
    targets = [
        {"endpoint": f"https://{host}.example.com", "deployment": "image", "api_key": "env:THE_KEY"} for host in "abcde"
    ]
    return {
        "deployments": {
            name: {"family": "gpt-image-1", "targets": targets[number : number + 3]}
            for number, name in enumerate(NAMES)
        }
    }


async def test_nothing_is_bought_twice() -> None:
    """No target gets a request again that it may have drawn, and every call ends within its deadline."""
    world = World()
    settings = read_settings(
        {
            "GATEWAY_CATALOGUE": json.dumps(_catalogue()),
            "GATEWAY_VIRTUAL_KEYS": json.dumps([key_record()]),
            "THE_KEY": "a key",
        }
    )
    gateway = build(
        settings,
        transports=everywhere(world),
        clock=world.clock,
        now=world.now,
        wait=world.wait,
        chance=world.chance.random,
    )
    statuses: Counter[int] = Counter()
    for number in range(CALLS):
        first, *others = world.chance.sample(NAMES, k=world.chance.randint(1, 3))
        body = {"model": "m", "prompt": "p", "fallbacks": others, "stream": world.chance.random() < 0.5}
        began_at = world.seconds
        reply = await gateway.generate_image(
            HttpRequest(
                parameters={"deployment": first},
                headers=[("authorization", f"Bearer {KEY}"), ("x-request-id", str(number))],
                body=json.dumps(body).encode(),
            )
        )
        if not isinstance(reply.body, tuple):
            async for _ in reply.body:
                pass
            await reply.body.aclose()
        # The deadline, and the one answer that the fake world lets go over it.
        assert world.seconds - began_at < DEADLINE + 26
        statuses[reply.status] += 1
        world.seconds += world.chance.choice((0.0, 1.0, 60.0))
    for attempts in world.asked.values():
        for number, (target, may_have_drawn) in enumerate(attempts):
            if may_have_drawn:
                assert target not in [later for later, _ in attempts[number + 1 :]]
    assert set(ENDINGS) == set(world.endings), "the world did all that it can do"
    assert statuses[200] > CALLS / 4
