"""What each family accepts, and Azure's words for what it does not."""

import pytest

from emulator.families import FAMILIES
from tests.emulator.asking import error

GPT_1 = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")
GPT_2_5 = ("gpt-image-2.5-flare", "gpt-image-2.5-sunburst")
GPT_2 = ("gpt-image-2", *GPT_2_5)
GPT = (*GPT_1, *GPT_2)
SEE_THROUGH = (*GPT_1, *GPT_2_5)
FLUX = ("flux-1.1-pro", "flux.1-kontext-pro")
TINY = {"x-emulator-fault": "bytes-4"}  # a good answer without the time to draw


def every(*rows):
    """Spread rows of (models, body, …) into one case for each model."""
    return [(model, *row[1:]) for row in rows for model in ([row[0]] if isinstance(row[0], str) else row[0])]


@pytest.mark.parametrize(
    ("model", "body"),
    every(
        (FAMILIES, {}),
        (FAMILIES, {"size": "1024x1024", "n": 1}),
        (FAMILIES, {"size": None, "n": None, "style": None, "stream": None}),
        (
            "dall-e-3",
            {"size": "1792x1024", "quality": "hd", "style": "natural", "response_format": "b64_json"},
        ),
        ("dall-e-3", {"size": "1024x1792", "quality": "standard", "response_format": "url", "user": "me"}),
        ("dall-e-3", {"prompt": "x" * 4_000}),
        (GPT, {"n": 10, "size": "1536x1024", "quality": "low", "user": "me", "moderation": "low"}),
        (GPT, {"size": "auto", "quality": "auto", "background": "auto", "moderation": "auto"}),
        (GPT, {"output_format": "jpeg", "output_compression": 0, "background": "opaque"}),
        (GPT, {"stream": True, "n": 1, "partial_images": 3}),
        (GPT, {"prompt": "x" * 32_000}),
        (GPT, {"model": "gpt-image-2"}),
        (GPT_1, {"model": "my-deployment"}),
        (SEE_THROUGH, {"background": "transparent", "output_format": "png"}),
        (GPT_2, {"size": "3840x2160"}),
        (GPT_2, {"size": "1440x480"}),
        (GPT_2, {"size": "1024x640"}),
        (GPT_2_5, {"quality": "max"}),
        (FLUX, {"size": "1440x256", "n": 4}),
    ),
)
async def test_what_is_accepted(azure, model, body):
    """These requests are good for these models."""
    assert (await azure.draw(model, headers=TINY, **body)).status_code == 200


@pytest.mark.parametrize(
    ("model", "key", "value"),
    every(
        (FAMILIES, "seed", 7),
        (FAMILIES, "fallbacks", []),
        (GPT, "style", "vivid"),
        (GPT, "response_format", "b64_json"),
        ("dall-e-3", "stream", False),
        ("dall-e-3", "partial_images", 1),
        ("dall-e-3", "background", "opaque"),
        ("dall-e-3", "output_format", "png"),
        (FLUX, "quality", "high"),
        (FLUX, "response_format", "url"),
        (FLUX, "stream", True),
    ),
)
async def test_unknown_keys(azure, model, key, value):
    """A key that a model does not know is refused by name."""
    answer = await azure.draw(model, **{key: value})

    expected = {
        "message": f"Unknown parameter: '{key}'.",
        "type": "invalid_request_error",
        "param": key,
        "code": "unknown_parameter",
    }
    assert (400, expected) == (answer.status_code, error(answer))


