"""Two running gateways for all clients, and the folder where `make` installs the SDKs that are not in the venv."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.clients.told import NARROW
from tests.house import house, key_record

KEYS = [key_record(), key_record(NARROW, id="narrow", deployments=["gpt-image-1"])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running():
    """A gateway with two keys that never asks again by itself."""
    async with house(GATEWAY_VIRTUAL_KEYS=KEYS, GATEWAY_MAX_RETRIES="0") as own:
        yield own


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty():
    """One that gives an attempt a fifth of a second, for what hangs."""
    async with house(GATEWAY_ATTEMPT_SECONDS="0.2", GATEWAY_MAX_RETRIES="0") as own:
        yield own


@pytest.fixture
def gateway(running):
    """The first, and nothing asked upstream yet."""
    running.calls.clear()
    return running
