"""A fresh emulator for each test; its pictures are cached by the process."""

import httpx2
import pytest

from emulator.server import running
from tests.emulator.asking import Azure
from tests.loopback import NO_CERTIFICATES
from tests.waiting import HANGS_SECONDS


@pytest.fixture
async def azure():
    key = {"api-key": "emulator-key"}
    async with (
        running() as emulator,
        httpx2.AsyncClient(base_url=emulator.url, headers=key, timeout=HANGS_SECONDS, verify=NO_CERTIFICATES) as client,
    ):
        yield Azure(emulator, client)
