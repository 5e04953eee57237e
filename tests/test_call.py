"""The books of a call: settled when its generation has ended, written down once, whichever way it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from msgspec.structs import replace

from adapters.bootstrap import build
from core.domain.http_request import HttpRequest
from core.domain.limits import Limits, Rate
from core.domain.response import Stream
from core.ledger.writer import LedgerWriter
from core.limits.quota_store import QuotaStore
from core.settings.settings import read_settings
from core.storage.memory import MemoryTables
from core.storage.row_keys import COUNTERS
from tests.fakes import COMPLETED, PARTIAL, FakeTransport, Row
from tests.house import KEY, PROMPT, environment, key_record
from tests.limits.shaky import ShakyCounters
from tests.transports import everywhere

if TYPE_CHECKING:
    from core.gateway import Gateway
    from core.ledger.entry import Entry
    from core.limits.limit_status import LimitStatus
    from core.storage.tables import Tables

ALLOWANCE = Limits(images=Rate(limit=10, window_seconds=3600))


def event(name: str) -> bytes:
    """An event of upstream's stream."""
    data = {"type": name, "b64_json": "QUJD", "partial_image_index": 0, "created_at": 1}
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


def gateway(
    tables: Tables, *pieces: bytes | BaseException | asyncio.Event, turn: asyncio.Event | None = None
) -> Gateway:
    """A gateway whose key may draw ten pictures an hour, before an upstream that streams these pieces."""
    connection = FakeTransport(Row(headers={"content-type": "text/event-stream"}, pieces=pieces, turn=turn or 0.0))
    keys = [key_record(rate_limit={"images": {"limit": 10, "window": "1h"}})]
    settings = read_settings(environment("https://example.openai.azure.com", GATEWAY_VIRTUAL_KEYS=keys))
    return build(settings, transports=everywhere(connection), tables=tables)


def call(**body: Any) -> HttpRequest:
    """A call for a picture."""
    return HttpRequest(
        parameters={"deployment": "gpt-image-1"},
        headers=[("authorization", f"Bearer {KEY}")],
        body=json.dumps({"model": "m", "prompt": PROMPT, **body}).encode(),
    )


async def status(tables: Tables) -> LimitStatus:
    """How the key stands."""
    account = (await QuotaStore(tables.table(COUNTERS), "team-a").read()).quota
    return account.status(0, ALLOWANCE)


async def drawn(tables: Tables) -> tuple[int, int]:
    """Calls in flight, and pictures that count, once all that can be done has been."""
    for _ in range(20):
        await asyncio.sleep(0)
    found = await status(tables)
    assert found.images is not None
    return found.in_flight, 10 - found.images.remaining


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """What ledgers are given."""
    entries: list[Entry] = []
    monkeypatch.setattr(LedgerWriter, "note", lambda _, entry: entries.append(entry))
    return entries


async def test_a_stream_that_nobody_reads_is_settled() -> None:
    """What a call came to is known when the picture is there, and does not wait until it has been read."""
    tables = MemoryTables()
    reply = await gateway(tables, event(COMPLETED)).generate_image(call(stream=True))
    assert isinstance(reply.body, Stream)
    assert (0, 1) == await drawn(tables)
    await reply.body.aclose()
    assert (0, 1) == await drawn(tables)


async def test_a_stream_that_is_left_is_settled() -> None:
    """A caller who stops reading before the picture is there holds its reservation until the stream is closed."""
    tables = MemoryTables()
    reply = await gateway(tables, event(PARTIAL), asyncio.Event()).generate_image(call(stream=True, partial_images=1))
    assert isinstance(reply.body, Stream)
    assert (1, 1) == await drawn(tables)
    await reply.body.aclose()
    assert (0, 1) == await drawn(tables)


@pytest.mark.parametrize(("cancels", "counted"), [(1, 1), (2, 1)])
async def test_a_call_that_goes_on_when_it_is_left_is_not_settled_as_nothing(
    noted: list[Entry], cancels: int, counted: int
) -> None:
    """A call under a name that is left before it was sent is drawn all the same, and counts whenever its books close.

    The second cancel is the host's, at the end of its patience: whoever waited for the generation is gone then.
    """
    tables, turn = MemoryTables(), asyncio.Event()
    own = gateway(tables, event(COMPLETED), turn=turn)
    named = call()
    leaving = asyncio.ensure_future(
        own.generate_image(replace(named, headers=[*named.headers, ("idempotency-key", "k")]))
    )
    for _ in range(cancels):
        await drawn(tables)
        leaving.cancel()
    await drawn(tables)
    turn.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (0, counted) == await drawn(tables)
    assert [1] == [entry.bill.counted_images for entry in noted]


async def test_a_call_that_is_left_before_it_was_sent(noted: list[Entry]) -> None:
    """It has cost nothing, and so it stands in the ledger."""
    tables = MemoryTables()
    leaving = asyncio.ensure_future(gateway(tables, turn=asyncio.Event()).generate_image(call()))
    assert (1, 1) == await drawn(tables)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (0, 0) == await drawn(tables)
    assert [("left", False, 0)] == [
        (entry.outcome, entry.bill.possibly_billed, entry.bill.counted_images) for entry in noted
    ]


async def test_a_call_that_fails_in_our_hands_is_settled() -> None:
    """A fault of ours leaves no reservation behind; the picture may have been drawn."""
    tables = MemoryTables()
    reply = await gateway(tables, ZeroDivisionError()).generate_image(call())
    assert (500, (0, 1)) == (reply.status, await drawn(tables))


async def test_a_call_is_written_down_once(caplog: pytest.LogCaptureFixture, noted: list[Entry]) -> None:
    """However often a stream is closed, there is one line in the log and one entry in the ledger."""
    caplog.set_level(logging.INFO, "gateway.calls")
    reply = await gateway(MemoryTables(), event(COMPLETED)).generate_image(call(stream=True))
    assert isinstance(reply.body, Stream)
    assert ([], []) == (noted, caplog.records)
    for _ in range(3):
        await reply.body.aclose()
    assert (1, 1) == (len(noted), len(caplog.records))


async def test_the_end_of_the_process_keeps_what_there_is() -> None:
    """What could not be settled while the store was down is, before the process ends."""
    tables = ShakyCounters()
    ending = gateway(tables, event(PARTIAL), asyncio.Event())
    reply = await ending.generate_image(call(stream=True, partial_images=1))
    assert isinstance(reply.body, Stream)
    tables.counters.down = True
    await reply.body.aclose()
    while tables.counters.reads < 2:  # noqa: ASYNC110 -- a table has no event to wait for
        await asyncio.sleep(0)
    tables.counters.down = False
    await ending.flush(5)
    assert (0, 1) == await drawn(tables)


async def test_a_caller_who_leaves_while_it_is_let_through(noted: list[Entry]) -> None:
    """Nothing was sent, so nothing is held; the call is in the ledger all the same."""
    tables = ShakyCounters()
    writing = asyncio.Event()

    async def hold() -> None:
        writing.set()
        await asyncio.sleep(0)

    tables.counters.before_write = hold
    own = gateway(tables, event(COMPLETED))
    leaving = asyncio.create_task(own.generate_image(call()))
    await writing.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await own.flush(5)
    assert (0, 0) == await drawn(tables)
    assert [("left", None, 0)] == [(entry.outcome, entry.status, entry.bill.nanos) for entry in noted]
