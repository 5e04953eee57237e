"""Contract §3, the request body: its fields, and what each family of models is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.house import KEY, PROMPT, house
from tests.http.wire import COMPLETED, GPT_IMAGES, QUICK, events, refusal, said, sent, trail

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZES = ["256x256", "512x512", "1024x1024", "1792x1024", "1024x1792", "1536x1024", "1024x1536", "auto"]
GPT_SIZES = ["1024x1024", "1024x1536", "1536x1024", "auto"]
QUALITIES = ["standard", "hd", "low", "medium", "high", "auto"]
NOT_TEXT: list[Any] = [1, 1.5, True, [], ["x"], {}, {"x": 1}]
NOT_WHOLE: list[Any] = ["2", "", 1.5, 2.0, True, [], {}]
NOT_TRUE: list[Any] = ["true", "false", "", 0, 1, [], {}]

WRONG: dict[str, list[Any]] = {
    # field: values that it does not take
    "model": ["", "x" * 129, None, *NOT_TEXT],
    "prompt": ["", " ", " \t\r\n ", "x" * 32_001, None, *NOT_TEXT],
    "n": [0, 11, -1, 10**30, *NOT_WHOLE],
    "size": [
        "",
        "1024",
        "1024X1024",
        "1024x",
        "x1024",
        "0x0",
        "-1x1",
        "1024x1024 ",
        "1024\u00d71024",
        "big",
        *NOT_TEXT,
    ],
    "quality": ["", "High", "best", "ultra", *NOT_TEXT],
    "style": ["", "Natural", "painterly", *NOT_TEXT],
    "response_format": ["", "URL", "png", "base64", *NOT_TEXT],
    "user": ["x" * 257, *NOT_TEXT],
    "stream": NOT_TRUE,
    "fallbacks": ["gpt-image-1", {}, 1, True, ["a"] * 6],
    "background": ["", "white", *NOT_TEXT],
    "moderation": ["", "high", "none", *NOT_TEXT],
    "output_format": ["", "PNG", "gif", "jpg", *NOT_TEXT],
    "output_compression": [-1, 101, *NOT_WHOLE],
    "partial_images": [-1, 4, *NOT_WHOLE],
}
WRONG_NAMES = ["", "-a", "a b", "x" * 65, "openai/gpt-image-1", "azure/", "azure/azure/a", "AZURE/a", "a/b", "../a"]

RIGHT: dict[str, list[Any]] = {
    # field: values that it takes, and that go upstream as they are where there is no family
    "prompt": ["x", "x" * 32_000, "ein Fuchs im Schnee 🦊", 'quote " and \\ and \x01'],
    "n": [1, 2, 10],
    "size": ["1024x1024", "1536x1024", "1024x1536", "auto"],
    "quality": ["low", "medium", "high", "auto"],
    "user": ["", "x" * 256],
    "background": ["transparent", "opaque", "auto"],
    "moderation": ["low", "auto"],
    "output_format": ["png", "jpeg"],
    "output_compression": [0, 100],
}


def rows(table: dict[str, list[Any]]) -> list[Any]:
    """A row for each value, named for what it shows."""
    return [
        pytest.param(field, value, id=f"{field}={str(value)[:16]!r}")
        for field, values in table.items()
        for value in values
    ]


class TestFields:
    """The table of fields."""

    @pytest.mark.parametrize(("field", "value"), rows(WRONG))
    async def test_wrong(self, gateway, field, value):
        """A value that its field does not take is 400 with the field as `param`, and nothing is asked upstream."""
        response = await gateway.draw(QUICK, **{field: value})
        assert (400, field) == said(response)[::2]
        assert refusal(response)["message"].startswith(f"{field} ")
        assert (True, 0) == (response.json()["is_bifrost_error"], len(gateway.calls))

    @pytest.mark.parametrize("field", ["model", "prompt"])
    async def test_missing(self, gateway, field):
        """`model` and `prompt` are required."""
        body = {"model": "m", "prompt": PROMPT}
        del body[field]
        response = await gateway.http.post(
            f"/openai/openai/deployments/{QUICK}/images/generations",
            headers={"authorization": f"Bearer {KEY}"},
            json=body,
        )
        assert (400, "missing_required_parameter", field) == said(response)

    async def test_said_in_full(self, gateway):
        """The message names the field, the legal values and the value that was given."""
        response = await gateway.draw(QUICK, n=11)
        assert refusal(response) == {
            "type": "invalid_request_error",
            "code": "invalid_value",
            "message": "n must be between 1 and 10, got 11",
            "param": "n",
            "event_id": response.headers["x-request-id"],
        }

    @pytest.mark.parametrize(
        ("field", "legal"),
        [
            ("quality", QUALITIES),
            ("style", ["natural", "vivid"]),
            ("response_format", ["url", "b64_json"]),
            ("size", SIZES),
        ],
    )
    async def test_names_the_legal_values(self, gateway, field, legal):
        """A refused choice names every legal one."""
        message = refusal(await gateway.draw(QUICK, **{field: "neither"}))["message"]
        assert [] == [value for value in legal if value not in message]

    @pytest.mark.parametrize("field", ["prompt", "user"])
    async def test_is_not_repeated(self, gateway, field):
        """What may be private is not repeated in the message."""
        response = await gateway.draw(QUICK, **{field: "private matter " * 3_000})
        assert "private" not in response.text

    async def test_the_first(self, gateway):
        """Of several fields that are wrong, the first is reported."""
        response = await gateway.draw(QUICK, prompt="", n=0, size="x", stream="true")
        assert said(response)[2] == "prompt"

    @pytest.mark.parametrize("name", [*WRONG_NAMES, 1, None, ["a"]])
    @pytest.mark.parametrize("place", [0, 1, 4])
    async def test_wrong_fallbacks(self, gateway, name, place):
        """A fallback that is no deployment's name is 400, and `param` says which one it is."""
        names = ["a", "b", "c", "d", "e"]
        names[place] = name
        response = await gateway.draw(QUICK, fallbacks=names)
        assert (400, f"fallbacks[{place}]") == said(response)[::2]
        assert len(gateway.calls) == 0

    @pytest.mark.parametrize(("field", "value"), rows(RIGHT))
    async def test_right(self, gateway, field, value):
        """A value that its field takes goes upstream as it is, where there is no family to know better."""
        response = await gateway.draw(QUICK, **{field: value})
        assert (200, {"prompt": PROMPT, field: value}) == (response.status_code, sent(gateway))

    @pytest.mark.parametrize("model", ["m", "x" * 128, "azure/gpt-image-1", "日本語"])
    async def test_model_is_a_label(self, gateway, model):
        """`model` may be any text of up to 128 characters; it comes back as a label and never goes upstream."""
        response = await gateway.draw(QUICK, model=model)
        assert (200, model) == (response.status_code, response.json()["extra_fields"]["model_requested"])
        assert sent(gateway) == {"prompt": PROMPT}

    @pytest.mark.parametrize("field", [field for field in WRONG if field not in {"model", "prompt"}])
    async def test_null(self, gateway, field):
        """`null` in an optional field means absent: it is neither refused nor sent."""
        response = await gateway.draw(QUICK, **{field: None})
        assert (200, {"prompt": PROMPT}) == (response.status_code, gateway.calls.last.body)

    async def test_all_null(self, families):
        """A request whose every optional field is `null`, as SDKs send it for `None`, is one without them."""
        fields = {field: None for field in WRONG if field not in {"model", "prompt"}}
        response = await families.draw("gpt-image-1", **fields)
        assert (200, {"prompt": PROMPT}) == (response.status_code, sent(families))
        assert "x-gateway-dropped-params" not in response.headers

    async def test_defaults(self, families):
        """Without the optional fields, one picture comes as JSON, in what the model natively gives."""
        answer = (await families.draw("gpt-image-1")).json()
        assert [{"b64_json", "index"}] == [set(item) for item in answer["data"]]

    @pytest.mark.parametrize("deployment", ["gpt-image-1", "dall-e-3", "flux-1.1-pro", "no-family"])
    async def test_the_gateways_own_fields(self, families, deployment):
        """`model` and `fallbacks` never go upstream."""
        await families.draw(deployment, fallbacks=["gpt-image-2"])
        assert sent(families) == {"prompt": PROMPT}


