"""Generations started by a message in a queue, and what is told of their end (docs/events.md)."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from tests.house import KEY, PROMPT, house, key_record
from tests.http.wire import check_refusal
from tests.loopback import NO_CERTIFICATES
from tests.mail import Mail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.house import House


class Post:
    """A gateway that reads letters, and what its correspondents see."""

    def __init__(self, own: House, mail: Mail, connection_string: str, suffix: str) -> None:
        self.house = own
        self.mail = mail
        self._account = connection_string
        self.suffix = suffix

    def letter(self, name: str = "evt-1", deployment: str = "gpt-image-1", **fields: Any) -> dict[str, Any]:
        """A letter, its id and its key of this test's own."""
        own = {"id": f"{name}-{self.suffix}", "virtual_key_id": f"team-a-{self.suffix}", "deployment": deployment}
        return {**own, "request": {"model": "m", "prompt": PROMPT}, **fields}

    async def send(self, *letters: Any) -> None:
        """Send letters, and have them read."""
        for letter in letters:
            self.mail.send("image-requests", letter if isinstance(letter, str) else json.dumps(letter))
        await self.mail.deliver()

    def result(self, name: str = "evt-1") -> dict[str, Any] | None:
        """What is kept under an id."""
        with self._results() as results, contextlib.suppress(ResourceNotFoundError):
            blob = results.download_blob(f"{name}-{self.suffix}.json")
            assert "application/json" == blob.properties.content_settings.content_type
            found: dict[str, Any] = json.loads(blob.readall())
            return found
        return None

    def results(self, start: str) -> list[str]:
        """The names of what is kept."""
        with self._results() as results:
            return [str(name) for name in results.list_blob_names(name_starts_with=start)]

    def events(self) -> list[dict[str, Any]]:
        """What has been told."""
        return [json.loads(text) for text in self.mail.read("image-events")]

    def _results(self) -> ContainerClient:
        return ContainerClient.from_connection_string(self._account, "image-results")


@pytest.fixture
async def post(azurite: str, prefix: str) -> AsyncIterator[Post]:
    """One with keys that may, may little, and may nothing."""
    keys = [
        key_record(id=f"team-a-{prefix}"),
        key_record("sk-bf-limited", id=f"limited-{prefix}", rate_limit={"images": {"limit": 1, "window": "1h"}}),
        key_record("sk-bf-narrow", id=f"narrow-{prefix}", deployments=["gpt-image-2"]),
        key_record("sk-bf-paused", id=f"paused-{prefix}", active=False),
    ]
    async with house(GATEWAY_VIRTUAL_KEYS=keys, AzureWebJobsStorage=azurite, GATEWAY_MAX_RETRIES="0") as own:
        yield Post(own, Mail(azurite, own.module), azurite, prefix)


async def test_a_letter_is_answered_with_a_result_and_the_pictures_beside_it(post) -> None:
    """The answer of a call, its pictures under the same id, fetched by whoever has the link."""
    await post.send(post.letter(request={"model": "m", "prompt": PROMPT, "n": 2}))
    result = post.result()
    drawn = (await post.house.draw(n=2, response_format="url", model="m")).json()
    assert drawn.keys() == result.keys()
    assert {"id", "deployment"}.isdisjoint(result)
    pictures = post.results(f"evt-1-{post.suffix}/")
    assert 2 == len(pictures)
    async with httpx2.AsyncClient(verify=NO_CERTIFICATES) as anybody:
        for item in result["data"]:
            found = await anybody.get(item["url"])
            assert (200, "image/png") == (found.status_code, found.headers["content-type"])
            assert any(name in item["url"] for name in pictures)