@pytest.mark.parametrize(
    ("model", "body", "param", "words"),
    every(
        (GPT_1, {"size": "256x256"}, "size", "'256x256'. Supported values are: '1024x1024', '1024x1536',"),
        (GPT_1, {"quality": "hd"}, "quality", "Supported values are: 'low', 'medium', 'high', and 'auto'."),
        (GPT_2_5, {"quality": "hd"}, "quality", "'low', 'medium', 'high', 'xhigh', 'max', and 'auto'."),
        (GPT, {"output_format": "webp"}, "output_format", "'webp'. Supported values are: 'png' and 'jpeg'."),
        (GPT, {"moderation": "high"}, "moderation", "'high'. Supported values are: 'low' and 'auto'."),
        (GPT, {"n": 11}, "n", "integer above maximum value. Expected a value <= 10, but got 11 instead."),
        (GPT, {"n": 0}, "n", "integer below minimum value. Expected a value >= 1, but got 0 instead."),
        (GPT, {"n": "2"}, "n", "Invalid type for 'n': expected an integer, but got a string instead."),
        (GPT, {"n": True}, "n", "Invalid type for 'n': expected an integer, but got a boolean instead."),
        (GPT, {"stream": "true"}, "stream", "expected a boolean, but got a string instead."),
        (GPT, {"partial_images": 4}, "partial_images", "Expected a value <= 3, but got 4 instead."),
        (GPT, {"output_compression": 101}, "output_compression", "Expected a value <= 100"),
        (GPT, {"user": {}}, "user", "expected a string, but got an object instead."),
        (GPT, {"prompt": ""}, "prompt", "Invalid 'prompt': empty string."),
        (GPT, {"prompt": None}, "prompt", "Missing required parameter: 'prompt'."),
        (GPT, {"prompt": "x" * 32_001}, "prompt", "32000, but got a string with length 32001 instead."),
        (SEE_THROUGH, {"background": "transparent", "output_format": "jpeg"}, "background", "png"),
        ("gpt-image-2", {"background": "transparent"}, "background", "not supported for this model."),
        (GPT_2, {"model": "my-deployment"}, "model", "The model 'my-deployment' does not exist."),
        (GPT_2, {"size": "1000x1024"}, "size", "divisible by 16"),
        (GPT_2, {"size": "3856x1600"}, "size", "less than or equal to 3840"),
        (GPT_2, {"size": "1600x512"}, "size", "at most 3 times"),
        (GPT_2, {"size": "512x512"}, "size", "at least 655360 pixels"),
        (GPT_2, {"size": "3840x2176"}, "size", "at most 8294400 pixels"),
        (GPT_2, {"size": "large"}, "size", "Use WIDTHxHEIGHT or 'auto'."),
        (FLUX, {"size": "128x1024"}, "size", "at least 256"),
    ),
)
async def test_wrong_values(azure, model, body, param, words):
    """A value that a model does not take is refused with its parameter and the reason."""
    answer = await azure.draw(model, **body)

    assert (400, param) == (answer.status_code, error(answer)["param"])
    assert words in error(answer)["message"]


@pytest.mark.parametrize("key", ["n", "size", "quality", "style", "response_format"])
async def test_dall_e_names_only_the_property(azure, key):
    """DALL-E's server has one sentence for all wrong values, and says `invalidPayload`."""
    answer = await azure.draw("dall-e-3", **{key: 2})

    expected = {"code": "invalidPayload", "message": f"Invalid payload: Value for property {key} is invalid."}
    assert (400, expected) == (answer.status_code, error(answer))


async def test_dall_e_repeats_a_prompt_that_is_too_long(azure):
    """DALL-E's server repeats the whole prompt in its message, which a log must not keep."""
    answer = await azure.draw("dall-e-3", prompt="x" * 4_001)

    assert {"code": "invalidPayload", "message": f"'{'x' * 4_001}' is too long - 'prompt'"} == error(answer)


@pytest.mark.parametrize("model", GPT)
async def test_streams_are_of_one_picture(azure, model):
    """A stream is only for n=1."""
    answer = await azure.draw(model, stream=True, n=2)

    expected = {"message": "Streaming is only supported with n=1.", "type": "invalid_request_error"}
    assert (400, expected) == (answer.status_code, error(answer))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"prompt"', b'{"prompt": NaN}', b"\xff"])
async def test_a_body_is_a_json_object(azure, content):
    """Anything that is not one JSON object is refused."""
    path = "/openai/deployments/gpt-image-1/images/generations?api-version=2025-04-01-preview"

    answer = await azure.client.post(path, content=content, headers={"content-type": "application/json"})

    assert (answer.status_code, "JSON" in error(answer)["message"]) == (400, True)
