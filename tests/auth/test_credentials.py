"""The one credential of a call, read from its headers (contract §2)."""

from __future__ import annotations

import pytest

from core.auth.credentials import MAX_CREDENTIAL_CHARACTERS, read_credential
from core.domain.errors import Unauthenticated

KEY = "sk-bf-key"
FOUR = [("authorization", f"Bearer {KEY}"), ("api-key", KEY), ("x-api-key", KEY), ("x-bf-vk", KEY)]


@pytest.mark.parametrize(
    "headers",
    [
        *[pytest.param([header], id=header[0]) for header in FOUR],
        pytest.param(FOUR, id="the same in all four"),
        pytest.param([FOUR[1], FOUR[1]], id="the same header twice"),
        pytest.param([FOUR[0], FOUR[1]], id="as older Python SDKs send it"),
        *[
            pytest.param([("authorization", value)], id=repr(value))
            for value in (
                f"bearer {KEY}",
                f"BEARER {KEY}",
                f"bEaReR {KEY}",
                f"Bearer    {KEY}",
                f"  Bearer {KEY}  ",
                f"Bearer {KEY}\t",
            )
        ],
        pytest.param([("api-key", f"  {KEY} ")], id="spaces around"),
        pytest.param([("api-key", ""), ("x-bf-vk", KEY)], id="one of them empty"),
        pytest.param([("authorization", "Bearer "), ("api-key", KEY)], id="a scheme without a token, and a key"),
        pytest.param([("authorization", ""), ("api-key", KEY)], id="nothing, and a key"),
        pytest.param([("cookie", "api-key=x"), ("x-other", "x"), ("api-key", KEY)], id="other headers"),
        pytest.param([("proxy-authorization", "Bearer x"), ("api-key", KEY)], id="a proxy's"),
    ],
)
def test_found(headers: list[tuple[str, str]]) -> None:
    """The credential is found in any of the four headers, and the same one may be there more than once."""
    assert read_credential(headers).reveal() == KEY


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param([], "missing_credentials", id="no header"),
        pytest.param([("cookie", KEY), ("x-key", KEY)], "missing_credentials", id="other headers"),
        pytest.param([("api-key", "")], "missing_credentials", id="empty"),
        pytest.param([("api-key", " \t ")], "missing_credentials", id="blank"),
        pytest.param([("authorization", "")], "missing_credentials", id="empty authorization"),
        pytest.param([("authorization", "Bearer")], "missing_credentials", id="a scheme alone"),
        pytest.param([("authorization", "Bearer   ")], "missing_credentials", id="a scheme and spaces"),
        pytest.param([("authorization", f"Basic {KEY}")], "invalid_credentials", id="Basic"),
        pytest.param([("authorization", f"Digest {KEY}")], "invalid_credentials", id="Digest"),
        pytest.param([("authorization", KEY)], "invalid_credentials", id="no scheme"),
        pytest.param([("authorization", f"Bearer:{KEY}")], "invalid_credentials", id="a colon"),
        pytest.param([("authorization", f"Bearer,{KEY}")], "invalid_credentials", id="a comma"),
        pytest.param([("authorization", f"Bearers {KEY}")], "invalid_credentials", id="another word"),
        pytest.param([FOUR[0], ("api-key", "sk-bf-other")], "ambiguous_credentials", id="two values"),
        pytest.param([("api-key", "a"), ("api-key", "b")], "ambiguous_credentials", id="one header, two values"),
        pytest.param([FOUR[0], ("authorization", "Bearer x")], "ambiguous_credentials", id="two authorizations"),
        pytest.param([("api-key", KEY), ("x-api-key", KEY.upper())], "ambiguous_credentials", id="another case"),
        pytest.param([("x-api-key", KEY), ("x-bf-vk", KEY + "\x00")], "ambiguous_credentials", id="one byte more"),
        pytest.param([("authorization", "Basic x"), ("api-key", KEY)], "ambiguous_credentials", id="Basic and a key"),
        pytest.param([*FOUR, ("x-bf-vk", "b")], "ambiguous_credentials", id="four alike and one other"),
    ],
)
def test_not_found(headers: list[tuple[str, str]], code: str) -> None:
    """None is missing, different ones are ambiguous, and other schemes are not valid: each 401 with its challenge."""
    with pytest.raises(Unauthenticated) as refusal:
        read_credential(headers)
    assert (401, code) == (refusal.value.status, refusal.value.code)
    assert {"www-authenticate": "Bearer"} == refusal.value.headers
    assert KEY not in refusal.value.message


@pytest.mark.parametrize("header", ["api-key", "authorization"])
def test_longest(header: str) -> None:
    """A credential of 16,384 characters is looked at, and a longer one, up to 10 MB and beyond, is not."""
    before = "Bearer " if header == "authorization" else ""
    longest = "a" * MAX_CREDENTIAL_CHARACTERS
    assert longest == read_credential([(header, before + longest)]).reveal()
    for more in (1, 10_000_000):
        with pytest.raises(Unauthenticated) as refusal:
            read_credential([(header, before + longest + "a" * more)])
        assert "invalid_credentials" == refusal.value.code


def test_credential_is_a_secret() -> None:
    """What is found cannot be seen in a log."""
    assert KEY not in repr(read_credential(FOUR))
