"""The contract over HTTP, section by section."""

import pytest

pytest.register_assert_rewrite("tests.http.wire", "tests.house")
