"""Errors inside a stream whose status is 200: what each event says, in which shape, and where it stands."""

import pytest

from emulator.error_events import ERRORS
from tests.emulator.asking import Event, events

PARTIAL = "image_generation.partial_image"


def test_what_the_errors_are():
    """There is one of each kind: the caller's mistake, a rate limit with and without a wait, refusals, the server's."""
    assert {
        "user-error": "invalid_value",
        "rate-limit": "rate_limit_exceeded",
        "rate-limit-12s": "rate_limit_exceeded",
        "blocked": "moderation_blocked",
        "responsible-ai": "ResponsibleAIPolicyViolation",
        "server-error": "server_error",
    } == {name: error["code"] for name, error in ERRORS.items()}
    assert ["rate-limit-12s"] == [name for name, error in ERRORS.items() if "try again in 12s" in error["message"]]


@pytest.mark.parametrize("partials", [0, 1])
@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_inside_error(azure, name, partials):
    """The error stands inside `error`, as the first event or after partial images, with an `event:` line or without."""
    for suffix, event in (("", "error"), ("-no-event-line", "message")):
        answer = await azure.fault(f"stream-{name}{suffix}-after-{partials}", stream=True, partial_images=2)

        *before, last = events(answer)
        assert (200, [PARTIAL] * partials) == (answer.status_code, [event.name for event in before])
        assert Event(event, {"type": "error", "error": ERRORS[name]}) == last


async def test_a_wait_in_the_headers(azure):
    """A rate limit may have the header `retry-after` on the 200."""
    answer = await azure.fault("stream-rate-limit-retry-after-7", stream=True, partial_images=2)

    assert (200, "7") == (answer.status_code, answer.headers["retry-after"])
    assert ["rate_limit_exceeded"] == [event.data["error"]["code"] for event in events(answer)]
