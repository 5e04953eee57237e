"""What goes wrong is said in plain words, with a cure, on stderr; the status is 1, and there is no traceback."""

from __future__ import annotations

import pytest

from tests.cli.fake import KEY, TOKEN, Row, error, failed

KEYS = "/api/governance/virtual-keys"
MINT = "  export GATEWAY_ADMIN_TOKEN=$(python -m cli token --role admin)"


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        (
            error(400, "invalid_value", "name must be a string", param="name"),
            ["Error: The gateway refuses this: name must be a string (invalid_value)."],
        ),
        (
            error(400, "invalid_value", "It must be a string", param="name"),
            ["Error: The gateway refuses this [name]: It must be a string (invalid_value)."],
        ),
        (
            error(401, "expired_credentials", "The credentials have expired"),
            ["Error: The admin token has expired (expired_credentials).", "Mint a new one:", MINT],
        ),
        (
            error(401, "invalid_credentials", "Not valid"),
            [
                "Error: The gateway does not take this admin token: Not valid (invalid_credentials).",
                "The GATEWAY_JWT_… settings must be the gateway's own where the token is minted:",
                MINT,
            ],
        ),
        (
            error(403, "admin_required", "Only an admin may do this"),
            [
                "Error: This token may not do that: Only an admin may do this (admin_required).",
                "Only a token of the role admin, for all deployments, manages keys; mint one:",
                MINT,
            ],
        ),
        (
            error(404, "key_not_found", "There is no key with the id x"),
            [
                "Error: There is no key with the id x (key_not_found).",
                "The ids are in: python -m cli keys list",
            ],
        ),
        (
            error(404, "not_found", "There is no such path"),
            [
                "Error: This gateway has no admin API: There is no such path (not_found).",
                "Is GATEWAY_URL the gateway's own address, and the gateway of the same version as this command line?",
            ],
        ),
        (
            error(409, "read_only_key", "This key is one of GATEWAY_VIRTUAL_KEYS"),
            ["Error: The gateway refuses this: This key is one of GATEWAY_VIRTUAL_KEYS (read_only_key)."],
        ),
        (
            error(503, "store_unavailable", "The store cannot be reached", retry_after="5"),
            [
                "Error: The gateway cannot do that now: The store cannot be reached (store_unavailable).",
                "Try again in 5 seconds.",
            ],
        ),
        (
            error(503, "store_unavailable", "The store cannot be reached", retry_after="5", x_should_retry="false"),
            [
                "Error: The gateway cannot do that now: The store cannot be reached (store_unavailable).",
                "Whether it was done is not known; look (keys list, keys show) before you try again.",
            ],
        ),
        (
            error(503, "misconfigured", "The gateway is not configured correctly"),
            [
                "Error: The gateway cannot do that now: The gateway is not configured correctly (misconfigured).",
                "The log at its start names the setting that is wrong.",
            ],
        ),
        (
            error(500, "internal_error", "The gateway failed."),
            [
                "Error: The gateway failed: The gateway failed (internal_error).",
                "Its log has the cause under the event id event-1.",
            ],
        ),
    ],
)
def test_each_refusal_has_its_words_and_its_cure(gateway, row, lines):
    """The gateway's message and code, and what to do."""
    gateway.answers("GET", KEYS, row)

    assert lines == failed(gateway.run("keys", "list"))


@pytest.mark.parametrize(
    "row",
    [
        Row(502, b"<html>Bad gateway</html>"),
        Row(500, b""),
        Row(418, {"error": "teapot"}),
        Row(404, {"error": {"message": 7}}),
        Row(400, []),
        Row(400, b"\xff{"),
    ],
)
def test_an_answer_in_another_shape_is_somebody_elses(gateway, row):
    """A proxy, or another server at this address."""
    gateway.answers("GET", KEYS, row)

    assert [
        f"Error: {gateway.url} answered {row.status}, and not as the gateway does.",
        "Is GATEWAY_URL the gateway's own address?",
    ] == failed(gateway.run("keys", "list"))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"{", {"virtual_keys": {}}, {}])
def test_a_success_that_is_not_the_gateways_is_an_error(gateway, body):
    """A login page is 200, too."""
    gateway.answers("GET", KEYS, Row(200, body))

    assert "Error: The answer cannot be understood" in failed(gateway.run("keys", "list"))[0]


def test_the_token_is_struck_out_wherever_an_answer_repeats_it(gateway):
    """Terminals are shared, and logs of scripts are kept."""
    gateway.answers("GET", KEYS, error(400, f"code-{TOKEN}", f"Bearer {TOKEN} is wrong", param="token"))

    assert ["Error: The gateway refuses this [token]: Bearer … is wrong (code-…)."] == failed(
        gateway.run("keys", "list")
    )


def test_a_message_cannot_steer_the_terminal_and_has_an_end(gateway):
    """It may be anybody's."""
    gateway.answers("GET", KEYS, error(400, "x", "a\x1b[2Jb\n[red]c " + "d" * 100_000))

    (line,) = failed(gateway.run("keys", "list"))

    assert line.startswith("Error: The gateway refuses this: a�[2Jb�[red]c ddd")
    assert len(line) < 1_100


@pytest.mark.parametrize("secret", [KEY, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"])
@pytest.mark.parametrize(
    "before",
    [[], ["keys"], ["keys", "list"], ["keys", "show"], ["keys", "rotate", "vk-1", "--grace"], ["usage", "--by"]],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(gateway, before, secret):
    """Somebody pastes what they have at hand."""
    gateway.answers("GET", f"{KEYS}/{secret}", error(404, "key_not_found", f"There is no key with the id {secret}"))

    shown = gateway.run(*before, secret)

    assert 0 != shown.exit_code
    assert secret not in shown.output


def test_a_key_is_not_taken_for_an_id(gateway):
    """It would stand in a path, which is logged."""
    shown = gateway.run("keys", "show", KEY)

    assert 2 == shown.exit_code
    assert "this is a key, not its id" in shown.stderr
    assert [] == gateway.asked
