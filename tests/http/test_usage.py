"""The admin API: what keys have used, over HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
import pytest_asyncio

from core.storage.memory import MemoryTables
from tests.auth.storing import OUT_OF_REACH, Watched
from tests.house import key_record
from tests.http.governing import USAGE, Operator, governed, own_path, token
from tests.http.wire import QUICK, said
from tests.waiting import HANGS_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = {
    "rate_limit": {"requests": {"limit": 60, "window": "1m"}, "images": {"limit": 20, "window": "1h"}},
    "budget": None,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator():
    """An operator of a gateway."""
    async with governed() as own:
        yield own


async def reported(operator: Operator, path: str, calls: int, **query: str) -> dict[str, Any]:
    """A report, once it has so many calls: the ledger is written behind the answers."""
    async with asyncio.timeout(HANGS_SECONDS):
        while True:
            response = await operator.ask("GET", path, params=query)
            assert 200 == response.status_code, response.text
            report: dict[str, Any] = response.json()
            if report["totals"]["calls"] >= calls:
                return report


# ------------------------------------------------------------------------------------------------ one key


async def test_how_a_key_stands(operator):
    """What is left of each limit now, and what was drawn this month."""
    made = await operator.make(deployments=[QUICK], **LIMITS)
    for _ in range(2):
        assert 200 == (await operator.house.draw(QUICK, key=made["key"], n=2)).status_code
    report = await reported(operator, own_path(made["virtual_key"], "usage"), 2)
    assert (made["virtual_key"]["id"], 0, None) == (report["id"], report["in_flight"], report["budget"])
    assert ({"limit": 60, "window": "1m", "remaining": 58}, {"limit": 20, "window": "1h", "remaining": 16}) == (
        {name: value for name, value in report["requests"].items() if name != "reset_seconds"},
        {name: value for name, value in report["images"].items() if name != "reset_seconds"},
    )
    assert (2, 4) == (report["totals"]["calls"], report["totals"]["images"])
    assert [dt.datetime.now(dt.UTC).date().isoformat()] == [line["day"] for line in report["usage"]]


async def test_budget(operator):
    """What is left of a budget, and when it renews."""
    record = (await operator.make(budget={"usd": 0.3, "window": "total"}))["virtual_key"]
    report = await reported(operator, own_path(record, "usage"), 0)
    expected = {
        "usd": 0.3,
        "window": "total",
        "spent_usd": 0,
        "reserved_usd": 0,
        "remaining_usd": 0.3,
        "renews_at": None,
    }
    assert expected == report["budget"]
    assert ([], 0) == (report["usage"], report["totals"]["calls"])


async def test_without_limits(operator):
    """A key without limits has nothing to stand with; what it draws is reported all the same."""
    made = await operator.make(deployments=[QUICK], rate_limit=None, budget=None)
    await operator.house.draw(QUICK, key=made["key"])
    report = await reported(operator, own_path(made["virtual_key"], "usage"), 1)
    assert [None] * 3 == [report[name] for name in ("requests", "images", "budget")]


async def test_last_used(operator):
    """When a key was last used is shown, and does not change its record."""
    made = await operator.make(deployments=[QUICK], rate_limit=None, budget=None)
    await operator.house.draw(QUICK, key=made["key"])
    async with asyncio.timeout(HANGS_SECONDS):
        while (record := await operator.show(made["virtual_key"]["id"]))["last_used_at"] is None:
            pass
    used = dt.datetime.fromisoformat(record["last_used_at"])
    assert dt.timedelta(minutes=1) > dt.datetime.now(dt.UTC) - used
    assert made["virtual_key"] == {**record, "last_used_at": None}
    changed = (await operator.change(record, name="B")).json()["virtual_key"]
    assert record["last_used_at"] == changed["last_used_at"]


async def test_keys_of_the_setting():
    """A key of the setting is counted and reported like any other."""
    async with governed(GATEWAY_VIRTUAL_KEYS=[key_record(**LIMITS)]) as operator:
        assert 200 == (await operator.house.draw(QUICK)).status_code
        report = await reported(operator, "/api/governance/virtual-keys/team-a/usage", 1)
    assert (59, 19) == (report["requests"]["remaining"], report["images"]["remaining"])


# ------------------------------------------------------------------------------------------------ all callers


async def test_all_callers():
    """Keys and admins, each with a line, also those whose key is gone; lines and pages come to the totals."""
    async with governed() as operator:
        made = await operator.make(deployments=[QUICK], rate_limit=None, budget=None)
        for key in (made["key"], made["key"], token()):
            assert 200 == (await operator.house.draw(QUICK, key=key)).status_code
        await operator.ask("DELETE", own_path(made["virtual_key"]))
        report = await reported(operator, USAGE, 3)
        lines = {line["key_id"]: (line["admin"], line["calls"]) for line in report["usage"]}
        assert {made["virtual_key"]["id"]: (False, 2), "root": (True, 1)} == lines
        assert ("key", None) == (report["group_by"], report["next_cursor"])
        first = await reported(operator, USAGE, 3, limit="1")
        second = await reported(operator, USAGE, 3, limit="1", cursor=first["next_cursor"])
        assert report["usage"] == first["usage"] + second["usage"]
        assert [report["totals"]] * 2 == [first["totals"], second["totals"]]
        by_deployment = await reported(operator, USAGE, 3, group_by="deployment")
        assert [(QUICK, 3)] == [(line["deployment"], line["calls"]) for line in by_deployment["usage"]]


@pytest.mark.parametrize("path", [USAGE, "/api/governance/virtual-keys/team-a/usage"])
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "2026-11-02", "to": "2026-11-01"}, "to"),
        ({"from": "2025-01-01", "to": "2026-11-01"}, "to"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"to": "20261101"}, "to"),
        ({"to": "2026-11-01T00:00:00Z"}, "to"),
        ({"from": ""}, "from"),
        ({"group_by": "month"}, "group_by"),
        ({"group_by": "KEY"}, "group_by"),
    ],
    ids=str,
)
async def test_wrong_queries(operator, path, query, param):
    """Days that are none, in the wrong order or too many, and other groups, are 400 and named."""
    assert (400, "invalid_value", param) == said(await operator.ask("GET", path, params=query))


async def test_days(operator):
    """The days are those that were asked for; by default this month, to today."""
    today = dt.datetime.now(dt.UTC).date()
    report = await reported(operator, USAGE, 0)
    assert (today.replace(day=1).isoformat(), today.isoformat()) == (report["from"], report["to"])
    report = await reported(operator, USAGE, 0, to="2026-02-15")
    assert ("2026-02-01", "2026-02-15") == (report["from"], report["to"])


async def test_outage():
    """What cannot be read is 503, and may be asked again."""
    watched = Watched(MemoryTables())
    async with governed(tables=watched) as operator:
        record = (await operator.make())["virtual_key"]
        watched.fails = OUT_OF_REACH
        for path in (USAGE, own_path(record, "usage")):
            assert (503, "store_unavailable", None) == said(await operator.ask("GET", path))
