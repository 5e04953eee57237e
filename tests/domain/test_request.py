"""What the caller asks for, field by field (contract §1 and §3)."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.errors import InvalidRequest
from core.domain.request import (
    DEPLOYMENT_NAME,
    ImageRequest,
    parse_api_version,
    parse_request,
)
from tests.domain.fields import ILLEGAL, LEGAL, MISSING, TYPE, VALUE

SECRET = "the-unspoken-prompt"


def asked(**fields: Any) -> ImageRequest:
    """Read a request with these fields; `model` and `prompt` are filled in."""
    return parse_request(json.dumps({"model": "m", "prompt": "p", **fields}).encode(), "d")


def refused(**fields: Any) -> InvalidRequest:
    """The refusal of a request with these fields."""
    with pytest.raises(InvalidRequest) as refusal:
        asked(**fields)
    return refusal.value


def _id(value: object) -> str:
    text = ascii(value)
    return text if len(text) < 30 else f"{text[:12]} and so on, {len(text)}"


@pytest.mark.parametrize(("field", "value"), LEGAL, ids=_id)
def test_legal(field: str, value: object) -> None:
    """A value within the table of contract §3 is taken as it is."""
    assert value == asked(**{field: value}).fields[field]


@pytest.mark.parametrize(("field", "value", "param", "code"), ILLEGAL, ids=_id)
def test_illegal(field: str, value: object, param: str, code: str) -> None:
    """A value outside the table is refused with the place, the legal values and a code, and on one short line."""
    refusal = refused(**{field: value})
    assert (400, param, code) == (refusal.status, refusal.param, refusal.code)
    assert refusal.message.startswith(f"{param} must be ")
    assert refusal.message.isprintable()
    assert len(refusal.message) < 300


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n", 11, "n must be between 1 and 10, got 11"),
        ("n", "2", "n must be an integer between 1 and 10, got '2'"),
        ("stream", "true", "stream must be true or false, got 'true'"),
        ("style", None, None),
        ("style", "x", "style must be one of natural, vivid, got 'x'"),
        ("response_format", "x", "response_format must be one of url, b64_json, got 'x'"),
        ("model", "m" * 129, "model must be a string of 1 to 128 characters, got a string of 129 characters"),
        ("fallbacks", ["a"] * 6, "fallbacks must be an array of at most 5 deployment names, got an array of 6"),
        ("output_compression", 101, "output_compression must be between 0 and 100, got 101"),
        ("partial_images", {"a": SECRET}, "partial_images must be an integer between 0 and 3, got an object"),
    ],
    ids=_id,
)
def test_messages(field: str, value: object, message: str | None) -> None:
    """A refusal says what is legal and, in short, what was got."""
    if message is None:
        assert field not in asked(**{field: value}).fields
    else:
        assert message == refused(**{field: value}).message


OPTIONAL = sorted({field for field, _ in LEGAL} - {"model", "prompt"})


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_means_absent(field: str) -> None:
    """`null` in an optional field is the same as leaving it out."""
    assert asked().fields == asked(**{field: None}).fields


def test_required() -> None:
    """A required field that is not there is named; null is no value for it."""
    with pytest.raises(InvalidRequest) as refusal:
        parse_request(b'{"model":"m"}', "d")
    assert ("prompt", MISSING) == (refusal.value.param, refusal.value.code)
    assert ("prompt", TYPE) == (refused(prompt=None).param, refused(prompt=None).code)


@pytest.mark.parametrize("body", [b'{"prompt":"p"}', b'{"prompt":"p","model":null}'])
def test_model_is_the_deployment_of_the_path(body: bytes) -> None:
    """Where the path names the deployment `model` may be left out, and is then that name."""
    assert "d" == parse_request(body, "d").model


@pytest.mark.parametrize(
    ("model", "code"),
    [(None, TYPE), (1, TYPE), ("", VALUE), ("-a", VALUE), ("azure/a", VALUE), ("a" * 65, VALUE), ("é", VALUE)],
)
def test_model_that_names_the_deployment(model: object, code: str) -> None:
    """Where the path names none it is required, and has the form of a deployment's name."""
    assert "a.b-c_9" == parse_request(b'{"prompt":"p","model":"a.b-c_9"}', None).model
    with pytest.raises(InvalidRequest) as missing:
        parse_request(b'{"prompt":"p"}', None)
    with pytest.raises(InvalidRequest) as wrong:
        parse_request(json.dumps({"prompt": "p", "model": model}).encode(), None)
    assert ("model", MISSING) == (missing.value.param, missing.value.code)
    assert ("model", code) == (wrong.value.param, wrong.value.code)


