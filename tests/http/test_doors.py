"""Contract §1, the doors: every path on which clients ask for pictures and models leads into the same walk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.routes import ROUTES, find_route
from tests.house import KEY, PROMPT, House, house, key_record
from tests.http.wire import QUICK, refusal, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEARER = {"authorization": f"Bearer {KEY}"}
IN_THE_PATH = [
    "/openai/openai/deployments/{deployment}/images/generations",
    "/openai/deployments/{deployment}/images/generations",
]
IN_THE_BODY = [
    "/openai/v1/images/generations",
    "/openai/openai/v1/images/generations",
    "/v1/images/generations",
    "/openai/images/generations",
    "/openai/openai/images/generations",
]
PREFIXES = ["/openai/openai", "/openai", "/openai/openai/v1", "/openai/v1", "/v1"]
EVERY_DOOR = pytest.mark.parametrize("door", [*IN_THE_PATH, *IN_THE_BODY])
BY_MODEL = pytest.mark.parametrize("door", IN_THE_BODY)
EVERY_PREFIX = pytest.mark.parametrize("prefix", PREFIXES)


async def ask(own: House, door: str, deployment: str, **body: Any) -> Any:
    """Ask for a picture by a door, which names the deployment in its own way."""
    named = {} if "{deployment}" in door else {"model": deployment}
    return await own.http.post(
        door.replace("{deployment}", deployment), headers=BEARER, json={"prompt": PROMPT, **named, **body}
    )


class TestPictures:
    """`POST` of each door."""

    @EVERY_DOOR
    @pytest.mark.parametrize("query", ["", "?api-version=2025-04-01-preview", "?api-version=preview"])
    async def test_draws(self, gateway, door, query):
        """The deployment that is named is the one that is called, and an answer says so."""
        response = await ask(gateway, f"{door}{query}", QUICK)
        extra = response.json()["extra_fields"]
        assert (200, [QUICK]) == (response.status_code, [call.deployment for call in gateway.calls])
        assert (QUICK, QUICK) == (extra["model_requested"], extra["deployment"])

    @EVERY_DOOR
    async def test_the_same_checks(self, door, caplog):
        """What the key may not call is 403, what is not there 404; `param` says where it was named. The log has it."""
        caplog.set_level("INFO", logger="gateway.calls")
        param = None if "{deployment}" in door else "model"
        key = key_record(deployments=["ghost", "listed"])
        catalogue = {"deployments": {"listed": {"targets": [{"deployment": QUICK}]}, "forbidden": {}}}
        async with house(GATEWAY_CATALOGUE=catalogue, GATEWAY_VIRTUAL_KEYS=[key]) as own:
            answers = [await ask(own, door, name) for name in ("forbidden", "ghost", "listed")]
            assert [(403, "deployment_not_allowed", param), (404, "deployment_not_found", param)] == [
                said(answer) for answer in answers[:2]
            ]
            assert (200, [QUICK]) == (answers[2].status_code, [call.deployment for call in own.calls])
        logged = [
            json.loads(record.message)["deployment"] for record in caplog.records if record.name == "gateway.calls"
        ]
        assert ["forbidden", "ghost", "listed"] == logged

    @BY_MODEL
    @pytest.mark.parametrize("model", [None, "", "-a", "azure/gpt-image-1", "a" * 65, "../x", 7])
    async def test_model_is_a_deployments_name(self, gateway, door, model):
        """Where the body names the deployment, `model` has the form of such a name, and nothing else is called."""
        response = await gateway.http.post(door, headers=BEARER, json={"prompt": PROMPT, "model": model})
        assert (400, "model", 0) == (response.status_code, said(response)[2], len(gateway.calls))

    @BY_MODEL
    async def test_model_is_required(self, gateway, door):
        """It may not be left out there."""
        response = await gateway.http.post(door, headers=BEARER, json={"prompt": PROMPT})
        assert (400, "missing_required_parameter", "model") == said(response)

    @EVERY_DOOR
    async def test_other_methods(self, gateway, door):
        """Other methods are 405."""
        response = await gateway.http.get(door.replace("{deployment}", QUICK))
        assert (405, "POST") == (response.status_code, response.headers["allow"])

    @BY_MODEL
    async def test_a_job(self, gateway, door):
        """A job is for the deployment that the body names, and needs no `model` of its own where the path names it."""
        jobs = [
            await gateway.http.post(
                each, headers={**BEARER, "prefer": "respond-async"}, json={"prompt": PROMPT, **body}
            )
            for each, body in ((door, {"model": QUICK}), (IN_THE_PATH[0].replace("{deployment}", QUICK), {}))
        ]
        assert [(202, QUICK)] * 2 == [(job.status_code, job.json()["deployment"]) for job in jobs]

    async def test_the_table(self):
        """These are all doors that there are."""
        generating = [route for route in ROUTES if route.name.startswith("generate_image")]
        assert {*IN_THE_PATH, *IN_THE_BODY} == {template for route in generating for template in route.templates}


class TestWhatIsRequested:
    """`extra_fields.model_requested` of an error says what is known of the request."""

    @pytest.mark.parametrize(
        ("headers", "body", "model", "kind"),
        [
            ({}, {"model": "m"}, QUICK, "image_generation"),
            (BEARER, {"n": 0}, QUICK, "image_generation"),
            (BEARER, {"model": "m", "n": 0}, "m", "image_generation"),
            (BEARER, {"model": "m", "n": 0, "stream": True}, "m", "image_generation_stream"),
            (BEARER, {"model": 7}, QUICK, "image_generation"),
        ],
    )
    async def test_filled_early(self, gateway, headers, body, model, kind):
        """It is the path's deployment until the body has told its `model`, valid or not."""
        door = IN_THE_PATH[0].replace("{deployment}", QUICK)
        response = await gateway.http.post(door, headers=headers, json={"prompt": PROMPT, **body})
        extra = response.json()["extra_fields"]
        assert refusal(response)
        assert (model, kind) == (extra["model_requested"], extra["request_type"])


