"""A fresh emulator, and a connection to it that is closed at the end."""

import pytest

from adapters.http.http1 import Http1Connection
from emulator.server import running
from tests.waiting import HANGS_SECONDS


@pytest.fixture
async def azure():
    async with running() as emulator:
        yield emulator


@pytest.fixture
async def connection():
    connection = Http1Connection(connect_seconds=HANGS_SECONDS)
    yield connection
    await connection.aclose()