def test_every_wrong_field_is_found() -> None:
    """Of several wrong fields one is named, and once it is mended the next one is."""
    body: dict[str, Any] = {"n": 0, "style": "x", "stream": 1}
    named = []
    while body:
        param = refused(**body).param
        assert param is not None
        named.append(param)
        del body[param]
    assert {"n", "style", "stream"} == set(named)


def test_defaults() -> None:
    """With nothing asked: one picture, no stream, no partial images, no fallbacks."""
    request = asked()
    assert (1, False, 0, []) == (request.images, request.streams, request.partials, request.fallback_names)
    assert {"model": "m", "prompt": "p"} == request.fields


def test_partials_need_a_stream() -> None:
    """Partial images are wanted only where there is a stream to show them in."""
    assert [0, 2] == [asked(stream=stream, partial_images=2).partials for stream in (False, True)]


def test_fallback_names() -> None:
    """The provider's prefix is taken off the fallbacks, once, and their order kept."""
    assert ["b", "azure", "a"] == asked(fallbacks=["azure/b", "azure", "a"]).fallback_names


UNKNOWN = {
    "seed": 7,
    "new_parameter": {"deep": [1, None, "é"]},
    "nothing": None,
    # Names that mean something to the class that holds the request, or to its maker:
    "fields": 1,
    "images": 99,
    "streams": True,
    "partials": 99,
    "fallback_names": ["b"],
    "model_extra": 1,
    "model_config": {},
    "model_fields_set": [],
    "self": 1,
    "__class__": "x",
    "__dict__": {},
    "": 0,
}


@pytest.mark.parametrize("name", UNKNOWN, ids=_id)
def test_unknown_fields_are_kept(name: str) -> None:
    """A field that nobody here knows is kept as it is, and changes nothing else."""
    request = asked(**{name: UNKNOWN[name]})
    assert {"model": "m", "prompt": "p", name: UNKNOWN[name]} == request.fields
    assert (1, False, 0, []) == (request.images, request.streams, request.partials, request.fallback_names)


@pytest.mark.parametrize("depth", [100, 250, 300, 1000])
def test_deep_unknown_fields(depth: int) -> None:
    """An unknown field, however deep, can be sent upstream, or is refused as the caller's own mistake."""
    body = b'{"model":"m","prompt":"p","x":' + b"[" * depth + b"]" * depth + b"}"
    try:
        request = parse_request(body, "d")
    except InvalidRequest:
        return
    assert json.loads(body) == json.loads(orjson.dumps(request.fields))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"true",
        b"{",
        b"{}}",
        b"{'model':'m'}",
        b'{"model":"m",}',
        b'\xef\xbb\xbf\xef\xbb\xbf{"model":"m","prompt":"p"}',
        b'{"model":"m","prompt":"\xff"}',
        b'{"model":"m","prompt":"\\ud800"}',
        b'{"model":"m","prompt":"a\x00b"}',
        b'{"model":"m","prompt":"p","n":NaN}',
        b'{"model":"m","prompt":"p","n":1e400}',
        b"model=m&prompt=p",
        b"[" * 100_000,
    ],
    ids=_id,
)
def test_not_a_json_object(body: bytes) -> None:
    """A body that is not one JSON object is 400 `invalid_json`, and no field is to blame."""
    with pytest.raises(InvalidRequest) as refusal:
        parse_request(body, "d")
    assert (400, "invalid_json", None) == (refusal.value.status, refusal.value.code, refusal.value.param)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "prompt": [SECRET]},
        {"model": "m", "prompt": SECRET * 2000},
        {"model": "m", "prompt": {SECRET: 1}},
        {"model": "m", "prompt": SECRET, "user": SECRET * 20},
        {"model": "m", "prompt": SECRET, "user": [SECRET]},
        {"model": "m", "prompt": SECRET, "n": 11},
        {"model": "", "prompt": SECRET, "user": SECRET},
        {"model": "m", "prompt": SECRET, "n": [SECRET]},
        {"model": "m", "prompt": SECRET, "style": {SECRET: SECRET}},
    ],
    ids=_id,
)
def test_prompt_and_user_are_not_repeated(body: dict[str, Any]) -> None:
    """No refusal, nor what Python says of it, repeats anything of the prompt or the user."""
    with pytest.raises(InvalidRequest) as refusal:
        parse_request(json.dumps(body).encode(), "d")
    assert SECRET not in repr(refusal.value) + refusal.value.message
    assert refusal.value.__suppress_context__


