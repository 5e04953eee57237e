"""Contract §3, the request body over HTTP. Every value of every field is in tests/domain, every family's way with it
in tests/deployments; here is what a caller sees of them, and what goes upstream.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.domain.fields import ILLEGAL
from tests.house import KEY, PROMPT, house
from tests.http.wire import COMPLETED, QUICK, events, path, refusal, said, sent, trail

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONAL = {field for field, *_ in ILLEGAL} - {"model", "prompt"}
RIGHT: dict[str, Any] = {
    "n": 2,
    "size": "1024x1536",
    "quality": "low",
    "user": "",
    "background": "opaque",
    "moderation": "auto",
    "output_format": "jpeg",
    "output_compression": 0,
}
"""A value of each field that goes upstream as it is where there is no family."""


class TestFields:
    """The fields of contract §3."""

    @pytest.mark.parametrize(
        ("field", "value", "param", "code"),
        {field: pytest.param(field, *rest, id=field) for field, *rest in ILLEGAL}.values(),
    )
    async def test_wrong(self, gateway, field, value, param, code):
        """A value that its field does not take is 400 with the field as `param`, and nothing is asked upstream."""
        response = await gateway.draw(QUICK, **{field: value})
        assert (400, code, param) == said(response)
        assert refusal(response)["message"].startswith(f"{param} ")
        assert (True, 0) == (response.json()["is_bifrost_error"], len(gateway.calls))

    async def test_missing(self, gateway):
        """`prompt` is required."""
        response = await gateway.http.post(path(), headers={"authorization": f"Bearer {KEY}"}, json={"model": "m"})
        assert (400, "missing_required_parameter", "prompt") == said(response)

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

    @pytest.mark.parametrize("field", ["prompt", "user"])
    async def test_is_not_repeated(self, gateway, field):
        """What may be private is not repeated in the message."""
        response = await gateway.draw(QUICK, **{field: "private matter " * 3_000})
        assert "private" not in response.text

    async def test_the_first(self, gateway):
        """Of several fields that are wrong, the first is reported."""
        response = await gateway.draw(QUICK, prompt="", n=0, size="x", stream="true")
        assert said(response)[2] == "prompt"

    async def test_right(self, gateway):
        """Values that their fields take go upstream as they are, where there is no family to know better."""
        response = await gateway.draw(QUICK, **RIGHT)
        assert (200, {"prompt": PROMPT, **RIGHT}) == (response.status_code, sent(gateway))

    @pytest.mark.parametrize("model", ["x" * 128, "azure/gpt-image-1", "日本語"])
    async def test_model_is_a_label(self, gateway, model):
        """`model` may be any text of up to 128 characters; it comes back as a label and never goes upstream."""
        response = await gateway.draw(QUICK, model=model)
        assert (200, model) == (response.status_code, response.json()["extra_fields"]["model_requested"])
        assert sent(gateway) == {"prompt": PROMPT}

    @pytest.mark.parametrize("deployment", ["gpt-image-1", "no-family"])
    async def test_all_null(self, families, deployment):
        """A request whose every optional field is `null`, as SDKs send it for `None`, is one without them."""
        response = await families.draw(deployment, **dict.fromkeys(OPTIONAL))
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

    @pytest.mark.parametrize("deployment", ["gpt-image-1", "dall-e-3", "flux-1.1-pro", "no-family"])
    async def test_what_nobody_here_knows(self, families, deployment):
        """Unknown fields go upstream untouched, and upstream's answer to them comes back as it is."""
        unknown = {
            "field_of_tomorrow": {"deep": [1, 2.5, None, "x", {"y": True}]},
            "numbers": [-(2**63), 2**53 + 1, 2**64 - 1, 0.1, 1e300],
            "nothing": None,
            "größe": "groß",
        }
        response = await families.draw(deployment, **unknown)
        assert {"prompt": PROMPT, **unknown} == sent(families)
        assert [int, int, int, float, float] == [type(number) for number in sent(families)["numbers"]]
        assert (400, False) == (response.status_code, response.json()["is_bifrost_error"])

    @pytest.mark.parametrize(
        ("deployment", "asked", "upstream"),
        [
            ("gpt-image-1", {"quality": "hd", "size": "1024x1536"}, {"quality": "high", "size": "1024x1536"}),
            ("gpt-image-2", {"quality": "standard", "size": "3840x2160"}, {"quality": "medium", "size": "3840x2160"}),
            ("dall-e-3", {"quality": "low", "size": "1792x1024"}, {"quality": "standard", "size": "1792x1024"}),
        ],
    )
    async def test_in_the_familys_words(self, families, deployment, asked, upstream):
        """A documented value is sent as the family calls it."""
        response = await families.draw(deployment, **asked)
        assert (200, {"prompt": PROMPT, **upstream}) == (response.status_code, sent(families))

    @pytest.mark.parametrize(("size", "status"), [("1024x768", 200), ("1000x1000", 400)])
    async def test_that_only_upstream_knows(self, families, size, status):
        """Which sizes FLUX draws is for upstream to say."""
        response = await families.draw("flux-1.1-pro", size=size)
        assert (status, size) == (response.status_code, sent(families)["size"])
        assert response.json().get("is_bifrost_error", False) is False


