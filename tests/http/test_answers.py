"""Contract §4, what comes back: JSON, streams, and the headers of every answer."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.house import KEY, PROMPT, house
from tests.http.wire import (
    COMPLETED,
    PARTIAL,
    QUICK,
    behind,
    check_error_event,
    events,
    path,
    refusal,
    said,
    trail,
)
from tests.waiting import HANGS_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

USAGE = {"input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"}
DETAILS = {"image_tokens", "text_tokens"}
EXTRA_FIELDS = {
    "provider",
    "model_requested",
    "deployment",
    "request_type",
    "latency_ms",
    "cost_usd",
    "fallback_index",
    "attempts",
}
OF_AN_IMAGE = {"created_at", "size", "quality", "background", "output_format", "index", "b64_json", "type"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient_house():
    """A gateway that begins to fill silence after a twentieth of a second."""
    async with house(GATEWAY_MAX_RETRIES="0", GATEWAY_HEARTBEAT_SECONDS="0.05") as running:
        yield running


@pytest.fixture
def impatient(impatient_house):
    """The same, and nothing asked upstream yet."""
    impatient_house.calls.clear()
    return impatient_house


def names(found: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """The events' names, which are the types in their JSON too."""
    assert [name for name, _ in found] == [event["type"] for _, event in found]
    return [name for name, _ in found]


class TestJson:
    """The answer as one JSON object."""

    async def test_shape(self, gateway):
        """A GPT-image answer has everything that the contract lists."""
        response = await gateway.draw("gpt-image-1", model="my label", quality="hd", size="1536x1024")
        answer = response.json()
        assert (200, "application/json") == (response.status_code, response.headers["content-type"])
        assert isinstance(answer["created"], int)
        described = [answer[name] for name in ("background", "output_format", "quality", "size")]
        assert described == ["opaque", "png", "high", "1536x1024"]
        assert USAGE == answer["usage"].keys()
        assert [DETAILS] * 2 == [answer["usage"][f"{side}_tokens_details"].keys() for side in ("input", "output")]
        assert [{"b64_json", "index"}] == [set(item) for item in answer["data"]]

    async def test_extra_fields(self, gateway):
        """`extra_fields` says who answered, to what, how long it took and after which attempts."""
        extra = (await gateway.draw(QUICK, model="my label")).json()["extra_fields"]
        assert EXTRA_FIELDS == extra.keys()
        assert isinstance(extra.pop("latency_ms"), int)
        assert [{"deployment", "outcome", "status", "latency_ms"}] == [set(each) for each in extra.pop("attempts")]
        assert extra == {
            "provider": "azure",
            "model_requested": "my label",
            "deployment": QUICK,
            "request_type": "image_generation",
            "fallback_index": 0,
            "cost_usd": None,
        }

    @pytest.mark.parametrize("deployment", ["gpt-image-1", "flux-1.1-pro", "no-family"])
    async def test_indexes(self, families, deployment):
        """The pictures are numbered in their order."""
        data = (await families.draw(deployment, n=10)).json()["data"]
        assert list(range(10)) == [item["index"] for item in data]

    async def test_pictures_are_those_of_upstream(self, gateway):
        """The pictures come through as upstream drew them: png files, each its own."""
        data = (await gateway.draw("gpt-image-1", n=2)).json()["data"]
        files = [base64.b64decode(item["b64_json"], validate=True) for item in data]
        assert [b"\x89PNG\r\n\x1a\n"] * 2 == [file[:8] for file in files]
        assert files[0] != files[1]

    async def test_what_dall_e_3_adds(self, families):
        """The revised prompt and the content filter's findings are kept."""
        item = (await families.draw("dall-e-3")).json()["data"][0]
        assert {"url", "revised_prompt", "prompt_filter_results", "content_filter_results", "index"} == set(item)

    async def test_unknown_fields(self, gateway):
        """Fields that nobody here knows are kept, beside `data` and in each item."""
        answer = (await gateway.draw("fault-unknown-field", n=2)).json()
        assert [{"answer": 42}] * 3 == [each["field_of_tomorrow"] for each in (answer, *answer["data"])]

    async def test_unknown_fields_of_a_family(self):
        """They are kept however the gateway asks upstream for the picture."""
        catalogue = {
            "deployments": {"x": {"family": "gpt-image-1", "targets": [{"deployment": "fault-unknown-field"}]}}
        }
        async with house(GATEWAY_CATALOGUE=catalogue) as own:
            assert {"answer": 42} == (await own.draw("x")).json()["field_of_tomorrow"]

    async def test_an_answer_as_it_came(self):
        """But for indexes and extra_fields, the answer is upstream's own, whatever is in it."""
        theirs = {
            "created": 1,
            "data": [
                {"b64_json": "aGk=", "revised_prompt": 'a "quoted" \\ "b64_json": "x"', "new": [None, 1.5]},
                {"url": "u"},
            ],
            "usage": {"total_tokens": 1, "new": {}},
            "größe": "€",
        }
        async with behind({"x": (200, theirs)}) as own:
            answer = (await own.draw("x", n=2)).json()
        del answer["extra_fields"]
        assert {**theirs, "data": [{**item, "index": index} for index, item in enumerate(theirs["data"])]} == answer

    @pytest.mark.parametrize("deployment", ["gpt-image-1", "gpt-image-2"])
    async def test_a_whole_picture(self, families, deployment):
        """A caller who wants JSON never sees how upstream delivered: no event, no partial image."""
        answer = (await families.draw(deployment, quality="high", partial_images=3)).json()
        assert {"created", "data", "extra_fields", "usage", "size", "quality", "background", "output_format"} == set(
            answer
        )


