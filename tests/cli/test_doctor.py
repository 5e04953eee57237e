"""`doctor`: each check, and what to do where it has failed."""

from __future__ import annotations

import datetime as dt
import json
from email.utils import format_datetime

import jwt
import pytest

from cli import __version__
from tests.cli.fake import KEY, Reply, error, run

KEYS = "/api/governance/virtual-keys"
CHECKS = ("Address", "Health", "Clock", "Version", "Key", "Admin token")


def date(**difference):
    """A Date header that differs from this machine's clock."""
    return {"date": format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(**difference), usegmt=True)}


@pytest.fixture
def healthy(gateway):
    """A gateway on which all is well."""
    gateway.answers("GET", "/health", {"status": "ok"})
    gateway.answers("GET", "/openapi.json", {"info": {"version": __version__}})
    gateway.answers("GET", "/jobs/doctor", error(404, "job_not_found", "There is no such job"))
    gateway.answers("GET", KEYS, {"virtual_keys": [], "next_cursor": None})
    return gateway


def checks(gateway, **env):
    """Each check's result and details."""
    shown = gateway.run("doctor", "--json", env={"GATEWAY_KEY": KEY, **env})
    found = {check["name"]: check for check in json.loads(shown.stdout)}
    assert ("failed" in {check["result"] for check in found.values()}) == shown.exit_code
    return found


def test_where_all_is_well_each_check_is_ok(healthy):
    """Nothing is generated: a job that does not exist and the list of keys cost nothing."""
    found = checks(healthy)

    assert dict.fromkeys(CHECKS, "ok") == {name: check["result"] for name, check in found.items()}
    assert {"GET"} == {request.method for request in healthy.received}
    assert [None, None, f"Bearer {KEY}"] == [request.headers.get("authorization") for request in healthy.received[:3]]


def test_people_get_a_table_and_are_told_what_is_not_checked(healthy):
    """On stderr."""
    shown = healthy.run("doctor")

    assert ["Address", "ok", f"{healthy.url}"] == shown.stdout.splitlines()[2].split()[:3]
    assert "Key          skipped  GATEWAY_KEY is not set\n" in shown.stdout
    assert (0, True) == (shown.exit_code, shown.stderr.startswith("Not checked, because the gateway does not report"))


@pytest.mark.parametrize(
    ("env", "problem", "hint"),
    [
        ({"GATEWAY_URL": "http://gateway.example"}, "GATEWAY_URL is not https", "such as https://HOST."),
        ({"GATEWAY_URL": "http://127.0.0.1:1"}, "Nothing answers at http://127.0.0.1:1.", "Start the gateway"),
    ],
)
def test_without_a_gateway_the_address_has_failed(env, problem, hint):
    """And all else is not checked."""
    shown = run("doctor", env=env)

    assert 1 == shown.exit_code
    assert f"Address  failed  {problem}" in shown.stdout
    assert 3 == len(shown.stdout.splitlines())
    assert hint in shown.stderr


@pytest.mark.parametrize(
    ("path", "reply", "name", "details"),
    [
        ("/health", Reply(200, {"status": "misconfigured"}), "Health", "the gateway says misconfigured"),
        ("/health", Reply(200, b"<html>"), "Health", "not in the gateway's format"),
        (
            "/openapi.json",
            Reply(200, {"info": {"version": "9.9"}}),
            "Version",
            "the gateway has 9.9, this command line",
        ),
        ("/openapi.json", Reply(200, {}), "Version", "the gateway has not known"),
        ("/jobs/doctor", error(401, "invalid_credentials", "No"), "Key", "The gateway rejects the key in GATEWAY_KEY"),
        ("/jobs/doctor", error(403, "key_inactive", "Paused"), "Key", "This key may not do that: Paused"),
        (KEYS, error(401, "expired_credentials", "Expired"), "Admin token", "The admin token has expired"),
        (KEYS, error(403, "admin_required", "No"), "Admin token", "This token may not do that"),
        (KEYS, error(503, "store_unavailable", "Storage"), "Admin token", "The gateway is not available: Storage"),
    ],
)
def test_a_check_that_has_failed_says_why_and_what_to_do(healthy, path, reply, name, details):
    """All others are ok."""
    healthy.answers("GET", path, reply)

    found = checks(healthy)

    assert [name] == [each for each, check in found.items() if check["result"] == "failed"]
    assert details in found[name]["detail"]
    assert found[name]["hint"]


@pytest.mark.parametrize(("difference", "seconds"), [({"seconds": -90}, "9"), ({"hours": 2}, "7")])
def test_a_clock_that_is_wrong_has_failed(healthy, difference, seconds):
    """The gateway would reject the tokens of this machine."""
    healthy.answers("GET", "/health", Reply(200, {"status": "ok"}, date(**difference)))

    clock = checks(healthy)["Clock"]

    assert ("failed", True) == (clock["result"], "Set this machine's clock" in clock["hint"])
    assert clock["detail"].startswith(f"differs from the gateway's by {seconds}")


def test_a_clock_that_is_a_little_wrong_is_ok(healthy):
    """Tokens may differ by a minute."""
    healthy.answers("GET", "/health", Reply(200, {"status": "ok"}, date(seconds=-20)))

    assert ("ok", "within 2") == (checks(healthy)["Clock"]["result"], checks(healthy)["Clock"]["detail"][:8])


@pytest.mark.parametrize("value", ["", "yesterday"])
def test_a_clock_that_nobody_tells_is_skipped(healthy, value):
    """A proxy may have removed the header."""
    healthy.answers("GET", "/health", Reply(200, {"status": "ok"}, {"date": value}))

    assert "skipped" == checks(healthy)["Clock"]["result"]


def test_a_token_says_until_when_it_is_valid(healthy):
    """Soon is a reason for what fails tomorrow."""
    token = jwt.encode({"exp": 4_000_000_000}, "s" * 32)

    found = checks(healthy, GATEWAY_ADMIN_TOKEN=token)

    assert "GATEWAY_ADMIN_TOKEN is accepted, valid until 2096-10-02 07:06 UTC" == found["Admin token"]["detail"]
