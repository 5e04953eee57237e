"""One running gateway for all tests of a file that only ask; those that set something run a house of their own."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.house import house
from tests.http.wire import CATALOGUE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_house():
    """A gateway without a catalogue: every name that the emulator knows is a deployment."""
    async with house(GATEWAY_MAX_RETRIES="0", AzureWebJobsDisableHomepage="true") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listed_house():
    """A gateway with one deployment of each family, and one without a family, whose pictures cost no time."""
    async with house(GATEWAY_CATALOGUE=CATALOGUE, GATEWAY_MAX_RETRIES="0") as running:
        yield running


@pytest.fixture
def gateway(open_house):
    """The gateway without a catalogue, and nothing asked upstream yet."""
    open_house.calls.clear()
    return open_house


@pytest.fixture
def families(listed_house):
    """The gateway with one deployment of each family, and nothing asked upstream yet."""
    listed_house.calls.clear()
    return listed_house