async def test_its_end_is_told_as_a_cloud_event(post) -> None:
    """With where its outcome is, and under its own id."""
    await post.send(post.letter())
    (event,) = post.events()
    name = f"evt-1-{post.suffix}"
    assert event["data"].pop("event_id")
    (image,) = event["data"].pop("images")
    assert image.endswith(tuple(post.results(f"evt-1-{post.suffix}/")))
    assert "?" not in image
    event["data"].pop("cost_usd", None)
    assert dt.datetime.fromisoformat(event.pop("time")).tzinfo is not None
    assert {
        "specversion": "1.0",
        "id": name,
        "source": "/image-gateway",
        "type": "image.generation.succeeded",
        "subject": name,
        "datacontenttype": "application/json",
        "data": {
            "id": name,
            "status": "succeeded",
            "deployment": "gpt-image-1",
            "status_code": 200,
            "result": f"image-results/{name}.json",
        },
    } == event


def wrapped(letter: dict[str, Any]) -> str:
    """A message as base64 in lines, with a byte order mark within."""
    return base64.encodebytes(b"\xef\xbb\xbf" + json.dumps(letter).encode()).decode()


@pytest.mark.parametrize("form", ["wrapped base64", "byte order mark"])
async def test_forms_that_net_writes(post, form) -> None:
    """Base64 in lines, as .NET takes it, and text behind a byte order mark are drawn under the sender's id."""
    letter = post.letter()
    text = wrapped(letter) if form == "wrapped base64" else "\ufeff" + json.dumps(letter)
    post.mail.send("image-requests", text, encoded=False)
    await post.mail.deliver()
    assert [{"url", "index"}] == [set(item) for item in post.result()["data"]]


@pytest.mark.parametrize(
    "text",
    [
        '{"id": "ID", "deployment": "gpt-image-1", "request": {',
        '{"specversion": "1.0", "id": "ID", "source": "/shop", "type": "order", "data_base64": "?"}',
        '{"specversion": "1.0", "id": "ID", "source": "/shop", "type": "order", "data": 1}',
    ],
    ids=["cut short", "no base64", "no object"],
)
async def test_an_id_is_found_wherever_it_stands(post, text) -> None:
    """A message that cannot be read fails under the id that its sender gave it."""
    post.mail.send("image-requests", text.replace("ID", post.letter()["id"]), encoded=False)
    await post.mail.deliver()
    assert 400 == post.result()["status_code"]


@pytest.mark.parametrize("form", ["data", "data_base64", "plain text"])
async def test_other_forms_of_a_letter(post, form) -> None:
    """As the data of a CloudEvent, and not as base64 in the queue."""
    letter = post.letter()
    if form == "plain text":
        post.mail.send("image-requests", json.dumps(letter), encoded=False)
        await post.mail.deliver()
    else:
        data = letter if form == "data" else base64.b64encode(json.dumps(letter).encode()).decode()
        await post.send({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order", form: data})
    assert [{"url", "index"}] == [set(item) for item in post.result()["data"]]


async def test_the_same_id_twice_is_one_generation(post) -> None:
    """The first counts, whatever the second says, and whether it says anything that can be read."""
    await post.send(post.letter(), post.letter())
    first = post.result()
    await post.send(post.letter(deployment="gpt-image-2"), post.letter(virtual_key_id="nobody"))
    await post.send(post.letter(more="fields"), {"id": post.letter()["id"]})
    assert (first, 1, 1) == (post.result(), len(post.house.calls), len(post.events()))


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"virtual_key_id": "nobody"}, 401, "invalid_credentials", "virtual_key_id"),
        ({"virtual_key_id": "paused"}, 403, "key_inactive", None),
        ({"virtual_key_id": "narrow"}, 403, "deployment_not_allowed", None),
        ({"deployment": "../x"}, 400, "invalid_value", "deployment"),
        ({"deployment": 1}, 400, "invalid_type", "deployment"),
        ({"virtual_key_id": ""}, 400, "invalid_value", "virtual_key_id"),
        ({"request": "draw"}, 400, "invalid_type", "request"),
        ({"request": {"model": "m", "prompt": " "}}, 400, "invalid_value", "prompt"),
        ({"request": {"model": "m", "prompt": "x", "n": 11}}, 400, "invalid_value", "n"),
        ({"priority": 1}, 400, "unknown_parameter", "priority"),
    ],
    ids=str,
)
async def test_a_letter_that_cannot_be_honoured(post, fields, status, code, param) -> None:
    """Its result is the error, its end is told, and it does not come again."""
    key = fields.get("virtual_key_id")
    own = {"virtual_key_id": f"{key}-{post.suffix}"} if key else {}
    await post.send(post.letter(**{**fields, **own}))
    result = post.result()
    check_refusal(result)
    assert (status, code, param) == (result["status_code"], result["error"]["code"], result["error"]["param"])
    (event,) = post.events()
    assert ("image.generation.failed", status) == (event["type"], event["data"]["status_code"])
    assert event["data"]["event_id"] == result["event_id"]
    assert (0, 0) == (len(post.house.calls), await post.mail.deliver())


