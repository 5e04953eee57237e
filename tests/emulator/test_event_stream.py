"""Streams: partial images and the completed one, and every way in which a stream goes wrong."""

import asyncio
import base64
import io

import httpx2
import pytest
from PIL import Image

from tests.emulator.asking import Event, arrived, events
from tests.waiting import HANGS_SECONDS

PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"
DECIDED = {"background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024"}


FAILED = "An error occurred."
FULL = "Rate limit reached for images."
REFUSED = "Your request was rejected by the safety system."


def bare(**problem) -> Event:
    return Event("message", {"error": problem})


def names(response) -> list[str]:
    return [event.name for event in events(response)]


def whole(partials: int) -> list[str]:
    return [PARTIAL] * partials + [COMPLETED]


@pytest.mark.parametrize("partials", [None, 0, 1, 3])
async def test_a_stream(azure, partials):
    """A stream has the partial images that were asked for, then the completed one, then it ends."""
    asked = {} if partials is None else {"partial_images": partials}

    answer = await azure.draw(stream=True, **asked)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert whole(partials or 0) == names(answer)
    assert answer.text.endswith("}\n\n")


async def test_what_the_events_hold(azure):
    """Partial images have a number, the completed one the usage: 100 tokens more for each partial."""
    *partials, completed = (event.data for event in events(await azure.draw(stream=True, partial_images=2)))

    for data in (*partials, completed):
        assert Image.open(io.BytesIO(base64.b64decode(data.pop("b64_json")))).size == (1024, 1024)
        assert isinstance(data.pop("created_at"), int)
    assert [{"type": PARTIAL, "partial_image_index": index, **DECIDED} for index in range(2)] == partials
    assert completed.pop("usage")["output_tokens"] == 4_160 + 200
    assert completed == {"type": COMPLETED, **DECIDED}


async def test_the_completed_picture_is_the_one_that_json_has(azure):
    """A stream ends with the same picture that plain JSON answers."""
    streamed = events(await azure.draw(stream=True))[-1].data["b64_json"]

    assert (await azure.draw()).json()["data"][0]["b64_json"] == streamed


@pytest.mark.parametrize("fault", ["stream-tiny", "drip", "gzip", "text-plain", "slow-1", "stream-slow-1"])
async def test_streams_that_only_travel_differently(azure, fault):
    """Pieces, compression, type and pace do not change what is said."""
    good = await azure.draw(stream=True, partial_images=1)

    odd = await azure.fault(fault, stream=True, partial_images=1)

    assert [event.data["b64_json"] for event in events(good)] == [event.data["b64_json"] for event in events(odd)]


@pytest.mark.parametrize(("fault", "newline"), [("stream-crlf", "\r\n"), ("stream-cr", "\r")])
async def test_other_line_ends(azure, fault, newline):
    """All three line ends of the standard occur."""
    answer = await azure.fault(fault, stream=True, partial_images=1)

    text = answer.content.decode()
    assert text.count(newline) == text.count("\n" if newline == "\r\n" else "\r") == 6
    answer._text = text.replace(newline, "\n")
    assert whole(1) == names(answer)


async def test_odd_lines(azure):
    """Event lines may be missing, the last blank line too; comments and unknown events stand between."""
    bare = await azure.fault("stream-no-event-lines", stream=True, partial_images=1)
    assert names(bare) == ["message", "message"]
    assert whole(1) == [event.data["type"] for event in events(bare)]

    assert (await azure.fault("stream-no-blank", stream=True)).text.endswith("}\n")
    assert not (await azure.fault("stream-no-blank", stream=True)).text.endswith("\n\n")

    comments = await azure.fault("stream-comments", stream=True, partial_images=1)
    new = Event("image_generation.unheard_of", {"new": 1})
    assert [new, PARTIAL, new, COMPLETED] == [e if e == new else e.name for e in events(comments)]
    assert comments.text.startswith(": comment\n")


async def test_odd_contents(azure):
    """Usage may be missing, fields may be new, partial images more than asked, and it may be JSON."""
    assert "usage" not in events(await azure.fault("no-usage", stream=True))[-1].data
    for event in events(await azure.fault("unknown-field", stream=True, partial_images=1)):
        assert event.data["field_of_tomorrow"] == {"answer": 42}
    assert whole(3) == names(await azure.fault("more-partials", stream=True, partial_images=1))
    as_json = await azure.fault("stream-json", stream=True)
    assert (as_json.headers["content-type"], len(as_json.json()["data"])) == ("application/json", 1)


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ("stream-cut-after-1", None),
        ("stream-error-after-1", Event("error", {"type": "error", "message": FAILED, "code": "server_error"})),
        ("stream-429-after-1", Event("error", {"type": "error", "message": FULL, "code": "rate_limit_exceeded"})),
        ("stream-error-bare-after-1", bare(message=FAILED, type="server_error", code="server_error")),
        (
            "stream-moderation-after-1",
            bare(message=REFUSED, type="image_generation_user_error", code="moderation_blocked"),
        ),
    ],
)
async def test_streams_that_end_early(azure, fault, last):
    """After its number of partial images a stream ends as HTTP should, with or without a word about it."""
    answer = await azure.fault(fault, stream=True, partial_images=2)

    first, *rest = events(answer)
    assert (PARTIAL, [last] if last else []) == (first.name, rest)


async def test_a_stream_breaks_off_at_the_latest_before_the_completed_event(azure):
    """A number above that of the partial images does not save the stream, nor add to them."""
    assert names(await azure.fault("stream-cut-after-3", stream=True, partial_images=1)) == [PARTIAL]
    assert names(await azure.fault("stream-cut-after-0", stream=True, partial_images=1)) == []


async def test_a_stream_with_half_an_event(azure):
    """`stream-cut-midway` ends in the middle of the picture; `stream-junk` says what is not JSON."""
    midway = await azure.fault("stream-cut-midway", stream=True)
    assert midway.text.startswith("event: image_generation.completed\ndata: {")
    assert "\n\n" not in midway.text

    junk = await azure.fault("stream-junk", stream=True)
    assert junk.text == "event: image_generation.completed\ndata: {<not JSON>\n\n"


@pytest.mark.parametrize(
    ("fault", "error"),
    [("stream-408-after-1", httpx2.RemoteProtocolError), ("stream-reset-after-1", httpx2.ReadError)],
)
async def test_streams_whose_connection_breaks(azure, fault, error):
    """The partial image arrives whole, then the connection is closed or reset."""
    async with azure.opened(fault, stream=True, partial_images=2) as answer:
        received, problem = await arrived(answer)

    assert (received.count(b"event: "), received.endswith(b"}\n\n")) == (1, True)
    assert type(problem) is error
    assert azure.calls.last.state == "answered"


async def test_a_stream_that_hangs_until_the_client_leaves(azure):
    """After its partial image a hanging stream is silent; the record says that the client left."""
    async with azure.opened("stream-hang-after-1", stream=True, partial_images=2) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == f"event: {PARTIAL}"
        assert azure.calls.open_now == 1
    async with asyncio.timeout(HANGS_SECONDS):
        await azure.calls.until(lambda calls: not calls.open_now)

    assert (azure.calls.last.state, azure.calls.last.status) == ("left", 200)
