"""One row for each call, and what it cost: through the running gateway, in front of the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from core.ledger.reports import Days
from core.storage.memory import MemoryTables
from core.storage.row_keys import LEDGER, BilledParty
from core.storage.tables import StoreUnavailable
from tests.house import KEY, PROMPT, House, house
from tests.http.test_who import SECRET, TRUST, token
from tests.limits.statements import Statements
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from core.storage.tables import Change, Row

TODAY = dt.datetime(2026, 10, 5, 12, tzinfo=dt.UTC)
OCTOBER = Days(first=dt.date(2026, 10, 1), last=dt.date(2026, 10, 31))
TEAM_A = BilledParty(id="team-a")
CATALOGUE = {
    "deployments": {
        "square": {"family": "gpt-image-1", "targets": [{"deployment": "gpt-image-1"}]},
        "second": {"family": "gpt-image-2", "targets": [{"deployment": "gpt-image-2"}]},
        "cheap": {
            "family": "gpt-image-1",
            "price": {"text_in": 1, "image_in": 1, "image_out": 1},
            "targets": [{"deployment": "gpt-image-1"}],
        },
        "nobody-knows": {"family": None, "targets": [{"deployment": "gpt-image-1"}]},
        "flux-1.1-pro": {},
        "dall-e-3": {},
        **{
            name: {"family": "gpt-image-1", "targets": [{"deployment": f"gpt-image-1--fault-{name}"}]}
            for name in ("no-usage", "content-policy", "reset", "hang", "stream-hang-after-1")
        },
    }
}
LOW = {"size": "1024x1024", "quality": "low"}
TEXT_IN = max(1, len(PROMPT) // 4)
"""What the emulator counts for the prompt."""


class WatchedTables(MemoryTables):
    """Tables in memory that tell when calls have been written, and can be out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Condition()
        self.in_reach = asyncio.Event()
        self.in_reach.set()

    def table(self, name: str) -> Any:
        table = super().table(name)
        return _WatchedTable(self, table) if name == LEDGER else table

    async def calls(self, count: int, billed_party: BilledParty = TEAM_A) -> list[dict[str, Any]]:
        """All calls of a payer, once there are so many."""
        async with asyncio.timeout(HANGS_SECONDS), self.written:
            while len(found := (await Statements(self).calls(billed_party, OCTOBER)).as_json()["calls"]) < count:
                await self.written.wait()
            return found


class _WatchedTable:
    def __init__(self, tables: WatchedTables, table: Any) -> None:
        self._tables = tables
        self.page = table.page
        self._change = table.change

    async def change(self, *changes: Change) -> Sequence[Row]:
        if not self._tables.in_reach.is_set():
            raise StoreUnavailable("connection refused", perhaps_done=False)
        rows: Sequence[Row] = await self._change(*changes)
        async with self._tables.written:
            self._tables.written.notify_all()
        return rows


@pytest.fixture
async def tables() -> WatchedTables:
    """Where the gateway's rows are kept."""
    return WatchedTables()


@pytest.fixture
async def gateway(tables: WatchedTables) -> AsyncIterator[House]:
    """A gateway that lives on one day of October."""
    settings = {"GATEWAY_CATALOGUE": CATALOGUE, "GATEWAY_MAX_RETRIES": "0", "GATEWAY_JWT_SECRET": SECRET, **TRUST}

    async def wait(_: float) -> None:
        await tables.in_reach.wait()

    async with house(tables=tables, now=lambda: TODAY, wait=wait, **settings) as running:
        yield running


def cost(call: dict[str, Any]) -> tuple[Any, ...]:
    """What a call came to."""
    return call["nanos"], call["basis"], call["images"], call["possibly_billed"]


async def test_a_picture(gateway: House, tables: WatchedTables) -> None:
    """A call that drew has the tokens that upstream counted, and costs them at the list price of its family."""
    answer = await gateway.draw("square", **LOW, headers={"x-request-id": "my-call"})

    (call,) = await tables.calls(1)
    tokens = answer.json()["usage"]
    assert (tokens["input_tokens"], tokens["output_tokens"]) == (call["text_in"], call["image_out"])
    assert (TEXT_IN * 5_000 + 272 * 40_000, "usage", 1, False) == cost(call)
    assert {
        "key_id": "team-a",
        "event_id": "my-call",
        "deployment": "square",
        "deployment_used": "square",
        "family": "gpt-image-1",
        "n": 1,
        "size": "1024x1024",
        "quality": "low",
        "stream": False,
        "outcome": "picture",
        "status": 200,
        "attempts": 1,
        "first_event_ms": None,
        "price_as_of": "2026-11-01",
    }.items() <= call.items()
    assert 0 <= call["latency_ms"] < 10_000


async def test_a_stream(gateway: House, tables: WatchedTables) -> None:
    """A stream's usage comes with its last event, and has its partial images in it."""
    await gateway.draw("second", **LOW, stream=True, partial_images=2)

    (call,) = await tables.calls(1)
    assert (TEXT_IN * 5_000 + (196 + 200) * 30_000, "usage", 1, False) == cost(call)
    assert call["stream"]
    assert 0 <= call["first_event_ms"] <= call["latency_ms"]


