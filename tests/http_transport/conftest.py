"""Both transports, each closed at the end. What only one of them keeps to is marked where it is tested."""

from __future__ import annotations

import httpx2
import pytest

from adapters.http.transports import TRANSPORTS
from tests.waiting import HANGS_SECONDS


@pytest.fixture(params=sorted(TRANSPORTS))
def kind(request):
    return request.param


@pytest.fixture
async def make(kind):
    """Makes transports of one kind; httpx2's Limits can be given."""
    made = []

    def make(max_connections: int = 8, keepalive_expiry: float = HANGS_SECONDS) -> httpx2.AsyncBaseTransport:
        limits = httpx2.Limits(
            max_connections=max_connections, max_keepalive_connections=None, keepalive_expiry=keepalive_expiry
        )
        made.append(TRANSPORTS[kind](limits))
        return made[-1]

    yield make
    for transport in made:
        await transport.aclose()


@pytest.fixture
def transport(make):
    return make()


@pytest.fixture
def narrow(make):
    """For one exchange at a time: what is not freed is missed at once."""
    return make(max_connections=1)