UNKNOWN: dict[str, Any] = {
    "field_of_tomorrow": {"deep": [1, 2.5, None, "x", {"y": True}]},
    "seed": 2**53,
    "n_": 1,
    "": "",
    "model_config": {"extra": "forbid"},
    "model_fields": 1,
    "fields": [1],
    "images": 7,
    "streams": True,
    "partials": 3,
    "__class__": "x",
    "cls": 1,
    "größe": "groß",
}


class TestUnknownFields:
    """What nobody here knows."""

    @pytest.mark.parametrize(("field", "value"), UNKNOWN.items(), ids=[name or "(empty)" for name in UNKNOWN])
    @pytest.mark.parametrize("deployment", ["gpt-image-1", "dall-e-3", "flux-1.1-pro", "no-family"])
    async def test_reach_upstream(self, families, deployment, field, value):
        """An unknown field goes upstream untouched, and upstream's answer to it comes back as it is."""
        response = await families.draw(deployment, **{field: value})
        assert {"prompt": PROMPT, field: value} == sent(families)
        assert (400, False) == (response.status_code, response.json()["is_bifrost_error"])

    async def test_null(self, gateway):
        """`null` in an unknown field is not ours to leave out."""
        await gateway.draw(QUICK, tomorrow=None)
        assert {"prompt": PROMPT, "tomorrow": None} == sent(gateway)

    @pytest.mark.parametrize("number", [-(2**63), 2**53 + 1, 2**64 - 1, 0.1, 1e300])
    async def test_numbers(self, gateway, number):
        """A number in an unknown field arrives as the number it was."""
        await gateway.draw(QUICK, seed=number)
        assert (number, type(number)) == (sent(gateway)["seed"], type(sent(gateway)["seed"]))


