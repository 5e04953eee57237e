"""A table of each kind."""

from __future__ import annotations

import pytest


@pytest.fixture
def table(tables):
    """An empty table."""
    return tables.table("Things")