PRICED = {
    "several pictures": ("square", {**LOW, "n": 3}, (TEXT_IN * 5_000 + 3 * 272 * 40_000, "usage", 3, False)),
    "a price of its own": ("cheap", LOW, (TEXT_IN * 1_000 + 272 * 1_000, "usage", 1, False)),
    "no usage": ("no-usage", LOW, (272 * 40_000, "estimate", 1, False)),
    "neither family nor price": ("nobody-knows", LOW, (None, "unknown", 1, False)),
    "by the picture": ("flux-1.1-pro", {"n": 2}, (80_000_000, "per_image", 2, False)),
    "by quality and size": ("dall-e-3", {"quality": "hd", "size": "1792x1024"}, (120_000_000, "per_image", 1, False)),
    "a refused prompt": ("content-policy", LOW, (0, "not_billed", 0, False)),
    "a connection that broke": ("reset", LOW, (272 * 40_000, "estimate", 0, True)),
    "a refused request": ("square", {"n": 11}, (0, "not_billed", 0, False)),
    "a broken connection, and a fallback": (
        "reset",
        {**LOW, "fallbacks": ["second"]},
        (272 * 40_000 + TEXT_IN * 5_000 + 196 * 30_000, "estimate", 1, True),
    ),
}


@pytest.mark.parametrize(("deployment", "body", "expected"), PRICED.values(), ids=PRICED)
async def test_cost(
    gateway: House, tables: WatchedTables, deployment: str, body: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """Usage at its price, a price for each picture, the estimate where there is neither; what is unknown is null."""
    await gateway.draw(deployment, **body)
    (call,) = await tables.calls(1)
    assert expected == cost(call)


@pytest.mark.parametrize(
    ("deployment", "body", "outcome", "status"),
    [
        ("square", {"n": 11}, "invalid_value", 400),
        ("nowhere", {}, "deployment_not_found", 404),
        ("content-policy", {}, "content_policy_violation", 400),
        ("reset", {"stream": True}, "upstream_error", 502),
    ],
)
async def test_failed_calls(
    *, gateway: House, tables: WatchedTables, deployment: str, body: dict[str, Any], outcome: str, status: int
) -> None:
    """A call that failed, wherever it did, has a row that says how."""
    await gateway.draw(deployment, **body)
    (call,) = await tables.calls(1)
    assert (outcome, status, deployment, None) == (
        call["outcome"],
        call["status"],
        call["deployment"],
        call["deployment_used"],
    )


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("deployment", ["hang", "stream-hang-after-1"])
async def test_a_caller_who_leaves(gateway: House, tables: WatchedTables, deployment: str, stream: bool) -> None:
    """What was in flight when the caller left may be billed: it is charged at its estimate, and marked."""
    async with asyncio.timeout(HANGS_SECONDS):
        call = asyncio.create_task(gateway.draw(deployment, **LOW, stream=stream))
        await gateway.calls.until(lambda calls: calls.open_now > 0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call

    (row,) = await tables.calls(1)
    assert ("left", 272 * 40_000, True, 1) == (row["outcome"], row["nanos"], row["possibly_billed"], row["attempts"])


async def test_an_admin(gateway: House, tables: WatchedTables) -> None:
    """An admin has no limits, and is in the ledger, apart from a key of the same id."""
    await gateway.draw("square", key=token(role="admin", sub="team-a"), **LOW)
    await gateway.draw("square", **LOW)
    assert [(True, 1), (False, 1)] == [
        (calls[0]["admin"], len(calls))
        for calls in (await tables.calls(1, BilledParty(id="team-a", is_admin=True)), await tables.calls(1))
    ]


async def test_a_stranger(gateway: House, tables: WatchedTables) -> None:
    """A call without a caller is nobody's, and has no row."""
    await gateway.draw("square", key="sk-bf-unknown")
    await gateway.draw("square", **LOW)
    assert ["picture"] == [call["outcome"] for call in await tables.calls(1)]


async def test_the_store_is_out_of_reach(gateway: House, tables: WatchedTables) -> None:
    """A store that is down loses no answer, and no row once it is back."""
    tables.in_reach.clear()
    answers = [await gateway.draw("square", **LOW) for _ in range(2)]
    tables.in_reach.set()
    assert ([200, 200], 2) == ([answer.status_code for answer in answers], len(await tables.calls(2)))


async def test_nothing_that_must_not_be_kept(gateway: House, tables: WatchedTables) -> None:
    """Neither a prompt, nor a picture, nor a key is in any row of any table."""
    answer = await gateway.draw("square", prompt="canary of a prompt", user="canary-of-a-user", **LOW)
    await gateway.draw("square", prompt="canary of a prompt" * 9_000)
    await tables.calls(2)

    kept = str([table._rows for table in tables._tables.values()])
    picture = answer.json()["data"][0]["b64_json"]
    assert "team-a" in kept
    assert not any(secret in kept for secret in ("canary", KEY, picture[:40]))
