"""A caller with a name that leaves while the store is being asked: nothing is left half done."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from adapters.bootstrap import compose
from core.domain.http_request import HttpRequest
from core.settings.settings import read_settings
from core.storage.memory import MemoryTables
from tests.fakes import COMPLETED, FakeTransport, Row
from tests.house import KEY, PROMPT, environment
from tests.transports import everywhere
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.storage.tables import Change, Table
    from core.storage.tables import Row as TableRow

PICTURE = b"event: %s\ndata: %s\n\n" % (
    COMPLETED.encode(),
    orjson.dumps({"type": COMPLETED, "b64_json": "QUJD", "created_at": 1}),
)


class SlowTables:
    """Tables, one of which makes its first change at once and takes its time to say so."""

    def __init__(self, slow: str) -> None:
        self._tables = MemoryTables()
        self._slow = slow
        self.changed = asyncio.Event()
        self.answers = asyncio.Event()

    def table(self, name: str) -> Any:
        """Give a table by its name (see Tables.table)."""
        table = self._tables.table(name)
        return SlowTable(table, self) if name == self._slow else table


class SlowTable:
    """That one."""

    def __init__(self, table: Table, tables: SlowTables) -> None:
        self._table = table
        self._tables = tables

    async def change(self, *changes: Change) -> Sequence[TableRow]:
        """Make changes (see Table.change)."""
        rows = await self._table.change(*changes)
        self._tables.changed.set()
        await self._tables.answers.wait()
        return rows

    def __getattr__(self, method: str) -> Any:
        """All else is as it is."""
        return getattr(self._table, method)


def call(**headers: str) -> HttpRequest:
    """A call with a name."""
    given = {"authorization": f"Bearer {KEY}", "host": "127.0.0.1", "idempotency-key": "order-4711", **headers}
    body = json.dumps({"model": "gpt-image-1", "prompt": PROMPT}).encode()
    return HttpRequest(parameters={"deployment": "gpt-image-1"}, headers=list(given.items()), body=body)


@pytest.mark.parametrize(
    ("table", "headers", "status", "replayed"),
    [
        ("GatewayOnce", {}, 200, None),
        ("GatewayOnce", {"prefer": "respond-async"}, 202, None),
        ("GatewayJobs", {"prefer": "respond-async"}, 202, "true"),
    ],
    ids=["claiming", "claiming-for-a-job", "ordering"],
)
async def test_a_repeat_is_answered(table: str, headers: dict[str, str], status: int, replayed: str | None) -> None:
    """A name that was just claimed is given back; an order that was begun is taken. Either way it is drawn once."""
    upstream = FakeTransport(Row(headers={"content-type": "text/event-stream"}, pieces=[PICTURE]))
    tables = SlowTables(table)
    settings = read_settings(environment("https://example.openai.azure.com"))
    built = compose(settings, transports=everywhere(upstream), tables=tables)
    gateway = built.gateway
    leaving = asyncio.ensure_future(gateway.generate_image(call(**headers)))
    await tables.changed.wait()
    leaving.cancel()
    early = await gateway.generate_image(call(**headers))
    assert 409 == early.status
    tables.answers.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    repeat = await gateway.generate_image(call(**headers))
    assert (status, replayed) == (repeat.status, repeat.headers.get("idempotent-replayed"))
    if status == 202:
        await _until_it_has_ended(built.services.jobs, repeat.headers["location"].rpartition("/")[2])
    assert 1 == len(upstream.requests)


async def _until_it_has_ended(jobs: Any, job_id: str) -> None:
    request = HttpRequest(parameters={"id": job_id}, headers=[("authorization", f"Bearer {KEY}")])
    async with asyncio.timeout(HANGS_SECONDS):
        while True:
            shown = await jobs.show(request)
            if b'"status":"succeeded"' in b"".join(shown.whole):
                return
            await asyncio.sleep(0)
