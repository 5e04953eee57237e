"""A fresh emulator, and a connection to it that is closed at the end."""

import pytest

from core.upstream.connection import HttpxConnection
from emulator.server import running


@pytest.fixture
async def azure():
    async with running() as emulator:
        yield emulator


@pytest.fixture
async def connection():
    connection = HttpxConnection(connect_seconds=5.0)
    yield connection
    await connection.aclose()