class TestQuality:
    """The documented qualities, as each family calls them."""

    @pytest.mark.parametrize("family", GPT_IMAGES)
    @pytest.mark.parametrize(
        ("asked", "upstream"),
        [
            ("standard", "medium"),
            ("hd", "high"),
            ("low", "low"),
            ("medium", "medium"),
            ("high", "high"),
            ("auto", "auto"),
        ],
    )
    async def test_of_gpt_image(self, families, family, asked, upstream):
        """GPT-image families are sent medium for standard and high for hd, and their own values as they are."""
        response = await families.draw(family, quality=asked)
        assert (200, {"prompt": PROMPT, "quality": upstream}) == (response.status_code, sent(families))

    @pytest.mark.parametrize(
        ("asked", "upstream"),
        [
            ("standard", {"quality": "standard"}),
            ("hd", {"quality": "hd"}),
            ("low", {"quality": "standard"}),
            ("medium", {"quality": "standard"}),
            ("high", {"quality": "hd"}),
            ("auto", {}),
        ],
    )
    async def test_of_dall_e_3(self, families, asked, upstream):
        """DALL·E 3 is sent standard for low and medium, hd for high, and nothing for auto."""
        response = await families.draw("dall-e-3", quality=asked)
        assert (200, {"prompt": PROMPT, **upstream}) == (response.status_code, sent(families))

    @pytest.mark.parametrize("quality", ["xhigh", "max"])
    async def test_more_of_them(self, families, quality):
        """What one family adds is taken for it, and 400 with the legal values for another."""
        taken = [(await families.draw(name, quality=quality)).status_code for name in GPT_IMAGES if "2.5" in name]
        refused = [await families.draw(name, quality=quality) for name in ["gpt-image-1", "gpt-image-2", "dall-e-3"]]
        assert [200, 200] == taken
        assert [(400, "invalid_value", "quality")] * 3 == [said(response) for response in refused]
        assert "low, medium, high" in refusal(refused[0])["message"]


