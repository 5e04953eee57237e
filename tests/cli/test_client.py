"""Where the credential is sent, where it is not, and what is said when there is no response."""

from __future__ import annotations

import socket

import httpx2
import pytest

from cli.client import network_error
from tests.cli.fake import RECORD, TOKEN, Reply, failed, run

KEYS = "/api/governance/virtual-keys"


def test_garbage_for_gzip_is_an_error(gateway):
    """A response that cannot be decoded is like a broken connection."""
    gateway.answers("GET", KEYS, Reply(200, b"not gzip", {"content-encoding": "gzip"}))

    assert [f"Error: The connection to {gateway.url} broke before there was a response.", "Try again."] == failed(
        gateway.run("keys", "list")
    )


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(gateway, status):
    """It would be given the token, and what it is called may have another secret in it."""
    gateway.answers("GET", KEYS, Reply(status, b"", {"location": "https://user:secret@login.example/?code=secret"}))

    lines = failed(gateway.run("keys", "list"))

    assert "redirects to https://login.example. Redirects are not followed" in lines[0]
    assert "secret" not in "".join(lines)
    assert 1 == len(gateway.received)


@pytest.mark.parametrize("location", ["/login", "//[", ""])
def test_any_other_redirect_is_not_followed(gateway, location):
    """Not even one without a valid address."""
    gateway.answers("GET", KEYS, Reply(302, b"", {"location": location}))

    assert "Redirects are not followed" in failed(gateway.run("keys", "list"))[0]


def test_nothing_listens(unused_url):
    """The first thing that goes wrong on a new machine."""
    shown = run("keys", "list", env={"GATEWAY_URL": unused_url, "GATEWAY_ADMIN_TOKEN": TOKEN})

    assert [
        f"Error: Nothing answers at {unused_url}.",
        "Start the gateway (make run, make serve), or set GATEWAY_URL to its address.",
    ] == failed(shown)


@pytest.mark.parametrize(
    ("arguments", "method", "hint"),
    [
        (["keys", "list"], "GET", "Try again."),
        (
            ["keys", "create", "--name", "x"],
            "POST",
            "It may have been done or not: check with `keys list` or `keys show` before you retry.",
        ),
    ],
)
def test_a_connection_that_breaks_leaves_open_what_was_done(gateway, arguments, method, hint):
    """A key may have been made that nobody has seen."""
    gateway.answers(method, KEYS, Reply(breaks=True))

    assert [f"Error: The connection to {gateway.url} broke before there was a response.", hint] == failed(
        gateway.run(*arguments)
    )


def test_a_server_without_tls_is_not_asked_in_the_clear(gateway):
    """What begins as https stays https."""
    lines = failed(gateway.run("keys", "list", env={"GATEWAY_URL": gateway.url.replace("http://", "https://")}))

    assert "is not trusted, or https is not spoken there" in lines[0]
    assert [] == gateway.received


def test_the_token_goes_in_one_header_and_nowhere_else(gateway):
    """Not in the path, which is logged."""
    gateway.answers("GET", f"{KEYS}/vk-1", {"virtual_key": RECORD})

    gateway.run("keys", "show", "vk-1")

    (request,) = gateway.received
    assert f"Bearer {TOKEN}" == request.headers["authorization"]
    assert ["authorization"] == [name for name, value in request.headers.items() if TOKEN in value]


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

    assert "Error: The proxy in the environment cannot be used." == failed(shown)[0]


@pytest.mark.parametrize("host", ["a..b", "-", "xn--", "999.999.999.999", "a_b", "." * 300, "a" * 300])
def test_an_address_that_cannot_be_one_is_an_error(host):
    """Whichever library finds that out."""
    shown = run("keys", "list", env={"GATEWAY_URL": f"https://{host}", "GATEWAY_ADMIN_TOKEN": TOKEN})

    assert failed(shown)[0].startswith("Error: ")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx2.ConnectTimeout("slow"), "https://g did not accept the connection within 30 seconds. Check GATEWAY_URL"),
        (httpx2.ReadTimeout("slow"), "https://g did not answer in time. It may have been done or not"),
        (httpx2.WriteTimeout("slow"), "https://g did not answer in time. It may have been done or not"),
        (
            httpx2.ProxyError("no"),
            "The connection to https://g broke before there was a response. It may have been done",
        ),
    ],
)
def test_each_way_to_have_no_response_has_its_words(error, said):
    """They say whether the request may have been carried out."""
    assert str(network_error(error, "https://g", changes=True)).startswith(said)


@pytest.fixture
def unused_url():
    """An address on this machine at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
