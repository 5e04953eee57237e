"""The way to the gateway: where the token goes, where it does not, and what is said when there is no answer."""

from __future__ import annotations

import socket

import httpx
import pytest

from cli.connection import unreached
from tests.cli.fake import RECORD, TOKEN, Row, failed, run

KEYS = "/api/governance/virtual-keys"


def test_garbage_for_gzip_is_an_error(gateway):
    """What cannot be decoded is as good as a broken connection."""
    gateway.answers("GET", KEYS, Row(200, b"not gzip", {"content-encoding": "gzip"}))

    assert [f"Error: The connection to {gateway.url} broke before there was an answer.", "Try again."] == failed(
        gateway.run("keys", "list")
    )


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(gateway, status):
    """It would be given the token, and what it is called may have another secret in it."""
    gateway.answers("GET", KEYS, Row(status, b"", {"location": "https://user:secret@login.example/?code=secret"}))

    lines = failed(gateway.run("keys", "list"))

    assert "a redirect to https://login.example, which is not followed" in lines[0]
    assert "secret" not in "".join(lines)
    assert 1 == len(gateway.asked)


@pytest.mark.parametrize("location", ["/login", "//[", ""])
def test_a_redirect_to_anywhere_else_is_none_either(gateway, location):
    """Nor is one that is broken."""
    gateway.answers("GET", KEYS, Row(302, b"", {"location": location}))

    assert "which is not followed" in failed(gateway.run("keys", "list"))[0]


def test_nothing_listens(unused_url):
    """The first thing that goes wrong on a new machine."""
    shown = run("keys", "list", env={"GATEWAY_URL": unused_url, "GATEWAY_ADMIN_TOKEN": TOKEN})

    assert [
        f"Error: Nothing answers at {unused_url}.",
        "Is the gateway running (make run, make serve), and GATEWAY_URL its address?",
    ] == failed(shown)


@pytest.mark.parametrize(
    ("arguments", "method", "cure"),
    [
        (["keys", "list"], "GET", "Try again."),
        (
            ["keys", "create", "--name", "x"],
            "POST",
            "Whether it was done is not known; look (keys list, keys show) before you try again.",
        ),
    ],
)
def test_a_connection_that_breaks_leaves_open_what_was_done(gateway, arguments, method, cure):
    """A key may have been made that nobody has seen."""
    gateway.answers(method, KEYS, Row(breaks=True))

    assert [f"Error: The connection to {gateway.url} broke before there was an answer.", cure] == failed(
        gateway.run(*arguments)
    )


def test_a_server_without_tls_is_not_asked_in_the_clear(gateway):
    """What begins as https stays https."""
    lines = failed(gateway.run("keys", "list", env={"GATEWAY_URL": gateway.url.replace("http://", "https://")}))

    assert "is not trusted, or it does not speak https" in lines[0]
    assert [] == gateway.asked


def test_the_token_goes_in_one_header_and_nowhere_else(gateway):
    """Not in the path, which is logged."""
    gateway.answers("GET", f"{KEYS}/vk-1", {"virtual_key": RECORD})

    gateway.run("keys", "show", "vk-1")

    (asked,) = gateway.asked
    assert f"Bearer {TOKEN}" == asked.headers["authorization"]
    assert ["authorization"] == [name for name, value in asked.headers.items() if TOKEN in value]


def test_a_gateway_on_this_machine_is_asked_without_a_proxy(gateway, unused_url):
    """A proxy would be given the token in the clear."""
    gateway.answers("GET", KEYS, {"virtual_keys": [], "next_cursor": None})

    shown = gateway.run("keys", "list", env={"HTTP_PROXY": unused_url, "ALL_PROXY": unused_url, "NO_PROXY": None})

    assert 0 == shown.exit_code


def test_a_proxy_that_cannot_be_used_is_said_to_be_one():
    """SOCKS needs another package, and the library's own words for that say nothing to an operator."""
    shown = run(
        *("keys", "list"),
        env={"GATEWAY_URL": "https://gateway.example", "GATEWAY_ADMIN_TOKEN": TOKEN, "ALL_PROXY": "socks9://x"},
    )

    assert "Error: The proxy of this environment cannot be used." == failed(shown)[0]


@pytest.mark.parametrize("host", ["a..b", "-", "xn--", "999.999.999.999", "a_b", "." * 300, "a" * 300])
def test_an_address_that_cannot_be_one_is_an_error(host):
    """Whichever library it is that stumbles over it."""
    shown = run("keys", "list", env={"GATEWAY_URL": f"https://{host}", "GATEWAY_ADMIN_TOKEN": TOKEN})

    assert failed(shown)[0].startswith("Error: ")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectTimeout("slow"), "https://g did not take the connection within 30 seconds. Is GATEWAY_URL right"),
        (httpx.ReadTimeout("slow"), "https://g did not answer within 30 seconds. Whether it was done is not known"),
        (httpx.WriteTimeout("slow"), "https://g did not answer within 30 seconds. Whether it was done is not known"),
        (httpx.ProxyError("no"), "The connection to https://g broke before there was an answer. Whether it was done"),
    ],
)
def test_each_way_to_have_no_answer_has_its_words(error, said):
    """What may have been done is told from what was not."""
    assert str(unreached(error, "https://g", changes=True)).startswith(said)


@pytest.fixture
def unused_url():
    """An address on this machine at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
