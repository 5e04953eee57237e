"""Errors are in plain words and say what to do, on stderr; the status is 1, and there is no traceback."""

from __future__ import annotations

import pytest

from tests.cli.fake import KEY, TOKEN, Reply, error, failed

KEYS = "/api/governance/virtual-keys"
CREATE_TOKEN = "  export GATEWAY_ADMIN_TOKEN=$(image-gateway token --role admin)"
CHECK = "Check that GATEWAY_URL is the gateway's own address, and that both have the same version."


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        (
            error(400, "invalid_value", "name must be a string", param="name"),
            ["Error: The gateway rejected the request: name must be a string (invalid_value)."],
        ),
        (
            error(400, "invalid_value", "It must be a string", param="name"),
            ["Error: The gateway rejected the request [name]: It must be a string (invalid_value)."],
        ),
        (
            error(401, "expired_credentials", "The credentials have expired"),
            ["Error: The admin token has expired (expired_credentials).", "Create a new one:", CREATE_TOKEN],
        ),
        (
            error(401, "invalid_credentials", "Not valid"),
            [
                "Error: The gateway rejects the admin token: Not valid (invalid_credentials).",
                "Create it with the GATEWAY_JWT_… settings that the gateway has:",
                CREATE_TOKEN,
            ],
        ),
        (
            error(403, "admin_required", "Only an admin may do this"),
            [
                "Error: This token may not do that: Only an admin may do this (admin_required).",
                "Managing keys needs a token with the role admin for all deployments:",
                CREATE_TOKEN,
            ],
        ),
        (
            error(404, "key_not_found", "There is no key with the id x"),
            [
                "Error: There is no key with the id x (key_not_found).",
                "This command lists all keys: image-gateway keys list",
            ],
        ),
        (
            error(404, "not_found", "There is no such path"),
            ["Error: The gateway has no such path: There is no such path (not_found).", CHECK],
        ),
        (
            error(409, "read_only_key", "This key is one of GATEWAY_VIRTUAL_KEYS"),
            ["Error: The gateway rejected the request: This key is one of GATEWAY_VIRTUAL_KEYS (read_only_key)."],
        ),
        (
            error(429, "rate_limited", "Too many requests", retry_after="7"),
            ["Error: The gateway rejected the request: Too many requests (rate_limited).", "Try again in 7 seconds."],
        ),
        (
            error(503, "store_unavailable", "The store cannot be reached", retry_after="5"),
            [
                "Error: The gateway is not available: The store cannot be reached (store_unavailable).",
                "Try again in 5 seconds.",
            ],
        ),
        (
            error(503, "store_unavailable", "The store cannot be reached", retry_after="5", x_should_retry="false"),
            [
                "Error: The gateway is not available: The store cannot be reached (store_unavailable).",
                "It may have been done or not: check with `keys list` or `keys show` before you retry.",
            ],
        ),
        (
            error(503, "misconfigured", "The gateway is not configured correctly"),
            [
                "Error: The gateway is not available: The gateway is not configured correctly (misconfigured).",
                "The first lines of its log name the setting that is wrong.",
            ],
        ),
        (
            error(500, "internal_error", "The gateway failed."),
            [
                "Error: The gateway could not do this: The gateway failed (internal_error).",
                "Search its log for the event id event-1.",
            ],
        ),
    ],
)
def test_each_error_has_its_words_and_says_what_to_do(gateway, reply, lines):
    """The gateway's message and code, and a hint."""
    gateway.answers("GET", KEYS, reply)

    assert lines == failed(gateway.run("keys", "list"))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(502, b"<html>Bad gateway</html>"),
        Reply(500, b""),
        Reply(418, {"error": "teapot"}),
        Reply(404, {"error": {"message": 7}}),
        Reply(400, []),
        Reply(400, b"\xff{"),
    ],
)
def test_an_error_in_another_format_comes_from_another_server(gateway, reply):
    """A proxy, or another server at this address."""
    gateway.answers("GET", KEYS, reply)

    assert [
        f"Error: {gateway.url} answered with status {reply.status}, but not in the gateway's format.",
        "Check that GATEWAY_URL is the gateway's own address.",
    ] == failed(gateway.run("keys", "list"))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"{", {"virtual_keys": {}}, {}])
def test_a_success_that_is_not_the_gateways_is_an_error(gateway, body):
    """A login page has the status 200, too."""
    gateway.answers("GET", KEYS, Reply(200, body))

    lines = failed(gateway.run("keys", "list"))

    assert lines[0].startswith("Error: The response is not the gateway's: it ")
    assert CHECK == lines[1]


def test_the_token_is_removed_wherever_a_response_repeats_it(gateway):
    """Terminals are shared, and the logs of scripts are kept."""
    gateway.answers("GET", KEYS, error(400, f"code-{TOKEN}", f"Bearer {TOKEN} is wrong", param="token"))

    assert ["Error: The gateway rejected the request [token]: Bearer … is wrong (code-…)."] == failed(
        gateway.run("keys", "list")
    )


def test_a_message_cannot_control_the_terminal_and_is_cut_off(gateway):
    """Its text may be anybody's."""
    gateway.answers("GET", KEYS, error(400, "x", "a\x1b[2Jb\n[red]c " + "d" * 100_000))

    (line,) = failed(gateway.run("keys", "list"))

    assert line.startswith("Error: The gateway rejected the request: a�[2Jb�[red]c ddd")
    assert len(line) < 1_100


@pytest.mark.parametrize("secret", [KEY, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"])
@pytest.mark.parametrize(
    "before",
    [[], ["keys"], ["keys", "list"], ["keys", "show"], ["keys", "rotate", "vk-1", "--grace"], ["usage", "--by"]],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(gateway, before, secret):
    """Somebody pastes what is in the clipboard."""
    gateway.answers("GET", KEYS, {"virtual_keys": [], "next_cursor": None})

    shown = gateway.run(*before, secret)

    assert 0 != shown.exit_code
    assert secret not in shown.output


def test_a_secret_is_not_taken_for_an_id(gateway):
    """It would stand in a path, and paths are logged."""
    shown = gateway.run("keys", "show", KEY)

    assert 2 == shown.exit_code
    assert "this is a key's secret, not its id or name" in shown.stderr
    assert [] == gateway.received
