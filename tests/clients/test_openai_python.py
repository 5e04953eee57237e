"""The newest OpenAI SDK for Python, as people use it with Azure: only its endpoint and key are the gateway's."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AzureOpenAI

from tests.clients.told import API_VERSION, COMPLETED, CUT, LOST, PARTIAL, REFUSED, named, pixels
from tests.house import KEY, PROMPT
from tests.waiting import HANGS_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = HANGS_SECONDS

BY_KEY = pytest.mark.parametrize("credential", ["azure_ad_token", "api_key"])


def client(gateway: Any, credential: str = "api_key", key: str = KEY, **options: Any) -> AzureOpenAI:
    """The synchronous client, which is then used in a thread."""
    return AzureOpenAI(
        azure_endpoint=f"{gateway.url}/openai", api_version=API_VERSION, timeout=SECONDS, **{credential: key}, **options
    )


def async_client(gateway: Any, credential: str = "api_key") -> AsyncAzureOpenAI:
    """The asynchronous client."""
    return AsyncAzureOpenAI(
        azure_endpoint=f"{gateway.url}/openai", api_version=API_VERSION, timeout=SECONDS, **{credential: KEY}
    )


@BY_KEY
class TestPictures:
    """Calls that succeed, by either way of giving a key."""

    async def test_json(self, gateway, credential):
        """`images.generate` gives a PNG of the size that was asked, and its usage."""

        def draw():
            with client(gateway, credential) as sdk:
                return sdk.images.generate(model="gpt-image-1", prompt=PROMPT, size="1536x1024", quality="hd")

        answer = await asyncio.to_thread(draw)
        assert ("PNG", (1536, 1024)) == pixels(answer.data[0].b64_json)
        assert (4 + 1, "high", "1536x1024") == (answer.usage.input_tokens, answer.quality, answer.size)
        assert ["gpt-image-1"] == [call.deployment for call in gateway.calls]

    async def test_stream(self, gateway, credential):
        """`stream=True` gives two partial images and the completed one with its usage."""

        def draw():
            with client(gateway, credential) as sdk:
                options = {"size": "1024x1536", "stream": True, "partial_images": 2}
                return list(sdk.images.generate(model="gpt-image-1", prompt=PROMPT, **options))

        *partials, completed = await asyncio.to_thread(draw)
        assert [(PARTIAL, 0), (PARTIAL, 1)] == [(event.type, event.partial_image_index) for event in partials]
        assert (COMPLETED, ("PNG", (1024, 1536))) == (completed.type, pixels(completed.b64_json))
        assert completed.usage.total_tokens == completed.usage.input_tokens + completed.usage.output_tokens > 0

    async def test_json_asynchronously(self, gateway, credential):
        """The asynchronous client gives the same."""
        async with async_client(gateway, credential) as sdk:
            answer = await sdk.images.generate(model="gpt-image-1", prompt=PROMPT, n=2)
        assert [("PNG", (1024, 1024))] * 2 == [pixels(image.b64_json) for image in answer.data]

    async def test_stream_asynchronously(self, gateway, credential):
        """So does its stream."""
        async with async_client(gateway, credential) as sdk:
            stream = await sdk.images.generate(model="gpt-image-1", prompt=PROMPT, stream=True, partial_images=1)
            assert [PARTIAL, COMPLETED] == [event.type async for event in stream]

    async def test_headers(self, gateway, credential):
        """`with_raw_response` shows the gateway's headers."""
        async with async_client(gateway, credential) as sdk:
            raw = await sdk.images.with_raw_response.generate(
                model="gpt-image-1", prompt=PROMPT, style="vivid", extra_headers={"x-request-id": "my-own-id"}
            )
        assert ("gpt-image-1", "0", "1", "style", "my-own-id") == tuple(
            raw.headers[name]
            for name in (
                "x-gateway-deployment",
                "x-gateway-fallback-index",
                "x-gateway-attempts",
                "x-gateway-dropped-params",
                "x-request-id",
            )
        )