class TestStream:
    """The answer as server-sent events."""

    @pytest.mark.parametrize("partials", [None, 0, 1, 2, 3])
    async def test_events(self, gateway, partials):
        """There are at most `partial_images` partial images, none by default, and then one completed image."""
        found = events(await gateway.draw("gpt-image-1", stream=True, partial_images=partials))
        assert [PARTIAL] * (partials or 0) + [COMPLETED] == names(found)
        assert list(range(partials or 0)) == [event["partial_image_index"] for _, event in found[:-1]]

    async def test_headers(self, gateway):
        """It is an event stream that nothing on its way may keep or gather."""
        response = await gateway.draw(QUICK, stream=True)
        assert (200, "text/event-stream") == (response.status_code, response.headers["content-type"].split(";")[0])
        assert ("no-cache", "no") == (response.headers["cache-control"], response.headers["x-accel-buffering"])

    async def test_form(self, gateway):
        """It consists of events of two lines and an empty one, and ends after the last, without `[DONE]`."""
        text = (await gateway.draw("gpt-image-1", stream=True, partial_images=1)).text
        assert text.endswith("}\n\n")
        assert ["event: ", "data: {"] * 2 == [line[:7] for line in text.split("\n") if line]
        assert "[DONE]" not in text

    async def test_a_partial_image(self, gateway):
        """A partial image has all that the contract lists."""
        _, event = events(await gateway.draw("gpt-image-1", stream=True, partial_images=1))[0]
        assert {*OF_AN_IMAGE, "partial_image_index"} == set(event)
        assert (0, b"\x89PNG") == (event["index"], base64.b64decode(event["b64_json"])[:4])

    async def test_a_completed_image(self, gateway):
        """A completed image has its usage and the gateway's own fields besides."""
        _, event = events(await gateway.draw("gpt-image-1", model="my label", stream=True))[0]
        assert {*OF_AN_IMAGE, "usage", "extra_fields"} == set(event)
        assert (USAGE, EXTRA_FIELDS) == (set(event["usage"]), set(event["extra_fields"]))
        assert (0, "image_generation_stream") == (event["index"], event["extra_fields"]["request_type"])
        assert [("gpt-image-1", "picture", 200)] == trail(event)

    @pytest.mark.parametrize("partials", [None, 0, 1])
    async def test_no_more_than_asked(self, gateway, partials):
        """Partial images beyond those that were asked for are not passed on."""
        found = events(await gateway.draw("fault-more-partials", stream=True, partial_images=partials))
        assert [PARTIAL] * (partials or 0) + [COMPLETED] == names(found)

    @pytest.mark.parametrize(
        ("deployment", "images", "usages"),
        [
            ("gpt-image-1", 3, [False, False, True]),
            ("gpt-image-2", 10, [False] * 9 + [True]),
            ("dall-e-3", 1, [False]),
            ("flux-1.1-pro", 1, [False]),
            ("flux-1.1-pro", 3, [False] * 3),
        ],
    )
    async def test_where_upstream_cannot_stream(self, families, deployment, images, usages):
        """For several pictures and other models, each picture is a completed event; the one usage is on the last."""
        found = events(await families.draw(deployment, stream=True, partial_images=2, n=images))
        assert [COMPLETED] * images == names(found)
        assert list(range(images)) == [event["index"] for _, event in found]
        assert usages == ["usage" in event for _, event in found]
        assert [True] * images == [bool(event["b64_json"]) and "url" not in event for _, event in found]
        assert [EXTRA_FIELDS] * images == [set(event["extra_fields"]) for _, event in found]
        assert "stream" not in families.calls.last.body

    async def test_of_dall_e_3(self, families):
        """DALL·E 3 is asked for base64, and what it adds stands in the event."""
        _, event = events(await families.draw("dall-e-3", stream=True))[0]
        assert families.calls.last.body == {"prompt": PROMPT, "response_format": "b64_json"}
        assert {"revised_prompt", "content_filter_results", "prompt_filter_results", "created_at"} <= set(event)

    @pytest.mark.parametrize("response_format", ["url", "b64_json"])
    @pytest.mark.parametrize("deployment", ["gpt-image-1", "dall-e-3", "flux-1.1-pro", "no-family"])
    async def test_response_format(self, families, deployment, response_format):
        """`response_format` has no effect on a stream, which always holds base64."""
        response = await families.draw(deployment, stream=True, response_format=response_format)
        if deployment == "no-family":
            assert "response_format" not in families.calls.last.body
        assert [True] == ["b64_json" in event and "url" not in event for _, event in events(response)]

    async def test_without_a_family(self):
        """Where a deployment without a family answers a streaming call with JSON, each picture becomes an event."""
        theirs = {
            "created": 7,
            "size": "1024x1024",
            "data": [{"b64_json": "aGk="}, {"b64_json": "aG8=", "revised_prompt": "r"}],
            "usage": {"total_tokens": 3},
        }
        async with behind({"x": (200, theirs)}) as own:
            found = events(await own.draw("x", stream=True, n=2))
        for _, event in found:
            del event["extra_fields"]
        common = {"type": COMPLETED, "created_at": 7, "size": "1024x1024"}
        assert found == [
            (COMPLETED, {**common, "b64_json": "aGk=", "index": 0}),
            (
                COMPLETED,
                {**common, "b64_json": "aG8=", "revised_prompt": "r", "index": 1, "usage": {"total_tokens": 3}},
            ),
        ]

    async def test_unknown_fields(self, gateway):
        """Fields that nobody here knows are kept in every event."""
        found = events(await gateway.draw("fault-unknown-field", stream=True, partial_images=1))
        assert [{"answer": 42}] * 2 == [event["field_of_tomorrow"] for _, event in found]

    async def test_each_event_as_it_comes(self, gateway):
        """A partial image is with the caller while the next one is still being drawn; leaving ends the drawing."""
        headers = {"authorization": f"Bearer {KEY}"}
        body = {"model": "m", "prompt": PROMPT, "stream": True, "partial_images": 2}
        async with asyncio.timeout(HANGS_SECONDS):
            async with gateway.http.stream(
                "POST", path("fault-stream-hang-after-1"), headers=headers, json=body
            ) as response:
                text = ""
                async for piece in response.aiter_text():
                    text += piece
                    if text.endswith("\n\n"):
                        break
            await gateway.calls.until(lambda calls: not calls.open_now)
        assert text.startswith(f"event: {PARTIAL}\n")
        assert gateway.calls.last.state == "left"


