"""The tests. What they share has its asserts explained, too."""

import pytest

pytest.register_assert_rewrite("tests.house", "tests.http.wire", "tests.clients.told")
