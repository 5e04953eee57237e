"""`jobs …`: what each asks of the gateway, what it shows, and what it saves."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cli.fake import KEY, Row, error, failed, run

IMAGES = "/openai/openai/deployments/gpt-image-2/images/generations"
JOB = {
    "id": "5f2a",
    "status": "queued",
    "deployment": "gpt-image-2",
    "event_id": "e1",
    "created_at": "2026-11-22T21:01:00+00:00",
    "ended_at": None,
}
ORDER = ("jobs", "submit", "--deployment", "gpt-image-2", "--prompt", "a fox")
CALLER = {"GATEWAY_KEY": KEY, "GATEWAY_ADMIN_TOKEN": None}
ENDED = {"ended_at": "2026-11-22T21:03:00+00:00"}


def drawn(*items):
    """A job that has succeeded."""
    return {**JOB, **ENDED, "status": "succeeded", "answer": {"created": 1, "data": list(items)}}


FAILED = {
    **JOB, **ENDED, "status": "failed",
    "error": {"status_code": 400, "error": {"code": "contentFilter", "message": "Refused."}},
}  # fmt: skip


def test_an_order_is_a_call_that_need_not_be_waited_for(gateway):
    """What is typed is what is asked, by the key of whoever orders."""
    gateway.answers("POST", IMAGES, Row(202, JOB))

    shown = gateway.run(*ORDER, "--size", "1024x1024", "--quality", "low", "--n", "2", env=CALLER)

    wanted = {"model": "gpt-image-2", "prompt": "a fox", "size": "1024x1024", "quality": "low", "n": 2}
    (asked,) = gateway.asked
    assert wanted == asked.body
    assert (f"Bearer {KEY}", "respond-async") == (asked.headers["authorization"], asked.headers["prefer"])
    assert 22 == len(asked.headers["idempotency-key"])
    assert (
        "ID          5f2a\nState       queued\nDeployment  gpt-image-2\nOrdered     2026-11-22 21:01 UTC\n"
        == shown.stdout
    )


def test_it_can_be_waited_for(gateway):
    """As often as the gateway says; then its pictures are shown."""
    gateway.answers("POST", IMAGES, Row(202, JOB))
    running = Row(200, {**JOB, "status": "running"}, {"retry-after": "0"})
    gateway.answers("GET", "/jobs/5f2a", running, running, drawn({"url": "https://x/1.png"}))

    shown = gateway.run(*ORDER, "--wait", env=CALLER)

    assert ["POST", "GET", "GET", "GET"] == [asked.method for asked in gateway.asked]
    assert "Picture 1   https://x/1.png\n" in shown.stdout
    assert "python -m cli jobs show 5f2a" in shown.stderr


def test_pictures_are_saved(gateway, tmp_path):
    """From their links, which are asked without a key, or from the answer itself."""
    gateway.answers("POST", IMAGES, Row(202, JOB))
    gateway.answers("GET", "/images/a.jpg", Row(200, b"\xff\xd8\xffone"))
    inline = base64.b64encode(b"\x89PNGtwo").decode()
    gateway.answers("GET", "/jobs/5f2a", drawn({"url": f"{gateway.url}/images/a.jpg"}, {"b64_json": inline}))
    folder = tmp_path / "new" / "pictures"

    shown = gateway.run(*ORDER, "--save", str(folder), env=CALLER)

    assert 0 == shown.exit_code, shown.stderr
    saved = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"5f2a-1.jpg": b"\xff\xd8\xffone", "5f2a-2.png": b"\x89PNGtwo"} == saved
    assert f"Saved {folder / '5f2a-1.jpg'}" in shown.stderr
    assert "authorization" not in gateway.asked[-1].headers


def test_a_link_that_no_longer_works(gateway, tmp_path):
    """It says so, and does not show the link, which is a permission."""
    gateway.answers("GET", "/images/a.png", Row(404, b""))
    gateway.answers("GET", "/jobs/5f2a", drawn({"url": f"{gateway.url}/images/a.png?sig=secret"}))

    shown = gateway.run("jobs", "show", "5f2a", "--save", str(tmp_path), env=CALLER)

    assert (1, True) == (shown.exit_code, "its link answered 404" in shown.stderr)
    assert "secret" not in shown.stderr


@pytest.mark.parametrize("name", ["../../x", "a/b", ""])
def test_a_job_whose_id_would_leave_the_folder_is_not_saved(gateway, tmp_path, name):
    """The gateway is not believed that far."""
    gateway.answers("GET", "/jobs/5f2a", {**drawn({"b64_json": "QUJD"}), "id": name})

    assert 1 == gateway.run("jobs", "show", "5f2a", "--save", str(tmp_path / "in"), env=CALLER).exit_code
    assert [] == [*tmp_path.rglob("*.png")]


def test_a_job_that_fails_while_it_is_waited_for(gateway):
    """The command fails with it."""
    gateway.answers("POST", IMAGES, Row(202, JOB))
    gateway.answers("GET", "/jobs/5f2a", FAILED)

    shown = gateway.run(*ORDER, "--wait", env=CALLER)

    assert "Error: The job 5f2a has failed: Refused (contentFilter)." == failed(shown)[-1]


def test_a_job_that_has_failed_is_shown(gateway):
    """With its error."""
    gateway.answers("GET", "/jobs/5f2a", FAILED)

    assert "Error       Refused. (contentFilter)\n" in gateway.run("jobs", "show", "5f2a", env=CALLER).stdout


def test_a_job_is_cancelled(gateway):
    """And shown as it is then."""
    gateway.answers("DELETE", "/jobs/5f2a", {**JOB, **ENDED, "status": "cancelled"})

    assert "State       cancelled\n" in gateway.run("jobs", "cancel", "5f2a", env=CALLER).stdout


def test_with_json_stdout_is_the_gateways_answer(gateway):
    """Scripts read it whole."""
    gateway.answers("GET", "/jobs/5f2a", drawn({"url": "https://x/1.png", "more": 1}))

    shown = gateway.run("jobs", "show", "5f2a", "--json", env=CALLER)

    assert drawn({"url": "https://x/1.png", "more": 1}) == json.loads(shown.stdout)


def test_an_admin_may_do_the_same(gateway):
    """With the token, where there is no key."""
    gateway.answers("GET", "/jobs/5f2a", JOB)

    assert 0 == gateway.run("jobs", "show", "5f2a").exit_code
    assert "Bearer eyJ.the-admins.token" == gateway.asked[0].headers["authorization"]


def test_without_a_key_it_says_what_to_set():
    """And nothing is asked."""
    assert "Error: GATEWAY_KEY is not set." == failed(run("jobs", "show", "5f2a"))[0]


def test_an_order_whose_answer_is_lost_can_be_given_again(gateway):
    """Under the same name, so that it is ordered once."""
    gateway.answers("POST", IMAGES, Row(breaks=True))

    lines = failed(gateway.run(*ORDER, env=CALLER))

    name = gateway.asked[0].headers["idempotency-key"]
    assert f"Run it again with --idempotency-key {name}: whatever became of it, it is ordered once." == lines[-1]
    gateway.answers("POST", IMAGES, Row(202, JOB))
    assert 0 == gateway.run(*ORDER, "--idempotency-key", name, env=CALLER).exit_code
    assert name == gateway.asked[-1].headers["idempotency-key"]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (error(401, "invalid_credentials", "Not valid"), "Error: The gateway does not take the key of GATEWAY_KEY:"),
        (error(403, "deployment_not_allowed", "No"), "Error: This key may not do that: No (deployment_not_allowed)."),
        (error(404, "job_not_found", "There is no such job"), "Error: There is no such job (job_not_found)."),
        (error(409, "job_not_queued", "It runs"), "Error: The gateway refuses this: It runs (job_not_queued)."),
    ],
)
def test_what_the_gateway_refuses(gateway, row, line):
    """In its words, and with what to do."""
    gateway.answers("DELETE", "/jobs/5f2a", row)

    assert failed(gateway.run("jobs", "cancel", "5f2a", env=CALLER))[0].startswith(line)