class TestSilence:
    """What the caller hears while nothing happens."""

    async def test_before_the_first_event(self, impatient):
        """Silence before the first event is filled with comments, and with no event that has no data."""
        response = await impatient.draw("gpt-image-1--fault-slow-300", stream=True)
        assert response.text.startswith(": keep-alive\n\n: keep-alive\n\n")
        assert [COMPLETED] == names(events(response))

    async def test_between_events(self, impatient):
        """Silence between events is filled the same way."""
        response = await impatient.draw("gpt-image-1--fault-stream-slow-150", stream=True, partial_images=1)
        between = response.text.partition(f"event: {PARTIAL}")[2].partition(f"event: {COMPLETED}")[0]
        assert "}\n\n: keep-alive\n\n" in between
        assert [PARTIAL, COMPLETED] == names(events(response))

    async def test_none(self, gateway):
        """Where there is no silence, there is no comment."""
        assert "keep-alive" not in (await gateway.draw("fault-slow-50", stream=True)).text

    async def test_not_in_json(self, impatient):
        """JSON is not filled with anything."""
        assert "keep-alive" not in (await impatient.draw("gpt-image-1--fault-slow-150")).text

    async def test_fallbacks_go_on_underneath(self, impatient):
        """Once a silent stream has begun, a failure goes to the fallbacks, and the caller sees only the picture."""
        response = await impatient.draw("fault-500-after-200", stream=True, fallbacks=["fault-403--under", QUICK])
        assert response.text.startswith(": keep-alive\n\n")
        ((name, event),) = events(response)
        assert (COMPLETED, 2, QUICK) == (
            name,
            event["extra_fields"]["fallback_index"],
            event["extra_fields"]["deployment"],
        )
        assert [each[1] for each in trail(event)] == ["server_error", "unauthorized", "picture"]

    async def test_when_all_have_failed(self, impatient):
        """Only when all have failed is there one last event: the error body, and the close."""
        response = await impatient.draw("fault-500-after-200--all", stream=True, fallbacks=["fault-403--all"])
        ((name, event),) = events(response)
        check_error_event(event)
        assert ("error", 502, "upstream_error") == (name, event["status_code"], event["error"]["code"])
        assert [each[1] for each in trail(event)] == ["server_error", "unauthorized"]
        assert event["event_id"] == response.headers["x-request-id"]

    async def test_an_early_failure_has_its_status(self, impatient):
        """A failure before the silence has lasted that long is a plain JSON error with its status."""
        assert (404, "deployment_not_found", None) == said(await impatient.draw("fault-404", stream=True))


