"""The whole gateway for a test: `function_app.py` as it is, on the local host, in front of a running emulator."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import importlib.util
import json
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx2

from adapters.bootstrap import compose, utc_now
from adapters.functions.http_protocol import HttpProtocol
from adapters.http.transports import make_transports
from core.settings.settings import read_settings
from emulator.loopback import serving
from emulator.server import running
from localhost.host import Host
from tests.loopback import NO_CERTIFICATES
from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import ModuleType

    from core.storage.tables import Tables
    from emulator.calls import Calls

ROOT = Path(__file__).parent.parent
KEY = "sk-bf-the-key-of-team-a"
PROMPT = "a red fox in the snow"


def sha256(key: str) -> str:
    """The hash under which a key is known."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_record(key: str = KEY, **fields: Any) -> dict[str, Any]:
    """An entry of GATEWAY_VIRTUAL_KEYS."""
    return {"id": "team-a", "name": "Team A", "key_sha256": sha256(key), "deployments": ["*"], **fields}


def environment(emulator_url: str, **settings: Any) -> dict[str, str]:
    """The settings of a gateway in front of an emulator; values that are not text are given as JSON."""
    values = {
        "AZURE_OPENAI_ENDPOINT": emulator_url,
        "AZURE_OPENAI_API_KEY": "emulator-key",
        "GATEWAY_VIRTUAL_KEYS": [key_record()],
        "GATEWAY_LINGER_SECONDS": "0",  # whoever leaves lets upstream go at once, and the same can be asked again:
        "GATEWAY_REPEAT_SECONDS": "0",  # tests/http/test_repeats.py has them on
        **settings,
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def load_function_app(settings: dict[str, str]) -> ModuleType:
    """Import `function_app.py` anew, with these settings and no others of ours in the environment."""
    spec = importlib.util.spec_from_file_location("function_app", ROOT / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    ours = ("GATEWAY_", "AZURE_OPENAI_", "IDENTITY_", "AZURE_CLIENT_ID", "AzureWebJobsStorage", "WEBSITE_INSTANCE_ID")
    others = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # It freezes what is there when it has started: here that is what tests have left, and nobody would collect it.
    with mock.patch.dict(os.environ, {**others, **settings}, clear=True), mock.patch.object(gc, "freeze"):
        try:
            spec.loader.exec_module(module)
        finally:
            gc.enable()
    return module


class House:
    """A running gateway, the emulator behind it, and a client before it."""

    def __init__(self, url: str, http: httpx2.AsyncClient, emulator_url: str, calls: Calls, module: ModuleType) -> None:
        self.module = module
        """`function_app.py`."""
        self.url = url
        self.http = http
        self.emulator_url = emulator_url
        self.calls = calls
        """What the emulator was asked."""

    async def draw(
        self,
        deployment: str = "gpt-image-1",
        *,
        key: str | None = KEY,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        **body: Any,
    ) -> httpx2.Response:
        """Ask for a picture; `model` and `prompt` are filled in."""
        credential = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.http.post(
            f"/openai/openai/deployments/{deployment}/images/generations",
            headers={**credential, **(headers or {})},
            params=query,
            json={"model": "gpt-image-1", "prompt": PROMPT, **body},
        )


@asynccontextmanager
async def house(
    emulator: dict[str, Any] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    now: Callable[[], dt.datetime] = utc_now,
    tables: Tables | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """Run emulator and gateway. In a setting's text, `{emulator}` stands for the emulator's URL.

    `clock` is the gateway's, monotonic and in seconds; with `wait` it lets seconds go by before it asks again; `now` is
    its wall clock. Without `tables` it has those of its settings.
    """
    async with running(**(emulator or {})) as azure:
        values = {
            name: value.replace("{emulator}", azure.url) for name, value in environment(azure.url, **settings).items()
        }
        module = load_function_app(values)
        async with (
            _connected(module, values, clock=clock, wait=wait, now=now, tables=tables),
            serving(Host(module.app, "", values), http=HttpProtocol) as url,
            httpx2.AsyncClient(base_url=url, timeout=HANGS_SECONDS, verify=NO_CERTIFICATES) as http,
        ):
            yield House(url, http, azure.url, azure.calls, module)


@asynccontextmanager
async def _connected(module: ModuleType, values: dict[str, str], **parts: Any) -> AsyncIterator[None]:
    """Build the app's gateway once more, on transports that are closed with the house: in Azure it ends with the app.

    An app whose settings are wrong stays as it is.
    """
    if module.startup_error:
        yield
        return
    settings = read_settings(values)
    transports = make_transports(settings.http_transport)
    module.use(compose(settings, transports=transports, **parts))
    try:
        yield
    finally:
        await module._built.gateway.flush(1)
        await transports.aclose()


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a whole stream, as name and JSON; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            assert lines[0].startswith("event: ")
            assert lines[1].startswith("data: ")
            assert len(lines) == 2
            found.append((lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))))
    return found