def test_broken_json_is_not_repeated() -> None:
    """Broken JSON is refused with the place of the fault, and nothing of the text."""
    with pytest.raises(InvalidRequest) as refusal:
        parse_request(b'{"prompt":\n "' + SECRET.encode() + b'" "x"}', "d")
    assert "The request body is not valid JSON (line 2, column 24)" == refusal.value.message


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("a", True),
        ("A9", True),
        ("a" * 64, True),
        ("gpt-image-1.5_x", True),
        ("", False),
        ("a" * 65, False),
        (".a", False),
        ("_a", False),
        ("a\n", False),
        ("a/b", False),
        ("é", False),
        ("\u0661", False),
        ("a%2e", False),
    ],
    ids=_id,
)
def test_deployment_names(name: str, legal: bool) -> None:
    """A deployment's name is 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit."""
    assert legal is (DEPLOYMENT_NAME.fullmatch(name) is not None)


# ------------------------------------------------------------------------------------------------ api-version


@pytest.mark.parametrize(
    ("values", "version"),
    [
        ([], None),
        ([""], None),
        (["preview"], None),
        (["latest"], None),
        (["v1"], None),
        (["2025-04-01-preview"], "2025-04-01-preview"),
        (["2024-10-21"], "2024-10-21"),
        (["2024-02-29"], "2024-02-29"),
        (["2024-10-21", "2024-10-21"], "2024-10-21"),
    ],
    ids=_id,
)
def test_api_version(values: list[str], version: str | None) -> None:
    """A dated version goes upstream as given; `preview`, `latest`, `v1` and none mean the target's default."""
    assert version == parse_api_version(values)


@pytest.mark.parametrize(
    "values",
    [
        ["v2"],
        ["2025-02-29"],
        ["2025-13-01"],
        ["0000-01-01"],
        ["2025-4-1"],
        ["20250401"],
        ["2025-W14-2"],
        ["2025-04-01-PREVIEW"],
        ["2025-04-01-beta"],
        ["2025-04-01\n"],
        [" 2025-04-01"],
        ["2025-04-01-preview&x=1"],
        ["2025-04-01/../x"],
        ["\u0662\u0660\u0662\u0665-\u0660\u0664-\u0660\u0661"],
        ["2025-04-01", "2024-10-21"],
        ["", "2024-10-21"],
        ["x" * 10_000],
    ],
    ids=_id,
)
def test_illegal_api_version(values: list[str]) -> None:
    """Anything else, and two that differ, is 400 with the parameter's name, on one short line."""
    with pytest.raises(InvalidRequest) as refusal:
        parse_api_version(values)
    assert (400, "api-version") == (refusal.value.status, refusal.value.param)
    assert len(refusal.value.message) < 250
    assert refusal.value.message.isprintable()


# ------------------------------------------------------------------------------------------------ by property

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.dictionaries(st.sampled_from([*OPTIONAL, "model", "prompt"]) | st.text(max_size=5), _JSON, max_size=5)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=50)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | _FIELDS.map(lambda fields: json.dumps({"model": "m", "prompt": "p", **fields}).encode())
)
def test_any_body(body: bytes) -> None:
    """Any body is a request or a refusal, never another exception, and a request can be sent on."""
    try:
        request = parse_request(body, "d")
    except InvalidRequest as refusal:
        assert refusal.message.isprintable()  # noqa: PT017 -- a refusal is one of two good ends
        return
    assert set(request.fields) <= {"model", *json.loads(body)}
    assert orjson.loads(orjson.dumps(request.fields)) == request.fields
