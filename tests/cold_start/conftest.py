"""`first_start`: one start of the worker with the gateway, up to its first answer, in a process of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bench import starts

if TYPE_CHECKING:
    from bench.starts import Start

HAS_WORKER = sys.version_info >= (3, 13)
needs_worker = pytest.mark.skipif(not HAS_WORKER, reason="Microsoft's worker is a library from Python 3.13 on")


@pytest.fixture(scope="session")
def first_start() -> Start:
    """Start the gateway and have its first call, with a virtual key, answered by the emulator."""
    with starts.run_emulator() as upstream:
        return starts.start(starts.ROOT, upstream=upstream)


@pytest.fixture(scope="session")
def smallest_start() -> Start:
    """Start the smallest app there is."""
    return starts.start(starts.SMALLEST_APP)
