"""Pictures under a link."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from core.domain.image_json import ImageJson
from core.images.hosting import ImageHosting
from core.storage.memory import MemoryBlobs
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.domain.image_json import Buffer

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
JPEG = b"\xff\xd8\xff\xe0" + b"jpeg" * 900
BASE = "http://127.0.0.1:7071"


def answer_with(*pictures: bytes, **fields: Any) -> ImageJson:
    """An images answer, as it is lifted from what upstream sent."""
    texts = ",".join(f'{{"b64_json":"{base64.b64encode(each).decode()}","revised_prompt":"x"}}' for each in pictures)
    document = ImageJson.parse(b'{"created":1,"data":[%s]}' % texts.encode())
    return ImageJson({**document.value, **fields}, document.literals)


class Broken:
    """A container in which every write fails in one way."""

    def __init__(self, failure: BaseException | None) -> None:
        self._failure = failure

    async def put(self, _name: str, pieces: Iterable[Buffer], **_: Any) -> None:
        for _piece in pieces:
            if self._failure is not None:
                raise self._failure
        await asyncio.Event().wait()


def pictures(container: Any = None) -> ImageHosting:
    """Pictures in memory, unless told otherwise."""
    container = container or MemoryBlobs(lambda: NOW).container("pictures")
    return ImageHosting(container, lifetime=dt.timedelta(hours=24), now=lambda: NOW)


async def stored(store: ImageHosting, url: str) -> tuple[bytes, str]:
    """What is found under a link of the gateway's own."""
    content = await store.open(url.rpartition("/")[2])
    assert content is not None
    return b"".join([bytes(piece) async for piece in content.pieces()]), content.content_type


async def test_each_picture_is_stored_as_bytes_and_the_answer_carries_its_url() -> None:
    """The base64 goes; the item's other fields and the answer's own stay."""
    store = pictures()
    hosted = await store.host(answer_with(PNG, JPEG, usage={"total_tokens": 3}), base_url=BASE, seconds=5)
    first, second = hosted.answer.value["data"]
    assert (False, {"total_tokens": 3}) == (hosted.failed, hosted.answer.value["usage"])
    assert {"revised_prompt", "url"} == set(first) == set(second)
    assert (PNG, "image/png") == await stored(store, first["url"])
    assert (JPEG, "image/jpeg") == await stored(store, second["url"])
    assert not hosted.answer.literals
    assert b"b64_json" not in b"".join(hosted.answer.render())


async def test_names_cannot_be_guessed_and_say_what_they_are() -> None:
    """A name holds 256 random bits, and two of the same picture differ."""
    hosted = await pictures().host(answer_with(PNG, PNG), base_url=BASE, seconds=5)
    names = [item["url"].removeprefix(f"{BASE}/images/") for item in hosted.answer.value["data"]]
    assert 2 == len(set(names))
    assert all(name.endswith(".png") and len(name) == 43 + 4 for name in names)


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(StoreUnavailable("it is down", perhaps_done=False), id="the store is down"),
        pytest.param(None, id="the store does not answer"),
    ],
)
async def test_a_picture_that_cannot_be_stored_keeps_its_base64(failure: BaseException | None) -> None:
    """It has been paid for."""
    answer = answer_with(PNG)
    hosted = await pictures(Broken(failure)).host(answer, base_url=BASE, seconds=0.01)
    assert hosted.failed
    assert b"".join(answer.render()) == b"".join(hosted.answer.render())


async def test_what_is_not_base64_is_handed_on_as_it_came_and_the_others_are_stored() -> None:
    """One bad item does not cost the others their links."""
    document = ImageJson.parse(b'{"data":[{"b64_json":"not base64!"},{"b64_json":"%s"}]}' % base64.b64encode(PNG))
    hosted = await pictures().host(document, base_url=BASE, seconds=5)
    bad, good = hosted.answer.value["data"]
    assert hosted.failed
    assert {"b64_json"} == set(bad)
    assert {"url"} == set(good)
    assert b"not base64!" in b"".join(hosted.answer.render())


URL = "https://example.com/x.png"


@pytest.mark.parametrize(
    ("item", "failed"),
    [
        ({"url": URL}, False),
        ({"url": URL, "b64_json": base64.b64encode(PNG).decode()}, False),
        ({"url": "", "b64_json": ""}, False),
        ({"b64_json": ""}, True),
        ({"b64_json": None}, True),
        ({"b64_json": 5}, True),
        ({}, False),
    ],
    ids=["a URL", "both", "both empty", "no base64", "null", "a number", "nothing"],
)
async def test_an_item_that_has_a_url_or_no_base64_is_left_alone(item: dict[str, Any], failed: bool) -> None:
    """Where the model itself gives a URL, it is passed on as it is."""
    document = ImageJson({"data": [item]})
    hosted = await pictures().host(document, base_url=BASE, seconds=5)
    assert (failed, {"data": [item]}) == (hosted.failed, hosted.answer.value)


async def test_a_store_with_addresses_gives_the_link() -> None:
    """The link is the store's own, and works for the lifetime."""

    class Public:
        asked: dt.datetime | None = None

        async def put(self, _name: str, pieces: Iterable[Buffer], **_: Any) -> None:
            list(pieces)

        async def link(self, name: str, *, expires_at: dt.datetime) -> str:
            self.asked = expires_at
            return f"https://store.example/{name}?sig=x"

    container = Public()
    hosted = await pictures(container).host(answer_with(PNG), base_url=BASE, seconds=5)
    assert hosted.answer.value["data"][0]["url"].startswith("https://store.example/")
    assert NOW + dt.timedelta(hours=24) == container.asked