@pytest.mark.parametrize(
    "text",
    ["", "{", "draw a fox", "[]", "null", '{"id": "a/b"}', '{"id": ".."}', '{"id": "x."}', '{"id": 7}', "\u2603" * 9,
     '{"specversion": "1.0"}', '{"specversion": "1.0", "data": []}', '{"specversion": "1.0", "data_base64": "?"}',
     '{"specversion": "1.0", "data_base64": 7}', "[" * 9000, '{"a":' * 300 + "1" + "}" * 300, "x" * 40_000],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
async def test_what_is_no_letter_has_an_end(post, text) -> None:
    """Under a name of its own, for nobody knows whose it is; it does not come again."""
    await post.send(text)
    (event,) = post.events()
    assert ("image.generation.failed", 400) == (event["type"], event["data"]["status_code"])
    assert event["id"].startswith("invalid-")
    assert None is event["data"]["deployment"]
    assert [f"{event['id']}.json"] == post.results(event["id"])
    assert 0 == await post.mail.deliver()


async def test_bytes_that_are_no_text_have_an_end(post) -> None:
    """Base64 of anything."""
    post.mail.send("image-requests", base64.b64encode(b"\xff\xfe{}").decode(), encoded=False)
    await post.mail.deliver()
    assert ["image.generation.failed"] == [event["type"] for event in post.events()]


@pytest.mark.parametrize("name", ["a", "A1", "order-4711.v2_final", "x" * 100, "a..b", "0"])
async def test_odd_ids(post, name) -> None:
    """Letters, digits, dots, dashes and underscores."""
    await post.send(post.letter(name))
    assert post.result(name)["data"]
    assert 1 == len(post.results(f"{name}-{post.suffix}/"))


async def test_the_limits_of_the_key_that_is_named_count(post) -> None:
    """A letter beyond them has failed with 429, as a call would have."""
    key = {"virtual_key_id": f"limited-{post.suffix}"}
    await post.send(post.letter("one", **key), post.letter("two", **key))
    results = [post.result("one"), post.result("two")]
    refused = [each for each in results if "error" in each]
    assert [(429, "rate_limited")] == [(each["status_code"], each["error"]["code"]) for each in refused]
    assert 1 == len(post.house.calls)


async def test_a_letter_that_asks_for_a_stream_is_drawn_all_the_same(post) -> None:
    """There is nobody to stream to."""
    await post.send(post.letter(request={"model": "m", "prompt": PROMPT, "stream": True, "partial_images": 3}))
    assert [{"url", "index"}] == [set(item) for item in post.result()["data"]]


async def test_a_letter_that_was_set_aside_has_an_end(post) -> None:
    """Tried too often: it has failed, and is not drawn."""
    post.mail.send("image-requests-poison", json.dumps(post.letter()))
    await post.mail.deliver()
    assert "job_abandoned" == post.result()["error"]["code"]
    assert (1, 0) == (len(post.events()), len(post.house.calls))


async def test_a_model_that_refuses(post) -> None:
    """The result is its error."""
    await post.send(post.letter(deployment="gpt-image-1--fault-content-policy--letter"))
    called = await post.house.draw("gpt-image-1--fault-content-policy--call", key=KEY)
    result = post.result()
    assert (called.status_code, called.json()["error"]["code"]) == (result["status_code"], result["error"]["code"])
