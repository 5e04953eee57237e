"""A fresh emulator, and a connection to it that is closed at the end."""

import pytest

from emulator.server import running
from tests.transports import new_transport


@pytest.fixture
async def azure():
    async with running() as emulator:
        yield emulator


@pytest.fixture
async def connection():
    connection = new_transport()
    yield connection
    await connection.aclose()
