"""How a request is put to one deployment: each rule of contract §3, "Model families", as a row."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.deployments.families import FAMILIES
from core.deployments.parameters import map_parameters
from core.domain.errors import InvalidRequest
from tests.deployments.asking import asked

GPT = [name for name in FAMILIES if name.startswith("gpt")]
FREE = ["gpt-image-2", "gpt-image-2.5-flare", "gpt-image-2.5-sunburst"]
LISTED = ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5"]
FLUX = ["flux-1.1-pro", "flux.1-kontext-pro"]

HOW_IT_IS_FETCHED = ("stream", "partial_images")
"""Whether the gateway itself asks for a stream is its own affair where the caller did not."""


def sent(family: str, **fields: Any) -> dict[str, Any]:
    """What of these fields goes upstream, besides the prompt and how the answer is fetched."""
    body = map_parameters(asked(**fields), FAMILIES[family]).fields
    return {name: value for name, value in body.items() if name not in {"prompt", *HOW_IT_IS_FETCHED}}


def rows(*groups: tuple[list[str], dict[str, Any], dict[str, Any], tuple[str, ...]]) -> list[Any]:
    """One row for each family of each group."""
    return [
        pytest.param(name, given, expected, dropped, id=f"{name} {given}")
        for names, given, expected, dropped in groups
        for name in names
    ]


@pytest.mark.parametrize(
    ("family", "given", "expected", "dropped"),
    rows(
        ([*FAMILIES], {}, {}, ()),
        # quality
        (GPT, {"quality": "standard"}, {"quality": "medium"}, ()),
        (GPT, {"quality": "hd"}, {"quality": "high"}, ()),
        *[(GPT, {"quality": own}, {"quality": own}, ()) for own in ("low", "medium", "high", "auto")],
        *[(FREE[1:], {"quality": own}, {"quality": own}, ()) for own in ("xhigh", "max")],
        (["dall-e-3"], {"quality": "low"}, {"quality": "standard"}, ()),
        (["dall-e-3"], {"quality": "medium"}, {"quality": "standard"}, ()),
        (["dall-e-3"], {"quality": "high"}, {"quality": "hd"}, ()),
        *[(["dall-e-3"], {"quality": own}, {"quality": own}, ()) for own in ("standard", "hd")],
        *[(FLUX, {"quality": any_}, {"quality": any_}, ()) for any_ in ("hd", "low", "max")],
        # auto
        *[(["dall-e-3"], {name: "auto"}, {}, (name,)) for name in ("size", "quality", "background")],
        *[(GPT, {name: "auto"}, {name: "auto"}, ()) for name in ("size", "quality", "background", "moderation")],
        (["dall-e-3"], {"moderation": "auto"}, {"moderation": "auto"}, ()),
        # style
        *[(GPT, {"style": style}, {}, ("style",)) for style in ("natural", "vivid")],
        *[(["dall-e-3"], {"style": style}, {"style": style}, ()) for style in ("natural", "vivid")],
        # response_format
        (GPT, {"response_format": "b64_json"}, {}, ()),
        *[(["dall-e-3"], {"response_format": form}, {"response_format": form}, ()) for form in ("url", "b64_json")],
        *[(FLUX, {"response_format": form}, {}, ()) for form in ("url", "b64_json")],
        # sizes
        *[(LISTED, {"size": s}, {"size": s}, ()) for s in ("1024x1024", "1024x1536", "1536x1024")],
        *[(["dall-e-3"], {"size": s}, {"size": s}, ()) for s in ("1024x1024", "1792x1024", "1024x1792")],
        *[(FREE, {"size": s}, {"size": s}, ()) for s in ("1024x1024", "1792x1024", "3840x2160", "1024x640")],
        *[(FLUX, {"size": s}, {"size": s}, ()) for s in ("256x256", "auto", "17x23")],
        # n
        (["dall-e-3"], {"n": 1}, {"n": 1}, ()),
        ([*GPT, *FLUX], {"n": 10}, {"n": 10}, ()),
        # what a family is not known to take
        ([*FAMILIES], {"output_format": "webp"}, {"output_format": "webp"}, ()),
        ([*FAMILIES], {"background": "transparent"}, {"background": "transparent"}, ()),
        ([*FAMILIES], {"output_compression": 50}, {"output_compression": 50}, ()),
        ([*FAMILIES], {"user": "u", "moderation": "low"}, {"user": "u", "moderation": "low"}, ()),
        ([*FAMILIES], {"seed": 7, "new": {"a": None}}, {"seed": 7, "new": {"a": None}}, ()),
        (["dall-e-3", *FLUX], {"background": "transparent", "output_format": "jpeg"},
         {"background": "transparent", "output_format": "jpeg"}, ()),
        (GPT, {"background": "transparent", "output_format": "png"},
         {"background": "transparent", "output_format": "png"}, ()),
        (GPT, {"background": "opaque", "output_format": "jpeg"}, {"background": "opaque", "output_format": "jpeg"}, ()),
        # never sent
        ([*FAMILIES], {"model": "gpt-image-2", "fallbacks": ["a", "azure/b"]}, {}, ()),
        # several at once
        (["dall-e-3"], {"size": "auto", "background": "auto", "quality": "high"}, {"quality": "hd"},
         ("background", "size")),
    ),
)  # fmt: skip
def test_what_is_sent(family: str, given: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]) -> None:
    """A documented value becomes the family's own; what it refuses is left out, and that is said."""
    assert expected == sent(family, **given)
    assert dropped == tuple(sorted(map_parameters(asked(**given), FAMILIES[family]).dropped))


