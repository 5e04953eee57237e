"""A gateway that answers what the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.fake import FakeGateway, fake_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Answers what the test says, and keeps the requests that it gets."""
    with fake_gateway() as running:
        yield running
