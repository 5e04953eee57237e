"""`jobs …`: the requests of each command, what it shows, and what it saves."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cli.fake import KEY, Reply, error, failed, run

IMAGES = "/openai/openai/deployments/gpt-image-2/images/generations"
JOB = {
    "id": "5f2a",
    "status": "queued",
    "deployment": "gpt-image-2",
    "event_id": "e1",
    "created_at": "2026-11-22T21:01:00+00:00",
    "ended_at": None,
}
SUBMIT = ("jobs", "submit", "--deployment", "gpt-image-2", "--prompt", "a fox")
CALLER = {"GATEWAY_KEY": KEY, "GATEWAY_ADMIN_TOKEN": None}
ENDED = {"ended_at": "2026-11-22T21:03:00+00:00"}


def succeeded(*items):
    """A job that has succeeded."""
    return {**JOB, **ENDED, "status": "succeeded", "answer": {"created": 1, "data": list(items)}}


FAILED = {
    **JOB, **ENDED, "status": "failed",
    "error": {"status_code": 400, "error": {"code": "contentFilter", "message": "Refused."}},
}  # fmt: skip


def test_a_job_is_submitted_as_a_request_with_prefer_respond_async(gateway):
    """Each option becomes a field, and the key of whoever asks is sent."""
    gateway.answers("POST", IMAGES, Reply(202, JOB))

    shown = gateway.run(*SUBMIT, "--size", "1024x1024", "--quality", "low", "--n", "2", env=CALLER)

    wanted = {"model": "gpt-image-2", "prompt": "a fox", "size": "1024x1024", "quality": "low", "n": 2}
    (request,) = gateway.received
    assert wanted == request.body
    assert (f"Bearer {KEY}", "respond-async") == (request.headers["authorization"], request.headers["prefer"])
    assert 22 == len(request.headers["idempotency-key"])
    assert (
        "ID          5f2a\nState       queued\nDeployment  gpt-image-2\nSubmitted   2026-11-22 21:01 UTC\n"
        == shown.stdout
    )


def test_wait_waits_until_the_job_has_ended(gateway):
    """It asks as often as the gateway says, and then shows the images."""
    gateway.answers("POST", IMAGES, Reply(202, JOB))
    running = Reply(200, {**JOB, "status": "running"}, {"retry-after": "0"})
    gateway.answers("GET", "/jobs/5f2a", running, running, succeeded({"url": "https://x/1.png"}))

    shown = gateway.run(*SUBMIT, "--wait", env=CALLER)

    assert ["POST", "GET", "GET", "GET"] == [request.method for request in gateway.received]
    assert "Image 1     https://x/1.png\n" in shown.stdout
    assert "image-gateway jobs show 5f2a" in shown.stderr


def test_images_are_saved(gateway, tmp_path):
    """From their links, which are fetched without a key, or from the response itself."""
    gateway.answers("POST", IMAGES, Reply(202, JOB))
    gateway.answers("GET", "/images/a.jpg", Reply(200, b"\xff\xd8\xffone"))
    inline = base64.b64encode(b"\x89PNGtwo").decode()
    gateway.answers("GET", "/jobs/5f2a", succeeded({"url": f"{gateway.url}/images/a.jpg"}, {"b64_json": inline}))
    folder = tmp_path / "new" / "images"

    shown = gateway.run(*SUBMIT, "--save", str(folder), env=CALLER)

    assert 0 == shown.exit_code, shown.stderr
    saved = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"5f2a-1.jpg": b"\xff\xd8\xffone", "5f2a-2.png": b"\x89PNGtwo"} == saved
    assert f"Saved {folder / '5f2a-1.jpg'}" in shown.stderr
    assert "authorization" not in gateway.received[-1].headers


def test_a_link_that_no_longer_works(gateway, tmp_path):
    """The link is not shown: whoever has it may open it."""
    gateway.answers("GET", "/images/a.png", Reply(404, b""))
    gateway.answers("GET", "/jobs/5f2a", succeeded({"url": f"{gateway.url}/images/a.png?sig=secret"}))

    shown = gateway.run("jobs", "show", "5f2a", "--save", str(tmp_path), env=CALLER)

    assert (1, True) == (shown.exit_code, "its link answered 404" in shown.stderr)
    assert "secret" not in shown.stderr


@pytest.mark.parametrize("name", ["../../x", "a/b", ""])
def test_a_job_whose_id_would_leave_the_folder_is_not_saved(gateway, tmp_path, name):
    """A response must not write files elsewhere."""
    gateway.answers("GET", "/jobs/5f2a", {**succeeded({"b64_json": "QUJD"}), "id": name})

    assert 1 == gateway.run("jobs", "show", "5f2a", "--save", str(tmp_path / "in"), env=CALLER).exit_code
    assert [] == [*tmp_path.rglob("*.png")]


def test_a_job_that_fails_fails_the_command_that_waits_for_it(gateway):
    """With the error of the job."""
    gateway.answers("POST", IMAGES, Reply(202, JOB))
    gateway.answers("GET", "/jobs/5f2a", FAILED)

    shown = gateway.run(*SUBMIT, "--wait", env=CALLER)

    assert "Error: The job 5f2a has the state failed: Refused (contentFilter)." == failed(shown)[-1]


def test_a_job_that_has_failed_is_shown(gateway):
    """With its error."""
    gateway.answers("GET", "/jobs/5f2a", FAILED)

    assert "Error       Refused (contentFilter).\n" in gateway.run("jobs", "show", "5f2a", env=CALLER).stdout


def test_a_job_is_cancelled(gateway):
    """And shown as it is then."""
    gateway.answers("DELETE", "/jobs/5f2a", {**JOB, **ENDED, "status": "cancelled"})

    assert "State       cancelled\n" in gateway.run("jobs", "cancel", "5f2a", env=CALLER).stdout


def test_with_json_stdout_is_the_gateways_answer(gateway):
    """Scripts read it whole."""
    gateway.answers("GET", "/jobs/5f2a", succeeded({"url": "https://x/1.png", "more": 1}))

    shown = gateway.run("jobs", "show", "5f2a", "--json", env=CALLER)

    assert succeeded({"url": "https://x/1.png", "more": 1}) == json.loads(shown.stdout)


def test_an_admin_may_do_the_same(gateway):
    """With the token, if there is no key."""
    gateway.answers("GET", "/jobs/5f2a", JOB)

    assert 0 == gateway.run("jobs", "show", "5f2a").exit_code
    assert "Bearer eyJ.the-admins.token" == gateway.received[0].headers["authorization"]


def test_without_a_key_it_says_what_to_set():
    """Nothing is sent."""
    assert "Error: GATEWAY_KEY is not set." == failed(run("jobs", "show", "5f2a"))[0]


def test_a_submit_without_a_response_can_be_repeated(gateway):
    """With the same name, so that there is one job."""
    gateway.answers("POST", IMAGES, Reply(breaks=True))

    lines = failed(gateway.run(*SUBMIT, env=CALLER))

    name = gateway.received[0].headers["idempotency-key"]
    assert f"Run it again with --idempotency-key {name}: the gateway then has one job, whatever happened." == lines[-1]
    gateway.answers("POST", IMAGES, Reply(202, JOB))
    assert 0 == gateway.run(*SUBMIT, "--idempotency-key", name, env=CALLER).exit_code
    assert name == gateway.received[-1].headers["idempotency-key"]


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (error(401, "invalid_credentials", "Not valid"), "Error: The gateway rejects the key in GATEWAY_KEY:"),
        (error(403, "deployment_not_allowed", "No"), "Error: This key may not do that: No (deployment_not_allowed)."),
        (error(404, "job_not_found", "There is no such job"), "Error: There is no such job (job_not_found)."),
        (error(409, "job_not_queued", "It runs"), "Error: The gateway rejected the request: It runs (job_not_queued)."),
    ],
)
def test_an_error_names_what_to_do(gateway, reply, line):
    """In the gateway's words."""
    gateway.answers("DELETE", "/jobs/5f2a", reply)

    assert failed(gateway.run("jobs", "cancel", "5f2a", env=CALLER))[0].startswith(line)
