"""The administration apart from HTTP: races for a key, faults of ours, and when it is imported."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from core.admin.http_api import AdminApi
from core.admin.keys import MAX_RACES, Condition, Keys
from core.admin.usage import Usage
from core.auth.authenticator import Authenticator
from core.auth.caller import Caller
from core.auth.key_cache import KeyCache
from core.auth.key_store import KeyStore
from core.auth.virtual_keys import ConfiguredKeys, VirtualKey
from core.cors import CorsPolicy
from core.domain.errors import EtagMismatch
from core.domain.http_request import HttpRequest
from core.ledger.reports import UsageReports
from core.limits.limiter import Limiter
from core.routes import Router, Services
from tests.auth.storing import TERMS, KeyTerms, Wall, Watched
from tests.fakes import Clock
from tests.house import ROOT, environment
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from core.storage.tables import Tables

WHATEVER = Condition(frozenset({"*"}))


class Admin(Authenticator):
    """Lets everybody in as an admin."""

    def __init__(self) -> None:
        super().__init__(ConfiguredKeys([]), None, Wall())

    async def authenticate(self, credential: Any) -> Caller:
        """An admin."""
        return Caller(id="root", is_admin=True)


def keys_in(tables: Tables, *of_setting: VirtualKey) -> tuple[Keys, KeyStore]:
    """Keys over some tables, behind those of the setting."""
    wall = Wall()
    stored = KeyStore(tables, now=wall)
    cached = KeyCache(stored, seconds=30, clock=Clock())
    return Keys(ConfiguredKeys(of_setting), stored, cached, tables.table("GatewayCounters"), wall), stored


def administration(tables: Tables) -> AdminApi:
    """An administration over some tables."""
    wall = Wall()
    governor = Limiter(tables, call_seconds=1, now=wall, wait=Clock().wait, chance=lambda: 0.0)
    return AdminApi(
        authenticator=Admin(), keys=keys_in(tables)[0], usage=Usage(governor, UsageReports(tables)), now=wall
    )


# ------------------------------------------------------------------------------------------------ pages


async def test_a_page_that_the_setting_fills(tables) -> None:
    """It is the last where nothing is stored, and another follows where something is."""
    keys, stored = keys_in(tables, *(VirtualKey(id=name, name=name, key_sha256=name) for name in "ab"))
    page = await keys.page(cursor=None, limit=2)
    assert (["a", "b"], None) == ([view.id for view in page.virtual_keys], page.next_cursor)
    record = (await stored.create(TERMS)).record
    page = await keys.page(cursor=None, limit=2)
    assert ["a", "b"] == [view.id for view in page.virtual_keys]
    assert page.next_cursor is not None
    last = await keys.page(cursor=page.next_cursor, limit=2)
    assert ([record.id], None) == ([view.id for view in last.virtual_keys], last.next_cursor)


# ------------------------------------------------------------------------------------------------ races


async def test_whoever_changes_whatever_is_there(tables) -> None:
    """With `If-Match: *` changes that race all get through, one after the other."""
    keys, _ = keys_in(tables)
    key_id = (await keys.create(TERMS)).virtual_key.id

    async def with_name(name: str) -> None:
        await keys.change(key_id, WHATEVER, lambda terms: KeyTerms(name=name, metadata={**terms.metadata, name: ""}))

    await asyncio.gather(*(with_name(f"{number}") for number in range(3)))
    assert {"0", "1", "2"} == (await keys.get(key_id)).metadata.keys()


async def test_a_race_without_end() -> None:
    """Who is always too late is told so in the end."""
    watched = Watched()
    keys, stored = keys_in(watched)
    key_id = (await keys.create(TERMS)).virtual_key.id
    tries = 0

    async def change_it_meanwhile(record: Any) -> None:
        nonlocal tries
        tries += 1
        await stored.change(record, KeyTerms(name=f"{tries}"))
        await stored.change(record, TERMS)

    with pytest.raises(EtagMismatch):
        await keys._changed(key_id, WHATEVER, change_it_meanwhile)
    assert MAX_RACES == tries


async def test_a_rotation_and_a_deletion(tables) -> None:
    """Of a rotation and a deletion at once each is done or not done, and no secret is left over."""
    keys, _ = keys_in(tables)
    made = await keys.create(TERMS)
    condition = Condition(frozenset({made.virtual_key.etag}))
    results = await asyncio.gather(
        keys.rotate(made.virtual_key.id, condition, grace=Wall().now - Wall().now),
        keys.delete(made.virtual_key.id, condition),
        return_exceptions=True,
    )
    rows = (await tables.table("GatewayKeys").page("keys")).rows
    assert 1 == sum(isinstance(result, EtagMismatch) for result in results)
    assert len(rows) in {0, 2}


# ------------------------------------------------------------------------------------------------ faults of ours


class Broken:
    """Tables in which something is that no version of the gateway has written."""

    def table(self, name: str) -> Any:
        """No table at all."""
        return self

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("sk-bf-this must not be told")


@pytest.mark.parametrize(("method", "retry"), [("GET", None), ("DELETE", "false")])
async def test_a_fault(method: str, retry: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is 500 without its words; the log has its kind and place. A change is not to be tried again."""
    tables: Any = Broken()
    services: Any = Services(gateway=Any, jobs=Any, models=Any, cors=CorsPolicy(), admin=lambda: administration(tables))
    router = Router(services, openapi=ROOT / "openapi.json")
    path = f"/api/governance/virtual-keys/vk-{'0' * 20}"
    reply = await router.answer(HttpRequest(method=method, path=path, headers=[("authorization", "Bearer x")]))
    assert isinstance(reply.body, tuple)
    text = bytes(reply.body[0]).decode()
    assert (500, retry, "governance") == (
        reply.status,
        reply.headers.get("x-should-retry"),
        json.loads(text)["extra_fields"]["request_type"],
    )
    assert "RuntimeError" in caplog.text
    assert "sk-bf" not in text + caplog.text


# ------------------------------------------------------------------------------------------------ the cold start


def test_nothing_of_it_is_imported_before_it_is_asked() -> None:
    """An app that starts, and serves pictures, does not import the administration."""
    code = (
        "import json, sys, function_app; print(json.dumps([name for name in sys.modules"
        " if name.startswith(('core.admin', 'core.ledger.reports', 'jwt'))]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment("https://azure.example"),
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS_SECONDS,
    )
    assert [] == json.loads(done.stdout)