class TestABrokenStream:
    """A stream that upstream does not finish."""

    async def test_that_a_fallback_finishes(self, gateway):
        """A listed fallback may finish a stream that has shown partial images."""
        response = await gateway.draw(
            "fault-stream-cut-after-1", stream=True, partial_images=2, fallbacks=["gpt-image-1"]
        )
        found = events(response)
        assert [PARTIAL, PARTIAL, COMPLETED] == names(found)
        assert 1 == found[-1][1]["extra_fields"]["fallback_index"]


OURS = {
    "cache-control",
    "apim-request-id",
    "content-length",
    "content-type",
    "date",
    "server",
    "x-gateway-attempts",
    "x-gateway-deployment",
    "x-gateway-fallback-index",
    "x-ms-region",
    "x-request-id",
}
WITH = {
    # what is asked: the headers that its answer has besides
    "JSON": (QUICK, {}, set()),
    "stream": (QUICK, {"stream": True}, {"cache-control", "x-accel-buffering", "transfer-encoding"}),
    "refusal": ("fault-content-policy--h", {}, set()),
    "throttled": ("fault-429--h", {}, {"retry-after", "retry-after-ms"}),
    "unreadable": ("fault-200-not-json--h", {}, {"x-should-retry"}),
    "redirect": ("fault-302--h", {}, set()),
}