class TestWhatAFamilyCannotHonour:
    """Only what is certain is refused here."""

    @pytest.mark.parametrize(
        ("family", "fields", "param", "legal"),
        [
            ("dall-e-3", {"n": 2}, "n", "1"),
            ("dall-e-3", {"prompt": "é" * 4_001}, "prompt", "4,000"),
            ("dall-e-3", {"quality": "xhigh"}, "quality", "standard, hd"),
            ("gpt-image-1", {"size": "256x256"}, "size", "1024x1024, 1024x1536, 1536x1024, auto"),
            ("gpt-image-2", {"size": "1000x1000"}, "size", "multiples of 16"),
            ("gpt-image-1", {"background": "transparent", "output_format": "jpeg"}, "background", "png"),
        ],
    )
    async def test_what_is_certain(self, families, family, fields, param, legal):
        """What a family surely refuses is 400 that names what it takes, before anything goes upstream."""
        response = await families.draw(family, **fields)
        assert (400, "invalid_value", param) == said(response)
        assert legal in refusal(response)["message"]
        assert 0 == len(families.calls)

    @pytest.mark.parametrize(("family", "most"), [("dall-e-3", 4_000), ("gpt-image-1", 32_000)])
    async def test_the_longest_prompt(self, families, family, most):
        """Of a prompt's length characters count, not bytes."""
        assert 200 == (await families.draw(family, prompt="é" * most)).status_code

    async def test_ten_pictures(self, families):
        """All that were asked for come in one answer."""
        assert 10 == len((await families.draw("gpt-image-1", n=10)).json()["data"])

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

    @pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])
    async def test_style(self, families, stream):
        """`style` is left out for GPT-image families, and a header says so."""
        response = await families.draw("gpt-image-1", style="vivid", stream=stream)
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
        """A deployment without a family is sent what was asked, and less where it says so; its answer decides."""
        fields = {"quality": "hd", "size": "256x256", "n": 3}
        response = await families.draw("no-family", style="vivid", response_format="b64_json", **fields)
        assert {"prompt": PROMPT, **fields} == families.calls.last.body
        first = next(call.body for call in families.calls if call.body.get("size") == "256x256")
        assert {"prompt": PROMPT, "style": "vivid", "response_format": "b64_json", **fields} == first
        assert 400 == response.status_code


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

    @pytest.mark.parametrize("fields", [{}, {"stream": True}, {"n": 2}], ids=["JSON", "stream", "two"])
    async def test_never_reaches_gpt_image(self, families, fields):
        """`response_format` never reaches a GPT-image model, which would refuse it."""
        response = await families.draw("gpt-image-1", response_format="b64_json", **fields)
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
