"""Contract §5, the end: a gateway whose settings are wrong still answers, and says no more than that."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from adapters.azure_storage.tables import AzureTables
from core.auth.key_record import KeyTerms
from core.auth.key_store import KeyStore
from core.azure_openai.token_source import NoIdentity
from core.settings.environment import Environment
from core.settings.storage import read_storage
from tests.house import ROOT, environment, house, key_record
from tests.http.wire import path, refusal, said
from tests.transports import new_transport
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "too short a secret"
TRUST = {"GATEWAY_JWT_ISSUER": "https://issuer.example", "GATEWAY_JWT_AUDIENCE": "gateway"}
TARGET = {"deployment": "gpt-image-1"}

WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    # what is wrong: the settings, the one that is named, a word of the cure
    "no endpoint": ({"AZURE_OPENAI_ENDPOINT": None}, "AZURE_OPENAI_ENDPOINT", "https://NAME.openai.azure.com"),
    "plain http": ({"AZURE_OPENAI_ENDPOINT": "http://azure.example"}, "AZURE_OPENAI_ENDPOINT", "https"),
    "a path": ({"AZURE_OPENAI_ENDPOINT": "https://azure.example/openai"}, "AZURE_OPENAI_ENDPOINT", "without a path"),
    "a version": ({"AZURE_OPENAI_API_VERSION": "newest"}, "AZURE_OPENAI_API_VERSION", "a date"),
    "keys that are no JSON": ({"GATEWAY_VIRTUAL_KEYS": "sk-bf-x"}, "GATEWAY_VIRTUAL_KEYS", "valid JSON"),
    "a misspelt field": (
        {"GATEWAY_VIRTUAL_KEYS": [key_record(expires="never")]},
        "GATEWAY_VIRTUAL_KEYS: [0].expires",
        "spelling",
    ),
    "a key twice": ({"GATEWAY_VIRTUAL_KEYS": [key_record(), key_record()]}, "GATEWAY_VIRTUAL_KEYS", "its own"),
    "a short secret": ({"GATEWAY_JWT_SECRET": SECRET, **TRUST}, "GATEWAY_JWT_SECRET", "32 bytes"),
    "two keys for JWTs": (
        {"GATEWAY_JWT_SECRET": "x" * 32, "GATEWAY_JWT_JWKS_URL": "https://issuer.example", **TRUST},
        "GATEWAY_JWT_SECRET and GATEWAY_JWT_JWKS_URL",
        "exactly one",
    ),
    "no issuer": (
        {"GATEWAY_JWT_SECRET": "x" * 32, "GATEWAY_JWT_AUDIENCE": "gateway"},
        "GATEWAY_JWT_ISSUER",
        "what your JWTs say",
    ),
    "a public key that is none": ({"GATEWAY_JWT_PUBLIC_KEY": "no key", **TRUST}, "GATEWAY_JWT_PUBLIC_KEY", "PEM"),
    "a catalogue that is no file": ({"GATEWAY_CATALOGUE": "no-such-file.json"}, "GATEWAY_CATALOGUE", "JSON"),
    "an unknown family": (
        {"GATEWAY_CATALOGUE": {"deployments": {"x": {"family": "dall-e-9"}}}},
        "GATEWAY_CATALOGUE: deployments.x.family",
        "gpt-image-2",
    ),
    "a key in the catalogue": (
        {"GATEWAY_CATALOGUE": {"deployments": {"x": {"targets": [{**TARGET, "api_key": SECRET}]}}}},
        "GATEWAY_CATALOGUE: deployments.x.targets[0].api_key",
        "env:NAME",
    ),
    "a time that is none": ({"GATEWAY_DEADLINE_SECONDS": "soon"}, "GATEWAY_DEADLINE_SECONDS", "seconds"),
    "too many retries": ({"GATEWAY_MAX_RETRIES": "99"}, "GATEWAY_MAX_RETRIES", "0 to 10"),
}
EVERY_ONE = pytest.mark.parametrize(("settings", "named", "cure"), WRONG.values(), ids=WRONG)


class TestUnderTheHost:
    """The app as the Functions host loads it."""

    @EVERY_ONE
    async def test_calls(self, caplog, settings, named, cure):
        """Every call is 503 without any detail, and one log line names the setting and the cure, but no secret."""
        async with house(**settings) as own:
            response = await own.draw()
            error = refusal(response)
        assert (503, "misconfigured", None) == said(response)
        assert [] == [word for word in (named, cure, "GATEWAY_", "AZURE_OPENAI_") if word in response.text]
        (line,) = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
        assert [True, True, False] == [word in line for word in (named, cure, SECRET)]
        assert error["type"] == "server_error"

    async def test_whatever_the_call(self):
        """Neither a credential nor a body changes the answer; other methods and paths are refused as ever."""
        async with house(GATEWAY_VIRTUAL_KEYS="sk-bf-x") as own:
            answers = [
                await own.draw(key=None),
                await own.draw(stream=True),
                await own.http.post(path(), content=b"nope"),
                await own.http.get(path()),
                await own.http.get("/docs"),
            ]
        assert [503, 503, 503, 405, 404] == [said(answer)[0] for answer in answers]

    async def test_the_caller_may_try_again(self):
        """Nothing was drawn, so SDKs may try again, for the operator may be mending it."""
        async with house(GATEWAY_VIRTUAL_KEYS="sk-bf-x") as own:
            assert "x-should-retry" not in (await own.draw()).headers

    @pytest.mark.parametrize(
        ("settings", "status"),
        [({}, "ok"), ({"GATEWAY_VIRTUAL_KEYS": "sk-bf-x"}, "misconfigured")],
        ids=["right", "wrong"],
    )
    async def test_health(self, settings, status):
        """The process lives either way, and says which it is."""
        async with house(**settings) as own:
            response = await own.http.get("/health")
        assert (200, {"status": status}) == (response.status_code, response.json())

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    async def test_health_is_only_read(self, gateway, method):
        """Health takes no other method."""
        response = await gateway.http.request(method, "/health")
        assert (405, "GET, HEAD") == (said(response)[0], response.headers["allow"])


class TestAlone:
    """`python -m localhost`, which `make serve` runs."""

    @pytest.mark.parametrize("what", ["no endpoint", "keys that are no JSON", "a short secret"])
    async def test_ends(self, what):
        """It ends with a non-zero status and one line that names the setting and the cure, and no secret."""
        settings, named, cure = WRONG[what]
        status, out, err = await alone(environment("https://azure.example", **settings))
        last = err.strip().splitlines()[-1]
        assert (True, "") == (status != 0, out)
        assert [True, True, False] == [word in last for word in (named, cure, SECRET)]
        assert "Traceback" not in err

    async def test_an_id_that_a_stored_key_has(self, azurite):
        """A key of the setting with the id of a stored one ends it too: what only the store knows is asked first."""
        async with tables_of(azurite) as tables:
            stored = KeyStore(tables, now=lambda: dt.datetime.now(dt.UTC))
            record = (await stored.create(KeyTerms(name="x"))).record
            settings = {"AzureWebJobsStorage": azurite, "GATEWAY_VIRTUAL_KEYS": [key_record(id=record.id)]}
            status, out, err = await alone(environment("https://azure.example", **settings))
            await stored.delete(record)
        last = err.strip().splitlines()[-1]
        assert (True, "") == (status != 0, out)
        assert [True] * 3 == [word in last for word in ("GATEWAY_VIRTUAL_KEYS", record.id, "another id")]
        assert "Traceback" not in err


@asynccontextmanager
async def tables_of(connection_string: str) -> AsyncIterator[AzureTables]:
    """The tables that an app has in a storage account."""
    account = read_storage(Environment({"AzureWebJobsStorage": connection_string}))
    assert account is not None
    connection = new_transport()
    try:
        yield AzureTables(account, connection, NoIdentity())
    finally:
        await connection.aclose()


async def alone(settings: dict[str, str]) -> tuple[int | None, str, str]:
    """Run it until it ends: its status, and what it said to stdout and stderr."""
    ours = ("GATEWAY_", "AZURE_OPENAI_", "IDENTITY_", "AZURE_CLIENT_ID", "AzureWebJobsStorage")
    others = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "localhost", "--port", "0"),
        cwd=ROOT,
        env={**others, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(HANGS_SECONDS):
        out, err = (part.decode() for part in await process.communicate())
    return process.returncode, out, err
