"""The address and the credential are checked before anything is sent."""

from __future__ import annotations

import pytest

from cli.errors import CommandError
from cli.settings import DEFAULT_URL, read_settings

TOKEN = "eyJ.secret.token"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (None, DEFAULT_URL),
        ("  ", DEFAULT_URL),
        ("https://gateway.example/", "https://gateway.example"),
        ("https://gateway.example:8443", "https://gateway.example:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_is_https_or_this_machine(given, url):
    """Without one it is where `make serve` serves."""
    variables = {"GATEWAY_ADMIN_TOKEN": TOKEN} | ({} if given is None else {"GATEWAY_URL": given})

    assert url == read_settings(variables, admin=True).url


@pytest.mark.parametrize(
    "given",
    [
        "http://gateway.example",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "ftp://gateway.example",
        "gateway.example",
        "https://user:password@gateway.example",
        "https://gateway.example/path",
        "https://gateway.example?x=1",
        "https://",
        "https://gateway.example:99999",
        "https://[",
        "http://127.0.0.1\n.example",
    ],
)
def test_any_other_address_is_refused_without_repeating_it(given):
    """A token must not go over plain http, and an address may have a password in it."""
    with pytest.raises(CommandError, match=r"^GATEWAY_URL .*such as https://HOST\.$") as caught:
        read_settings({"GATEWAY_URL": given, "GATEWAY_ADMIN_TOKEN": TOKEN}, admin=True)

    assert "password" not in str(caught.value)


@pytest.mark.parametrize("variables", [{}, {"GATEWAY_ADMIN_TOKEN": " "}])
def test_without_a_token_it_says_how_to_have_one(variables):
    """The command can be copied."""
    with pytest.raises(CommandError, match=r"GATEWAY_ADMIN_TOKEN is not set.*\n  export GATEWAY_ADMIN_TOKEN="):
        read_settings(variables, admin=True)


@pytest.mark.parametrize("token", ["Bearer secret", "secret\nsecret", "secret\x00", "sécret"])
def test_a_token_that_cannot_be_one_is_refused_without_showing_it(token):
    """An HTTP library would put it into its error."""
    with pytest.raises(CommandError) as caught:
        read_settings({"GATEWAY_ADMIN_TOKEN": token}, admin=True)

    assert "cret" not in str(caught.value)


def test_the_repr_of_the_settings_has_no_token():
    """Neither by a traceback nor by a debugger."""
    assert TOKEN not in repr(read_settings({"GATEWAY_ADMIN_TOKEN": TOKEN}, admin=True))


@pytest.mark.parametrize(
    ("variables", "admin", "credential"),
    [
        ({"GATEWAY_KEY": "key", "GATEWAY_ADMIN_TOKEN": TOKEN}, False, "key"),
        ({"GATEWAY_KEY": "key", "GATEWAY_ADMIN_TOKEN": TOKEN}, True, TOKEN),
        ({"GATEWAY_KEY": " ", "GATEWAY_ADMIN_TOKEN": TOKEN}, False, TOKEN),
    ],
)
def test_images_are_asked_for_with_the_key_and_keys_are_managed_with_the_token(variables, admin, credential):
    """An admin without a key may ask for images too."""
    assert credential == read_settings(variables, admin=admin).credential