class TestSize:
    """The sizes that a family can draw."""

    @pytest.mark.parametrize("family", ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5"])
    @pytest.mark.parametrize("size", [*SIZES, "1008x1008"])
    async def test_of_gpt_image_1(self, families, family, size):
        """The first GPT-image families draw three sizes and auto; another is 400 and names them."""
        response = await families.draw(family, size=size)
        if size in GPT_SIZES:
            assert (200, {"prompt": PROMPT, "size": size}) == (response.status_code, sent(families))
        else:
            assert (400, "invalid_value", "size") == said(response)
            assert [] == [legal for legal in GPT_SIZES if legal not in refusal(response)["message"]]
            assert len(families.calls) == 0

    @pytest.mark.parametrize("family", ["gpt-image-2", "gpt-image-2.5-flare", "gpt-image-2.5-sunburst"])
    @pytest.mark.parametrize(
        ("size", "status"),
        [
            ("auto", 200),
            ("1024x1024", 200),
            ("1792x1024", 200),
            ("3840x2160", 200),
            ("2160x3840", 200),
            ("1440x480", 200),
            ("256x256", 400),
            ("512x512", 400),
            ("1000x1000", 400),
            ("1024x1030", 400),
            ("3856x2160", 400),
            ("3840x1264", 400),
            ("3840x2176", 400),
            ("99999x99999", 400),
        ],
    )
    async def test_of_gpt_image_2(self, families, family, size, status):
        """The later ones draw any WxH in multiples of 16 within their bounds; another is 400 and names the bounds."""
        response = await families.draw(family, size=size)
        assert status == response.status_code
        if status == 400:
            assert (400, "invalid_value", "size") == said(response)
            assert [] == [word for word in ("16", "3840", "3:1") if word not in refusal(response)["message"]]
            assert len(families.calls) == 0

    @pytest.mark.parametrize("size", [*SIZES, "1008x1008"])
    async def test_of_dall_e_3(self, families, size):
        """DALL·E 3 draws three sizes; auto is left out for it."""
        response = await families.draw("dall-e-3", size=size)
        if size == "auto":
            assert (200, {"prompt": PROMPT}) == (response.status_code, sent(families))
        elif size in {"1024x1024", "1792x1024", "1024x1792"}:
            assert (200, {"prompt": PROMPT, "size": size}) == (response.status_code, sent(families))
        else:
            assert (400, "invalid_value", "size") == said(response)

    @pytest.mark.parametrize(("size", "status"), [("1024x768", 200), ("1000x1000", 400)])
    async def test_that_only_upstream_knows(self, families, size, status):
        """Which sizes FLUX draws is for upstream to say."""
        response = await families.draw("flux-1.1-pro", size=size)
        assert (status, size) == (response.status_code, sent(families)["size"])
        assert response.json().get("is_bifrost_error", False) is False


class TestWhatAFamilyCannotHonour:
    """Only what is certain is refused here."""

    @pytest.mark.parametrize(("family", "most"), [("dall-e-3", 1), ("gpt-image-1", 10), ("gpt-image-2", 10)])
    async def test_n(self, families, family, most):
        """More pictures than a family draws at once are 400 that names how many it does."""
        assert len((await families.draw(family, n=most)).json()["data"]) == most
        if most < 10:
            response = await families.draw(family, n=most + 1)
            assert (400, "invalid_value", "n") == said(response)
            assert str(most) in refusal(response)["message"]

    @pytest.mark.parametrize(
        ("family", "most"), [("dall-e-3", 4_000), ("gpt-image-1", 32_000), ("flux-1.1-pro", 32_000)]
    )
    async def test_prompt(self, families, family, most):
        """A prompt beyond the family's limit is 400 that names the limit; characters count, not bytes."""
        assert (await families.draw(family, prompt="é" * most)).status_code == 200
        families.calls.clear()
        response = await families.draw(family, prompt="é" * (most + 1))
        assert (400, "prompt", 0) == (*said(response)[::2], len(families.calls))
        assert f"{most:,}" in refusal(response)["message"]

    @pytest.mark.parametrize("family", GPT_IMAGES)
    async def test_transparent_jpeg(self, families, family):
        """A transparent background in a jpeg is 400, before anything goes upstream."""
        response = await families.draw(family, background="transparent", output_format="jpeg")
        assert (400, 0) == (response.status_code, len(families.calls))
        assert said(response)[2] in {"background", "output_format"}

    @pytest.mark.parametrize(
        ("family", "fields"),
        [
            ("gpt-image-1", {"output_format": "webp"}),
            ("gpt-image-2", {"background": "transparent"}),
            ("dall-e-3", {"output_format": "png"}),
            ("dall-e-3", {"moderation": "low"}),
            ("flux-1.1-pro", {"quality": "hd"}),
            ("flux-1.1-pro", {"style": "vivid"}),
        ],
    )
    async def test_what_is_not_certain(self, families, family, fields):
        """webp, and parameters that a family is not known to take, go upstream, whose answer decides."""
        response = await families.draw(family, **fields)
        assert {"prompt": PROMPT, **fields} == sent(families)
        assert (400, False) == (response.status_code, response.json()["is_bifrost_error"])

    async def test_transparent(self, families):
        """A transparent png goes to the families that draw one."""
        assert (await families.draw("gpt-image-1", background="transparent", output_format="png")).status_code == 200


class TestLeftOut:
    """What a family is not sent, and how the caller learns of it."""

    @pytest.mark.parametrize("family", GPT_IMAGES)
    @pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])
    async def test_style(self, families, family, stream):
        """`style` is left out for GPT-image families, and a header says so."""
        response = await families.draw(family, style="vivid", stream=stream)
        assert (200, "style") == (response.status_code, response.headers["x-gateway-dropped-params"])
        assert sent(families) == {"prompt": PROMPT}

    async def test_style_of_dall_e_3(self, families):
        """`style` is DALL·E 3's own."""
        response = await families.draw("dall-e-3", style="natural")
        assert sent(families) == {"prompt": PROMPT, "style": "natural"}
        assert "x-gateway-dropped-params" not in response.headers

    async def test_auto(self, families):
        """`auto` is left out for DALL·E 3, and a header names each field."""
        response = await families.draw("dall-e-3", size="auto", quality="auto", background="auto")
        assert (200, {"prompt": PROMPT}) == (response.status_code, sent(families))
        assert {"size", "quality", "background"} == set(response.headers["x-gateway-dropped-params"].split(", "))

    async def test_in_a_refusal(self):
        """The header also stands on an error that upstream gave."""
        catalogue = {
            "deployments": {"x": {"family": "gpt-image-1", "targets": [{"deployment": "fault-content-policy"}]}}
        }
        async with house(GATEWAY_CATALOGUE=catalogue) as own:
            response = await own.draw("x", style="vivid")
            assert (400, "style") == (response.status_code, response.headers["x-gateway-dropped-params"])

    async def test_without_a_family(self, families):
        """A deployment without a family is sent what was asked; upstream's answer decides."""
        fields = {"style": "vivid", "quality": "hd", "size": "256x256", "response_format": "b64_json", "n": 3}
        response = await families.draw("no-family", **fields)
        assert {"prompt": PROMPT, **fields} == families.calls.last.body
        assert (400, "unknown_parameter", "style") == said(response)


