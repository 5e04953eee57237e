"""What the tests of every room may use: tables to keep rows in."""

from __future__ import annotations

import gc
import os
import secrets
from typing import TYPE_CHECKING

import pytest

from adapters.azure_storage.tables import AzureTables
from core.azure_openai.token_source import NoIdentity
from core.settings.environment import Environment
from core.settings.storage import read_storage
from core.storage.memory import MemoryTables
from localhost import azurite as emulator
from tests.transports import new_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from core.storage.account import StorageAccount
    from core.storage.tables import Tables


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run in one process more than there are cores, because many tests wait; the emulators need some memory each."""
    return min((os.cpu_count() or 1) + 1, 6)


def pytest_collection_finish() -> None:
    """Leave what has been collected to itself: half a million objects, looked at again and again for nothing."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The connection string of a running Azurite, the one of all tests: names in it need a prefix of their own."""
    if not emulator.INSTALLED.exists():
        pytest.skip("Azurite is not installed: `make test` does that where there is npm")
    running = emulator.start()
    yield running.connection_string
    running.stop()


@pytest.fixture
def prefix() -> str:
    """Stands before the names of a test's own tables."""
    return f"t{secrets.token_hex(8)}"


@pytest.fixture
def azurite_account(azurite: str) -> StorageAccount:
    """The account that Azurite emulates."""
    account = read_storage(Environment({"AzureWebJobsStorage": azurite}))
    assert account is not None
    return account


@pytest.fixture
async def azure_tables(azurite_account: StorageAccount, prefix: str) -> AsyncIterator[AzureTables]:
    """Empty tables in Azurite."""
    connection = new_transport()
    yield AzureTables(azurite_account, connection, NoIdentity(), prefix=prefix)
    await connection.aclose()


@pytest.fixture(params=["memory", "azurite"])
def tables(request: pytest.FixtureRequest) -> Tables:
    """Empty tables of each kind in turn: what is true of one is true of the other."""
    return MemoryTables() if request.param == "memory" else request.getfixturevalue("azure_tables")
