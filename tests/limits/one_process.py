"""A gateway in a process of its own, over the tables of a running Azurite: `python -m tests.limits.one_process`.

It gets one JSON object as its argument: `storage` (a connection string), `prefix` (of the tables' names), `calls` (how
many at the same time), `n` (pictures asked for by each) and `draws` (or upstream never answers). It prints `ready` and
waits for a line; then `asked` with the first call that goes upstream, and at the end the statuses of all as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import orjson

from adapters.azure_storage.tables import AzureTables
from adapters.bootstrap import build
from core.azure_openai.token_source import NoIdentity
from core.domain.http_request import HttpRequest
from core.settings.environment import Environment
from core.settings.settings import read_settings
from core.settings.storage import read_storage
from tests.fakes import COMPLETED, FakeTransport, Row
from tests.house import KEY, PROMPT, environment, key_record
from tests.transports import everywhere, new_transport

if TYPE_CHECKING:
    import httpx2

    from core.gateway import Gateway

LIMIT = 30
"""Pictures in an hour."""
RATES = {"images": {"limit": LIMIT, "window": "1h"}}
PICTURE = b"event: %s\ndata: %s\n\n" % (
    COMPLETED.encode(),
    orjson.dumps({"type": COMPLETED, "b64_json": "QUJD", "created_at": 1}),
)


def storage(connection_string: str, prefix: str, connection: httpx2.AsyncBaseTransport) -> AzureTables:
    """The tables of this test."""
    account = read_storage(Environment({"AzureWebJobsStorage": connection_string}))
    assert account is not None
    return AzureTables(account, connection, NoIdentity(), prefix=prefix)


def call(**body: Any) -> HttpRequest:
    """A call for a picture."""
    return HttpRequest(
        parameters={"deployment": "gpt-image-1"},
        headers=[("authorization", f"Bearer {KEY}")],
        body=json.dumps({"model": "m", "prompt": PROMPT, **body}).encode(),
    )


async def status(gateway: Gateway, n: int) -> int:
    """Make one call."""
    return (await gateway.generate_image(call(n=n))).status


async def main(storage_string: str, prefix: str, *, calls: int, n: int, draws: bool) -> None:
    """Make all calls at the same time."""
    connection = new_transport()
    upstream = Upstream(draws=draws)
    keys = [key_record(rate_limit=RATES)]
    settings = read_settings(environment("https://example.openai.azure.com", GATEWAY_VIRTUAL_KEYS=keys))
    gateway = build(settings, transports=everywhere(upstream), tables=storage(storage_string, prefix, connection))
    say("ready")
    sys.stdin.readline()
    statuses = await asyncio.gather(*(status(gateway, n) for _ in range(calls)))
    await gateway.flush(10)
    await connection.aclose()
    say(json.dumps(statuses))


class Upstream(FakeTransport):
    """Draws at once, or never; says when it is first asked."""

    def __init__(self, *, draws: bool) -> None:
        gate = None if draws else asyncio.Event()
        super().__init__(Row(headers={"content-type": "text/event-stream"}, pieces=[PICTURE], gate=gate))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self.requests:
            say("asked")
        return await super().handle_async_request(request)


def say(line: str) -> None:
    """Say something to whoever has started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    asyncio.run(main(told["storage"], told["prefix"], calls=told["calls"], n=told["n"], draws=told["draws"]))
