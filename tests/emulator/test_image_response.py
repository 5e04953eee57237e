"""Good answers: what they hold for each family, their headers, and pictures by URL."""

import base64
import gzip
import io

import httpx2
import pytest
from PIL import Image

from tests.emulator.asking import PROMPT, VERSION, events


def picture(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))


async def test_gpt_image_answers_base64_and_what_was_decided(azure):
    """GPT-image tells the values that it chose where none were given, and what it cost."""
    answer = (await azure.draw("gpt-image-1")).json()

    picture(answer.pop("data")[0]["b64_json"])
    assert isinstance(answer.pop("created"), int)
    expected = {
        "background": "opaque",
        "output_format": "png",
        "quality": "high",
        "size": "1024x1024",
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
            "output_tokens": 4160,
            "output_tokens_details": {"text_tokens": 0, "image_tokens": 4160},
            "total_tokens": 4165,
        },
    }
    assert expected == answer


@pytest.mark.parametrize(
    ("model", "body", "tokens"),
    [
        ("gpt-image-1", {"quality": "low"}, 272),
        ("gpt-image-1", {"quality": "medium"}, 1_056),
        ("gpt-image-1-mini", {}, 1_056),
        ("gpt-image-1", {"quality": "low", "size": "1024x1536"}, 408),
        ("gpt-image-1", {"quality": "high", "size": "1536x1024"}, 6_208),
        ("gpt-image-1", {"quality": "low", "n": 3}, 3 * 272),
        ("gpt-image-2", {"quality": "low"}, 196),
        ("gpt-image-2", {"quality": "medium"}, 1_756),
        ("gpt-image-2", {"quality": "high"}, 7_024),
        ("gpt-image-2", {"quality": "high", "size": "1536x1024"}, 5_488),
        ("gpt-image-2", {"quality": "high", "size": "1024x1536"}, 5_488),
        ("gpt-image-2", {"quality": "high", "size": "3840x2160"}, 13_342),
        ("gpt-image-2", {"quality": "low", "size": "3472x1488"}, 201),
        ("gpt-image-2.5-flare", {"quality": "max"}, 7_024),
    ],
)
async def test_output_tokens(azure, model, body, tokens):
    """Output tokens follow the published table; those of gpt-image-2 and later, the formula behind the list prices."""
    answer = await azure.draw(model, headers={"x-emulator-fault": "bytes-4"}, **body)

    assert tokens == answer.json()["usage"]["output_tokens"]


async def test_dall_e_answers_a_url_that_can_be_fetched(azure):
    """DALL-E answers a URL by default, its own version of the prompt, and what the filters found."""
    item = (await azure.draw("dall-e-3", size="1792x1024")).json()["data"][0]

    assert {"revised_prompt", "url", "prompt_filter_results", "content_filter_results"} == set(item)
    assert PROMPT in item["revised_prompt"]
    async with httpx2.AsyncClient() as anyone:
        fetched = await anyone.get(item["url"])
    assert (fetched.status_code, fetched.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(fetched.content)).size == (1792, 1024)


async def test_dall_e_answers_base64_when_asked(azure):
    """With `response_format: b64_json` DALL-E's picture is in the answer."""
    answer = (await azure.draw("dall-e-3", response_format="b64_json")).json()

    assert "url" not in answer["data"][0]
    assert "usage" not in answer
    assert picture(answer["data"][0]["b64_json"]).size == (1024, 1024)


async def test_flux_answers_urls(azure):
    """FLUX answers a URL for each picture, and nothing about tokens."""
    answer = (await azure.draw("flux-1.1-pro", n=2)).json()

    assert [{"url"}, {"url"}] == [set(item) for item in answer["data"]]
    assert {"created", "data"} == set(answer)


async def test_each_of_several_pictures_is_another(azure):
    """Several pictures for one prompt differ."""
    one, other = (await azure.draw(n=2)).json()["data"]

    assert one != other


@pytest.mark.parametrize("fault", [None, "content-policy"])
async def test_headers_that_azure_sends(azure, fault):
    """Answers carry Azure's request ids and region, and things that are nobody else's business."""
    headers = (await azure.draw(headers={"x-emulator-fault": fault} if fault else {})).headers

    assert headers["x-ms-region"] == "Sweden Central"
    assert headers["apim-request-id"] != headers["x-request-id"]
    assert "set-cookie" in headers
    good_only = {"x-ratelimit-remaining-requests", "azureml-model-session"}
    assert (set() if fault else good_only) == good_only & set(headers)