@pytest.mark.parametrize("family", [None, *FAMILIES])
def test_prompt_is_sent_as_it_is(family: str | None) -> None:
    """The prompt is never altered."""
    prompt = "  a fox\n“é” \U0001f98a \\ "
    assert prompt == map_parameters(asked(prompt=prompt), FAMILIES.get(family or "")).fields["prompt"]


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("family", "given", "param", "legal"),
    [
        pytest.param(name, given, param, legal, id=f"{name} {str(given)[:40]}")
        for names, given, param, legal in [
            (LISTED, {"size": "256x256"}, "size", "1024x1024, 1024x1536, 1536x1024, auto"),
            (LISTED, {"size": "512x512"}, "size", "1024x1024"),
            (LISTED, {"size": "1792x1024"}, "size", "1024x1024"),
            (LISTED, {"size": "2048x2048"}, "size", "1024x1024"),
            (FREE, {"size": "256x256"}, "size", "multiples of 16"),
            (FREE, {"size": "1025x1024"}, "size", "multiples of 16"),
            (FREE, {"size": "3840x2176"}, "size", "8,294,400"),
            (["dall-e-3"], {"size": "256x256"}, "size", "1024x1024, 1792x1024, 1024x1792"),
            (["dall-e-3"], {"size": "1536x1024"}, "size", "1024x1024"),
            (["dall-e-3"], {"n": 2}, "n", "1"),
            (["dall-e-3"], {"n": 2, "stream": True}, "n", "1"),
            (["dall-e-3"], {"prompt": "p" * 4001}, "prompt", "4,000"),
            (["dall-e-3"], {"quality": "max"}, "quality", "standard, hd"),
            ([*LISTED, "gpt-image-2"], {"quality": "xhigh"}, "quality", "low, medium, high, auto"),
            (GPT, {"background": "transparent", "output_format": "jpeg"}, "background", "png"),
        ]
        for name in names
    ],
)
def test_what_cannot_be_honoured(family: str, given: dict[str, Any], param: str, legal: str) -> None:
    """A value that the family cannot honour is 400, naming the field, the family's legal values and no prompt."""
    with pytest.raises(InvalidRequest) as refusal:
        map_parameters(asked(**given), FAMILIES[family])
    assert (400, param, "invalid_value") == (refusal.value.status, refusal.value.param, refusal.value.code)
    assert legal in refusal.value.message
    assert "ppp" not in refusal.value.message


@pytest.mark.parametrize(("family", "longest"), [("dall-e-3", 4_000), *[(name, 32_000) for name in [*GPT, *FLUX]]])
def test_longest_prompt(family: str, longest: int) -> None:
    """A prompt may have exactly as many characters as the family reads; characters, not bytes."""
    prompt = "\U0001f98a" * longest
    assert prompt == map_parameters(asked(prompt=prompt), FAMILIES[family]).fields["prompt"]


# ------------------------------------------------------------------------------------------------ response_format


@pytest.mark.parametrize("family", GPT)
def test_urls_are_the_gateways_own_to_give(family: str) -> None:
    """A model that gives only base64 is not told that URLs were asked for."""
    fitted = map_parameters(asked(response_format="url"), FAMILIES[family])
    assert "response_format" not in fitted.fields
    assert "url" == fitted.wants


FORMS = [
    (False, None, None),
    (False, "b64_json", "b64_json"),
    (False, "url", "url"),
    (True, None, "b64_json"),
    (True, "b64_json", "b64_json"),
    (True, "url", "b64_json"),
]


@pytest.mark.parametrize(
    ("family", "stream", "form", "wants"),
    [(family, *row) for family in [None, *FAMILIES] for row in FORMS],
)
def test_what_the_gateway_delivers(family: str | None, stream: bool, form: str | None, wants: str | None) -> None:
    """JSON callers get the form that they ask for, or what comes natively; a stream always holds base64."""
    assert wants == map_parameters(asked(stream=stream, response_format=form), FAMILIES.get(family or "")).wants


@pytest.mark.parametrize("form", [None, "url", "b64_json"])
def test_dall_e_is_asked_for_base64_for_a_stream(form: str | None) -> None:
    """For a stream DALL·E 3 is asked for `b64_json` in JSON, whatever `response_format` says."""
    fitted = map_parameters(asked(stream=True, partial_images=3, response_format=form), FAMILIES["dall-e-3"])
    assert {"prompt": "p", "response_format": "b64_json"} == fitted.fields
    assert not fitted.streams