class TestModels:
    """`GET` of the model lists."""

    @EVERY_PREFIX
    async def test_those_of_the_caller(self, prefix):
        """The list has the deployments of the catalogue that the key may call, each of which can be shown."""
        key = key_record(deployments=["a", "b", "gone"])
        catalogue = {"deployments": {name: {} for name in ("c", "b", "a")}}
        async with house(GATEWAY_CATALOGUE=catalogue, GATEWAY_VIRTUAL_KEYS=[key]) as own:
            listed = await own.http.get(f"{prefix}/models?api-version=2025-04-01", headers=BEARER)
            by_deployment = await own.http.get(f"{prefix}/deployments/a/models", headers=BEARER)
            shown = await own.http.get(f"{prefix}/models/a", headers=BEARER)
            others = [
                await own.http.get(f"{prefix}/{path}", headers=BEARER)
                for path in ("models/c", "models/gone", "models/-", "deployments/c/models", "deployments/gone/models")
            ]
            stranger = await own.http.get(f"{prefix}/models")
        model = {"id": "a", "object": "model", "created": 0, "owned_by": "azure"}
        expected = {"object": "list", "data": [{**model, "id": "b"}, model]}
        assert [expected, expected, model] == [each.json() for each in (listed, by_deployment, shown)]
        assert [(404, "deployment_not_found", None)] * 5 == [said(other) for other in others]
        assert 1 == len({refusal(other)["message"] for other in others})
        assert (401, "missing_credentials", None) == said(stranger)
        assert "list_models" == stranger.json()["extra_fields"]["request_type"]

    async def test_without_a_catalogue(self, gateway):
        """Without a catalogue it has the names of the known families; any other may be called as well."""
        names = [each["id"] for each in (await gateway.http.get("/v1/models", headers=BEARER)).json()["data"]]
        assert {"gpt-image-2", "dall-e-3"} <= set(names)
        assert 200 == (await gateway.http.get("/v1/models/anything", headers=BEARER)).status_code

    async def test_only_read(self, gateway):
        """They are only read."""
        response = await gateway.http.post("/v1/models", headers=BEARER, json={})
        assert (405, "GET, HEAD") == (response.status_code, response.headers["allow"])


class TestUnknownPaths:
    """A 404 that helps."""

    @pytest.mark.parametrize(
        ("asked", "meant"),
        [
            (f"/openai/openai/deployments/{QUICK}/images/generation", IN_THE_PATH[0].replace("{deployment}", QUICK)),
            (f"/openai//deployments/{QUICK}/images/generations", IN_THE_PATH[1].replace("{deployment}", QUICK)),
            ("/v1/image/generations", "/v1/images/generations"),
            ("/openai/v1/v1/images/generations", "/openai/v1/images/generations"),
            ("/v1/model", "/v1/models"),
            ("/openapi.yaml", "/openapi.json"),
        ],
    )
    async def test_which_was_meant(self, gateway, asked, meant):
        """The message says which path was asked and which was probably meant."""
        response = await gateway.http.post(f"{gateway.url}{asked}", headers=BEARER, json={})
        assert (404, "not_found", None) == said(response)
        assert f"There is nothing at {asked}; did you mean {meant}?" == refusal(response)["message"]

    async def test_empty_segments(self):
        """A path that begins with two slashes, which the Functions host answers itself, is none of the table."""
        assert find_route(f"/{IN_THE_PATH[0]}") is None
        assert find_route("/openai/openai/deployments//images/generations") is None

    @pytest.mark.parametrize("asked", ["/%00%0a%e2%80%a8", "/" + "x" * 20_000, "/" + "a/" * 5_000])
    async def test_is_short(self, gateway, asked):
        """Whatever was asked, the message is one short line."""
        message = refusal(await gateway.http.get(asked))["message"]
        assert len(message) < 300
        assert message.isprintable()