class TestPartialImages:
    """An upper bound, never a reason to refuse."""

    @pytest.mark.parametrize(
        ("deployment", "fields"),
        [
            ("gpt-image-1", {"stream": False}),
            ("gpt-image-1", {"n": 2}),
            ("dall-e-3", {}),
            ("flux-1.1-pro", {}),
        ],
        ids=["no stream", "two pictures", "DALL·E", "FLUX"],
    )
    async def test_where_there_can_be_none(self, families, deployment, fields):
        """Without a stream, for several pictures and for other models there are none, and no refusal."""
        fields = {"stream": True, **fields}
        response = await families.draw(deployment, partial_images=3, **fields)
        assert response.status_code == 200
        if fields["stream"]:
            assert {COMPLETED} == {name for name, _ in events(response)}
        if deployment != "gpt-image-1" or "n" in fields:
            assert not {"partial_images", "stream"} & families.calls.last.body.keys()


class TestResponseFormat:
    """The gateway itself delivers what was asked."""

    @pytest.mark.parametrize("family", GPT_IMAGES)
    @pytest.mark.parametrize("fields", [{}, {"stream": True}, {"n": 2}], ids=["JSON", "stream", "two"])
    async def test_never_reaches_gpt_image(self, families, family, fields):
        """`response_format` never reaches a GPT-image model, which would refuse it."""
        response = await families.draw(family, response_format="b64_json", **fields)
        assert response.status_code == 200
        assert "response_format" not in families.calls.last.body

    @pytest.mark.parametrize(
        ("asked", "upstream", "given"),
        [
            (None, {}, "url"),
            ("url", {"response_format": "url"}, "url"),
            ("b64_json", {"response_format": "b64_json"}, "b64_json"),
        ],
    )
    async def test_of_dall_e_3(self, families, asked, upstream, given):
        """DALL·E 3 is told what was asked, and gives `url` where nothing was."""
        answer = (await families.draw("dall-e-3", response_format=asked)).json()
        assert {"prompt": PROMPT, **upstream} == sent(families)
        assert {given} == {"url", "b64_json"} & answer["data"][0].keys()

    @pytest.mark.parametrize("deployment", ["flux-1.1-pro", "flux.1-kontext-pro"])
    async def test_of_flux(self, families, deployment):
        """FLUX gives `url`, which is passed on; for `b64_json` the gateway fetches the picture itself."""
        url = (await families.draw(deployment, n=2)).json()["data"]
        asked = (await families.draw(deployment, n=2, response_format="url")).json()["data"]
        fetched = (await families.draw(deployment, n=2, response_format="b64_json")).json()["data"]
        native = (await families.draw("gpt-image-1")).json()["data"][0]["b64_json"]
        assert [{"url", "index"}] * 4 == [set(item) for item in (*url, *asked)]
        assert [{"b64_json": native, "index": index} for index in range(2)] == fetched
        assert "response_format" not in {name for call in families.calls for name in call.body}

    async def test_a_url_can_be_fetched(self, families):
        """A `url` can be fetched without a key."""
        url = (await families.draw("dall-e-3")).json()["data"][0]["url"]
        assert (await families.http.get(url)).status_code == 200

    async def test_without_a_family(self, families):
        """Without a family it goes upstream as it was asked."""
        answer = (await families.draw("no-family-dall-e", response_format="b64_json")).json()
        assert families.calls.last.body == {"prompt": PROMPT, "response_format": "b64_json"}
        assert "b64_json" in answer["data"][0]