async def test_an_odd_answer_is_still_a_good_one(azure):
    """Content type, encoding, pace, missing usage and new fields do not change the picture."""
    good = (await azure.draw()).json()

    plain = await azure.fault("text-plain")
    assert ("text/plain; charset=utf-8", good["data"]) == (
        plain.headers["content-type"],
        plain.json()["data"],
    )
    assert good["data"] == (await azure.fault("drip")).json()["data"]
    assert good["data"] == (await azure.fault("slow-1")).json()["data"]
    no_usage = (await azure.fault("no-usage")).json()
    assert (good["data"], False) == (no_usage["data"], "usage" in no_usage)
    unknown = (await azure.fault("unknown-field")).json()
    assert unknown["field_of_tomorrow"] == unknown["data"][0]["field_of_tomorrow"] == {"answer": 42}


@pytest.mark.parametrize("stream", [False, True])
async def test_cached_input_tokens(azure, stream):
    """`usage` may tell that a part of the input tokens was cached."""
    answer = await azure.fault("cached-tokens-2000", stream=stream)

    usage = events(answer)[-1].data["usage"] if stream else answer.json()["usage"]
    assert (2_000, {"text_tokens": 2_000, "image_tokens": 0, "cached_tokens": 1_000}) == (
        usage["input_tokens"],
        usage["input_tokens_details"],
    )
    assert usage["total_tokens"] == 2_000 + usage["output_tokens"]


async def test_a_byte_order_mark(azure):
    """A byte order mark may stand before JSON and before a stream, and JSON may be the answer to a streaming call."""
    for fault, stream in (("bom", False), ("bom", True), ("stream-json-bom", True)):
        answer = await azure.fault(fault, stream=stream)
        good = await azure.draw(stream=stream and fault == "bom")
        assert answer.content[:3] == b"\xef\xbb\xbf"
        assert answer.content[3:13] == good.content[:10]
        assert answer.headers["content-type"] == good.headers["content-type"]


FOUND = {"filtered": True, "severity": "medium"}


@pytest.mark.parametrize("filtered", [False, True])
async def test_withheld_pictures(azure, filtered):
    """A picture that was withheld is null, with the reason beside it or without: all of them, or some."""
    suffix = "-filtered" if filtered else ""
    all_withheld = (await azure.fault(f"withheld{suffix}", n=2)).json()["data"]
    first, second = (await azure.fault(f"withheld-first{suffix}", n=2)).json()["data"]
    streamed = events(await azure.fault(f"withheld{suffix}", stream=True, partial_images=1))[-1].data

    for item in (*all_withheld, first, streamed):
        assert item["b64_json"] is None
        assert item.get("content_filter_results", {}).get("violence") == (FOUND if filtered else None)
    picture(second["b64_json"])
    assert (await azure.draw("dall-e-3--fault-withheld")).json()["data"] == [{"url": None}]


async def test_a_completed_event_without_a_picture(azure):
    """The completed event may have everything but the picture."""
    completed = events(await azure.fault("stream-without-image", stream=True))[-1]

    assert (completed.name, completed.data["type"]) == ("image_generation.completed",) * 2
    assert "b64_json" not in completed.data


async def test_gzip_comes_unasked(azure):
    """The fault `gzip` compresses also for a client that did not ask."""
    path = f"/openai/deployments/fault-gzip/images/generations?api-version={VERSION}"
    request = azure.client.build_request("POST", path, json={"prompt": PROMPT}, headers={"accept-encoding": "identity"})
    answer = await azure.client.send(request, stream=True)

    raw = b"".join([piece async for piece in answer.aiter_raw()])

    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw).startswith(b'{"created"')


@pytest.mark.parametrize("size", [1, 1_000, 3_000_001])
async def test_noise_of_a_given_size(azure, size):
    """The fault `bytes-N` answers N characters, the same each time."""
    answers = [(await azure.fault(f"bytes-{size}")).json()["data"][0]["b64_json"] for _ in range(2)]

    assert [size, size] == [len(data) for data in answers]
    assert answers[0] == answers[1]
