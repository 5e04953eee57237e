"""`response_format: "url"`: a link that anybody can fetch, for every family (contract §4)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.house import house
from tests.loopback import NO_CERTIFICATES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.house import House


@pytest.fixture(params=["memory", "azurite"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A gateway that keeps pictures in its process, and one that keeps them in Azure Storage."""
    storage = {} if request.param == "memory" else {"AzureWebJobsStorage": request.getfixturevalue("azurite")}
    async with house(**storage) as running:
        yield running


async def fetched(url: str) -> httpx2.Response:
    """What anybody finds at a link: no key, no cookie."""
    async with httpx2.AsyncClient(verify=NO_CERTIFICATES) as anybody:
        return await anybody.get(url)


@pytest.mark.parametrize(
    ("fields", "media_type"),
    [
        ({}, "image/png"),
        ({"n": 3}, "image/png"),
        ({"output_format": "jpeg"}, "image/jpeg"),
    ],
    ids=["one", "three", "jpeg"],
)
async def test_each_item_has_a_link_to_the_picture_itself(gateway, fields: dict[str, Any], media_type: str) -> None:
    """The very bytes that the model drew, with their media type; the base64 is not in the answer."""
    answer = await gateway.draw("gpt-image-1", response_format="url", **fields)
    assert (200, None) == (answer.status_code, answer.headers.get("x-gateway-hosting"))
    items = answer.json()["data"]
    drawn = (await gateway.draw("gpt-image-1", **fields)).json()["data"]
    assert [{"url", "index"}] * fields.get("n", 1) == [set(item) for item in items]
    for item, original in zip(items, drawn, strict=True):
        found = await fetched(item["url"])
        assert (200, media_type) == (found.status_code, found.headers["content-type"])
        assert base64.b64decode(original["b64_json"]) == found.content


async def test_other_fields_stay_as_they_were(gateway) -> None:
    """Usage, sizes and the gateway's own fields."""
    answer = (await gateway.draw("gpt-image-1", response_format="url")).json()
    native = (await gateway.draw("gpt-image-1")).json()
    assert native.keys() == answer.keys()
    assert native["usage"] == answer["usage"]


async def test_a_model_that_gives_urls_is_left_to_do_so(gateway) -> None:
    """Its URL is passed on as it is."""
    answer = (await gateway.draw("dall-e-3", response_format="url")).json()
    assert answer["data"][0]["url"].startswith(gateway.emulator_url)


async def test_a_stream_holds_base64_whatever_was_asked(gateway) -> None:
    """`response_format` has no effect on it."""
    answer = await gateway.draw("gpt-image-1", response_format="url", stream=True)
    assert '"b64_json"' in answer.text


async def test_a_store_that_is_out_of_reach_loses_no_picture() -> None:
    """The item carries the base64 instead, and a header says so."""
    nowhere = (
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/a;"
        "QueueEndpoint=http://127.0.0.1:9/a;TableEndpoint=http://127.0.0.1:9/a"
    )
    async with house(AzureWebJobsStorage=nowhere) as gateway:
        answer = await gateway.draw("gpt-image-1", response_format="url")
    assert (200, "failed") == (answer.status_code, answer.headers["x-gateway-hosting"])
    assert [{"b64_json", "index"}] == [set(item) for item in answer.json()["data"]]


class TestTheGatewaysOwnLinks:
    """Without storage the gateway serves its pictures itself."""

    async def test_they_begin_with_its_public_url(self) -> None:
        """The caller's Host is not trusted where the operator has said."""
        async with house(GATEWAY_PUBLIC_URL="https://images.example.com/gateway/") as gateway:
            answer = (await gateway.draw("gpt-image-1", response_format="url")).json()
            url = answer["data"][0]["url"]
            assert url.startswith("https://images.example.com/gateway/images/")
            own = await gateway.http.get(f"/images/{url.rpartition('/')[2]}")
            assert (200, "nosniff") == (own.status_code, own.headers["x-content-type-options"])
            assert str(len(own.content)) == own.headers["content-length"]

    @pytest.mark.parametrize("host", ["gateway.example.com", "127.0.0.1.example.com"])
    async def test_a_host_that_anybody_can_claim_is_not_believed(self, host: str) -> None:
        """400 before anything is bought: nobody knows where the picture could be fetched."""
        async with house() as gateway:
            answer = await gateway.draw("gpt-image-1", response_format="url", headers={"host": host})
            assert (400, "url_not_available") == (answer.status_code, answer.json()["error"]["code"])
            assert 0 == len(gateway.calls)

    @pytest.mark.parametrize("host", ["127.0.0.1@example.com", "[::1"])
    async def test_a_host_that_is_none_is_refused(self, host: str) -> None:
        """400 before anything is bought."""
        async with house() as gateway:
            answer = await gateway.draw("gpt-image-1", response_format="url", headers={"host": host})
            assert (400, 0) == (answer.status_code, len(gateway.calls))

    async def test_nobody_needs_a_host_where_the_model_gives_urls(self) -> None:
        """Its own URL will do."""
        async with house() as gateway:
            answer = await gateway.draw("dall-e-3", response_format="url", headers={"host": "gateway.example.com"})
            assert 200 == answer.status_code

    @pytest.mark.parametrize("name", ["x.png", "A" * 43 + ".png", "A" * 43 + ".svg", "..%2Fhost.json"])
    async def test_a_name_that_was_not_given_is_not_found(self, name: str) -> None:
        """With the error body, as every unknown path."""
        async with house() as gateway:
            answer = await gateway.http.get(f"/images/{name}")
            assert (404, "not_found") == (answer.status_code, answer.json()["error"]["code"])

    async def test_only_reading_is_possible(self) -> None:
        """405 with what is."""
        async with house() as gateway:
            answer = await gateway.http.delete(f"/images/{'A' * 43}.png")
            assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])
