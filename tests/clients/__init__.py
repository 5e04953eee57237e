"""Real SDKs before a running gateway."""

import pytest

pytest.register_assert_rewrite("tests.clients.told", "tests.house")