class TestFallbacks:
    """Deployments that are tried when the primary fails."""

    @pytest.mark.parametrize("prefix", ["", "azure/"])
    async def test_in_order(self, gateway, prefix):
        """The fallbacks are tried in order, each named with or without `azure/`, until one draws."""
        fallbacks = [f"{prefix}fault-429--second", f"{prefix}{QUICK}--third", f"{prefix}{QUICK}--fourth"]
        name = f"fault-429--first{len(prefix)}"
        fallbacks[0] += str(len(prefix))
        answer = (await gateway.draw(name, fallbacks=fallbacks)).json()
        asked = [name, *(each.removeprefix(prefix) for each in fallbacks[:2])]
        assert asked == [call.deployment for call in gateway.calls]
        assert [(asked[0], "throttled", 429), (asked[1], "throttled", 429), (asked[2], "picture", 200)] == trail(answer)
        assert (asked[2], 2) == (answer["extra_fields"]["deployment"], answer["extra_fields"]["fallback_index"])

    async def test_not_needed(self, gateway):
        """A fallback is not asked where the primary draws."""
        answer = (await gateway.draw(QUICK, fallbacks=[f"{QUICK}--other"])).json()
        assert ([QUICK], 0) == ([call.deployment for call in gateway.calls], answer["extra_fields"]["fallback_index"])

    async def test_at_most_five(self, gateway):
        """Five fallbacks are taken."""
        names = [f"fault-403--five-{number}" for number in range(5)]
        response = await gateway.draw("fault-403--five", fallbacks=names)
        assert (502, 6) == (response.status_code, len(gateway.calls))

    async def test_unknown(self, families):
        """A fallback that does not exist is 400, and nothing is asked upstream."""
        response = await families.draw("gpt-image-1", fallbacks=["gpt-image-2", "azure/ghost"])
        assert (400, "deployment_not_found", "fallbacks[1]") == said(response)
        assert len(families.calls) == 0

    @pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])
    async def test_that_cannot_honour_the_request(self, stream):
        """A fallback whose family cannot honour the request is passed over, and the trail says why."""
        catalogue = {
            "broken": {"family": "gpt-image-1", "targets": [{"deployment": "fault-403"}]},
            "dall-e-3": {},
            "gpt-image-2": {"targets": [{"deployment": "gpt-image-2--fault-bytes-400"}]},
        }
        async with house(GATEWAY_CATALOGUE={"deployments": catalogue}) as own:
            response = await own.draw("broken", size="1536x1024", stream=stream, fallbacks=["dall-e-3", "gpt-image-2"])
            answer = events(response)[-1][1] if stream else response.json()
            assert trail(answer) == [
                ("broken", "unauthorized", 403),
                ("dall-e-3", "passed_over", None),
                ("gpt-image-2", "picture", 200),
            ]
            assert "size" in answer["extra_fields"]["attempts"][1]["reason"]
            assert "2" == response.headers["x-gateway-fallback-index"]
            assert ["fault-403", "gpt-image-2--fault-bytes-400"] == [call.deployment for call in own.calls]

    async def test_all_passed_over(self):
        """Where no fallback can honour the request, the error's trail says so."""
        catalogue = {"broken": {"family": "gpt-image-1", "targets": [{"deployment": "fault-403"}]}, "dall-e-3": {}}
        async with house(GATEWAY_CATALOGUE={"deployments": catalogue}) as own:
            response = await own.draw("broken", n=2, fallbacks=["dall-e-3"])
            assert (502, "upstream_auth_failed", None) == said(response)
            assert [("broken", "unauthorized", 403), ("dall-e-3", "passed_over", None)] == trail(response.json())

    async def test_each_in_its_own_words(self):
        """A fallback of another family is sent the request in that family's words."""
        catalogue = {"broken": {"family": "gpt-image-1", "targets": [{"deployment": "fault-403"}]}, "dall-e-3": {}}
        async with house(GATEWAY_CATALOGUE={"deployments": catalogue}) as own:
            response = await own.draw("broken", quality="high", style="natural", fallbacks=["dall-e-3"])
            assert response.status_code == 200
            assert sent(own) == {"prompt": PROMPT, "quality": "hd", "style": "natural"}
            assert "x-gateway-dropped-params" not in response.headers