class TestMore:
    """Less usual calls."""

    async def test_dall_e_3(self, gateway):
        """DALL·E 3 gives a URL and the revised prompt, and as a stream one completed image."""
        async with async_client(gateway) as sdk:
            image = (await sdk.images.generate(model="dall-e-3", prompt=PROMPT, style="natural")).data[0]
            stream = await sdk.images.generate(model="dall-e-3", prompt=PROMPT, stream=True)
            found = [event async for event in stream]
        assert (True, None) == (PROMPT in image.revised_prompt, image.b64_json)
        assert [(COMPLETED, ("PNG", (1024, 1024)))] == [(event.type, pixels(event.b64_json)) for event in found]

    async def test_several_in_a_stream(self, gateway):
        """A stream of several pictures gives as many completed images; the last has the usage."""
        async with async_client(gateway) as sdk:
            stream = await sdk.images.generate(model="gpt-image-1", prompt=PROMPT, n=2, stream=True)
            found = [event async for event in stream]
        assert [COMPLETED, COMPLETED] == [event.type for event in found]
        assert found[-1].usage.total_tokens > 0

    async def test_fallbacks(self, gateway):
        """`extra_body` carries the fallbacks, and the answer's extra fields say which one drew."""
        async with async_client(gateway) as sdk:
            answer = await sdk.images.generate(
                model="fault-403--sdk", prompt=PROMPT, extra_body={"fallbacks": ["azure/gpt-image-1"]}
            )
        assert (1, "gpt-image-1") == (answer.extra_fields["fallback_index"], answer.extra_fields["deployment"])


class TestErrors:
    """Each failure is the SDK's typed error."""

    @pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])
    @pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
    async def test_typed(self, gateway, hasty, refused, stream):
        """It has the class of its status, the code, type, param and body of the gateway's, and the request's id."""

        def draw():
            with client(hasty if refused.hangs else gateway, key=refused.key, max_retries=0) as sdk:
                name = named(refused.deployment, f"py-{stream}")
                return sdk.images.generate(model=name, prompt=PROMPT, n=refused.n, stream=stream)

        with pytest.raises(openai.APIStatusError) as raised:
            await asyncio.to_thread(draw)
        error = raised.value
        assert refused.raises == type(error).__name__
        assert (refused.status, refused.code, refused.type, refused.param) == (
            error.status_code,
            error.code,
            error.type,
            error.param,
        )
        assert error.request_id == error.body["event_id"] == error.response.headers["x-request-id"]
        assert error.body["message"] in str(error)

    async def test_in_the_middle_of_a_stream(self, gateway):
        """An error after the first partial image is raised there, and no image is made up."""
        found = []
        async with async_client(gateway) as sdk:
            stream = await sdk.images.generate(model=CUT, prompt=PROMPT, stream=True, partial_images=2)
            found.append((await anext(stream)).type)
            with pytest.raises(openai.APIError) as raised:
                await anext(stream)
        assert ([PARTIAL], "upstream_error", "upstream_error") == (found, raised.value.code, raised.value.type)
        assert raised.value.body["message"] == raised.value.message

    @pytest.mark.parametrize("deployment", [LOST, "fault-reset", "fault-hang"])
    async def test_not_tried_again(self, hasty, deployment):
        """What may have been paid for is not asked again, with the SDK's retries as they are by default."""
        async with async_client(hasty) as sdk:
            with pytest.raises(openai.InternalServerError):
                await sdk.images.generate(model=f"{deployment}--once", prompt=PROMPT)
        assert 1 == hasty.calls.count(f"{deployment}--once")

    async def test_tried_again(self, gateway):
        """What was surely not drawn is, and then there is a picture."""
        async with async_client(gateway) as sdk:
            answer = await sdk.images.generate(model="fault-503-times-1--again", prompt=PROMPT)
        assert (1, 2) == (len(answer.data), gateway.calls.count("fault-503-times-1--again"))