# ------------------------------------------------------------------------------------------------ streams


@pytest.mark.parametrize("partial_images", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("family", GPT)
def test_stream_of_one(family: str, partial_images: int | None) -> None:
    """One picture of a GPT-image model is streamed with at least as many partial images as the caller may see."""
    fitted = map_parameters(asked(stream=True, partial_images=partial_images, quality="low"), FAMILIES[family])
    assert fitted.streams
    assert (True, partial_images or 0) == (fitted.fields["stream"], fitted.fields.get("partial_images", 0))


@pytest.mark.parametrize("partial_images", [None, 0, 3])
@pytest.mark.parametrize(
    ("family", "n"),
    [*[(name, n) for name in GPT for n in (2, 10)], ("dall-e-3", 1), *[(name, n) for name in FLUX for n in (1, 10)]],
)
def test_no_stream_upstream(family: str, n: int, partial_images: int | None) -> None:
    """Where upstream cannot stream it is asked for JSON, without partial images, and that is no reason to refuse."""
    fitted = map_parameters(asked(stream=True, n=n, partial_images=partial_images), FAMILIES[family])
    assert not fitted.streams
    assert set() == {"stream", "partial_images"} & set(fitted.fields)
    assert () == fitted.dropped


@pytest.mark.parametrize("family", FAMILIES)
def test_streaming_is_told_alike(family: str) -> None:
    """Upstream is asked for a stream exactly where the answer is read as one."""
    for fields in ({}, {"stream": True}, {"stream": True, "n": 1}, {"stream": False, "partial_images": 2}):
        fitted = map_parameters(asked(**fields), FAMILIES[family])
        assert (True if fitted.streams else None) == fitted.fields.get("stream")


# ------------------------------------------------------------------------------------------------ no family


@pytest.mark.parametrize(
    "given",
    [
        {"size": "256x256", "n": 10, "style": "vivid", "quality": "hd", "response_format": "url"},
        {"size": "auto", "quality": "auto", "background": "auto"},
        {"background": "transparent", "output_format": "jpeg", "output_compression": 0},
        {"stream": False, "partial_images": 3},
        {"stream": True, "partial_images": 3, "n": 10},
        {"seed": 7, "new": [None]},
        {"prompt": "p" * 32_000},
    ],
    ids=lambda given: str(given)[:40],
)
def test_without_a_family(given: dict[str, Any]) -> None:
    """A deployment without a family is sent what was asked, but for the gateway's own fields."""
    fitted = map_parameters(asked(fallbacks=["a"], **given), None)
    assert {"prompt": "p", **given} == fitted.fields
    assert (bool(given.get("stream")), ()) == (fitted.streams, fitted.dropped)


@pytest.mark.parametrize("form", ["url", "b64_json"])
def test_stream_without_a_family(form: str) -> None:
    """For a stream `response_format` has no effect, and is not sent to a deployment without a family either."""
    assert {"prompt": "p", "stream": True} == map_parameters(asked(stream=True, response_format=form), None).fields


# ------------------------------------------------------------------------------------------------ by property

_ANY = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(1, 10),
        "size": st.sampled_from(["256x256", "1024x1024", "1792x1024", "1536x1024", "auto", "99999x1", "2048x2048"]),
        "quality": st.sampled_from(["standard", "hd", "low", "medium", "high", "auto", "xhigh", "max"]),
        "style": st.sampled_from(["natural", "vivid"]),
        "response_format": st.sampled_from(["url", "b64_json"]),
        "stream": st.booleans(),
        "partial_images": st.integers(0, 3),
        "background": st.sampled_from(["transparent", "opaque", "auto"]),
        "output_format": st.sampled_from(["png", "jpeg", "webp"]),
        "fallbacks": st.just(["a"]),
        "new": st.integers(),
    },
)


@settings(max_examples=300, deadline=None)
@given(_ANY, st.sampled_from([None, *FAMILIES.values()]))
def test_always(fields: dict[str, Any], family: Any) -> None:
    """Whatever is legally asked of whatever family is refused by name, or sent without the fields that it refuses."""
    request = asked(**fields)
    try:
        fitted = map_parameters(request, family)
    except InvalidRequest as refusal:
        assert refusal.param in fields  # noqa: PT017 -- a refusal is one of two good ends
        return
    body = orjson.loads(orjson.dumps(fitted.fields))
    refused = {"model", "fallbacks"} | (set() if family is None else set(family.left_out))
    assert set() == refused & set(body)
    assert fields.get("new") == body.get("new")
    if family is not None and family.name.startswith("gpt"):
        assert "response_format" not in body
    if family is not None and family.qualities is not None:
        assert body.get("quality", family.qualities[0]) in family.qualities