class TestHeaders:
    """The headers of every answer."""

    @pytest.mark.parametrize(("deployment", "fields", "besides"), WITH.values(), ids=WITH)
    async def test_no_others(self, gateway, deployment, fields, besides):
        """Of upstream's headers only those that the contract names come back: no cookie, no quota, no backend."""
        response = await gateway.draw(deployment, **fields)
        expected = OURS | besides
        if "transfer-encoding" in besides:
            expected -= {"content-length"}
        assert expected == set(response.headers)
        host = urlsplit(gateway.emulator_url).netloc
        assert [] == [name for name, value in response.headers.items() if host in value]

    async def test_who_answered(self, gateway):
        """They say which deployment answered, at which place it stood and after how many calls."""
        response = await gateway.draw("fault-403--who", fallbacks=["fault-404--who", QUICK])
        assert (QUICK, "2", "3") == tuple(
            response.headers[f"x-gateway-{name}"] for name in ("deployment", "fallback-index", "attempts")
        )

    async def test_what_azure_support_asks_for(self, gateway):
        """Azure's own request id and region come back, of answers and of errors."""
        for name in (QUICK, "fault-422"):
            headers = (await gateway.draw(name)).headers
            assert (36, "Sweden Central") == (len(headers["apim-request-id"]), headers["x-ms-region"])

    @pytest.mark.parametrize("given", ["a", "0f-1e_2d.3c", "x" * 128, "!~", "{}\"'<>"])
    async def test_the_callers_request_id(self, gateway, given):
        """The caller's `x-request-id` is kept, as header, as `event_id` and towards Azure."""
        response = await gateway.draw("fault-422--id", headers={"x-request-id": given})
        assert (given, given) == (response.headers["x-request-id"], refusal(response)["event_id"])
        assert given == gateway.calls.last.header("x-ms-client-request-id")

    @pytest.mark.parametrize("given", ["", "two words", "x" * 129, b"\xe4", "tab\there"])
    async def test_a_new_request_id(self, gateway, given):
        """Any other is replaced by a new one."""
        answers = [await gateway.draw(QUICK, headers={"x-request-id": given}) for _ in range(2)]
        ids = [answer.headers["x-request-id"] for answer in answers]
        assert ids[0] != ids[1]
        assert [True, True] == [0 < len(each) <= 128 and each != given for each in ids]

    @pytest.mark.parametrize(
        ("method", "where", "key", "body"),
        [
            ("GET", "/docs", None, b""),
            ("GET", path(), None, b""),
            ("POST", path(), None, b"{}"),
            ("POST", path(), KEY, b"{}"),
            ("POST", path(), KEY, b" " * ((1 << 20) + 1)),
            ("POST", path("-"), KEY, b"{}"),
            ("POST", path(), KEY, b'{"model": "m", "prompt": "p", "stream": true}'),
        ],
        ids=["404", "405", "401", "400", "413", "no name", "stream"],
    )
    async def test_on_every_answer(self, gateway, method, where, key, body):
        """Every answer has the request id."""
        headers = {"x-request-id": "mine"} | ({"authorization": f"Bearer {key}"} if key else {})
        response = await gateway.http.request(method, where, headers=headers, content=body)
        assert response.headers["x-request-id"] == "mine"

    @pytest.mark.parametrize(
        ("fault", "seconds", "milliseconds"),
        [
            ("429-retry-after-7", "7", "7000"),
            ("429-retry-after-ms-1500", "2", "1500"),
            ("429", "20", "20000"),
            ("429-retry-after-86400", "86400", "86400000"),
        ],
    )
    async def test_retry_after(self, gateway, fault, seconds, milliseconds):
        """Upstream's word on waiting comes back in seconds and in milliseconds."""
        headers = (await gateway.draw(f"fault-{fault}--wait")).headers
        assert (seconds, milliseconds) == (headers["retry-after"], headers["retry-after-ms"])
