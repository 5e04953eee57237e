"""`GET /openapi.json`: valid, complete, true to the models, and the admin API keeps to it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from core.admin.forms import KeyChanges, NewKey, Rotation
from core.admin.usage import KeyUsage, UsagePage
from core.admin.views import KeyPage, NewSecret, OneKey
from core.domain.request import ImageRequest
from core.routes import ROUTES
from tests.house import ROOT
from tests.http.governing import PATH, governed, own_path, token
from tests.http.wire import QUICK, events, refusal, said
from tools.openapi.__main__ import build
from tools.openapi.answers import (
    CompletedEvent,
    ErrorBody,
    ErrorEvent,
    Health,
    ImagesAnswer,
    JobView,
    Model,
    ModelPage,
    PartialImageEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = {
    model.__name__: model
    for model in (
        *(ImageRequest, NewKey, KeyChanges, Rotation),
        *(ImagesAnswer, PartialImageEvent, CompletedEvent, ErrorEvent, ErrorBody, JobView, Model, ModelPage, Health),
        *(KeyPage, OneKey, NewSecret, UsagePage, KeyUsage),
    )
}
METHODS = {"get", "put", "post", "delete"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator():
    """An operator of a gateway."""
    async with governed() as own:
        yield own


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def described(operator):
    """The description, as anybody gets it."""
    return (await operator.house.http.get("/openapi.json")).json()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation with its path and method."""
    for path, item in described["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method]


def examples(value: Any) -> Iterator[tuple[str, Any]]:
    """Every example beside the name of the model that it is one of."""
    if isinstance(value, list):
        for each in value:
            yield from examples(each)
    elif isinstance(value, dict):
        if "example" in value and "$ref" in value.get("schema", {}):
            yield value["schema"]["$ref"].rpartition("/")[2], value["example"]
        for each in value.values():
            yield from examples(each)


# ------------------------------------------------------------------------------------------------ the description


async def test_anybody_gets_it(operator):
    """It needs no credential, and is there also where the settings are wrong."""
    async with governed(GATEWAY_VIRTUAL_KEYS="nope") as wrong:
        answers = [await each.house.http.get("/openapi.json") for each in (operator, wrong)]
    assert [200, 200] == [answer.status_code for answer in answers]
    assert answers[0].content == answers[1].content
    assert "application/json" == answers[0].headers["content-type"]


async def test_it_is_valid(described):
    """It is OpenAPI 3.1."""
    assert [] == list(OpenAPIV31SpecValidator(described).iter_errors())


async def test_whoever_has_it_gets_no_other(operator):
    """It has an ETag, and whoever sends that gets 304 without a body."""
    first = await operator.house.http.get("/openapi.json")
    for known in (first.headers["etag"], f"W/{first.headers['etag']}", f'"x", {first.headers["etag"]}'):
        second = await operator.house.http.get("/openapi.json", headers={"if-none-match": known})
        assert (304, b"", first.headers["etag"]) == (second.status_code, second.content, second.headers["etag"])
    other = await operator.house.http.get("/openapi.json", headers={"if-none-match": '"x"'})
    assert 200 == other.status_code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_it_is_only_read(operator, method):
    """Other methods are 405."""
    response = await operator.house.http.request(method, "/openapi.json")
    assert (405, "GET, HEAD") == (said(response)[0], response.headers["allow"])


async def test_it_is_fresh(operator):
    """The file that is served is what the code makes; `make openapi` renews it."""
    assert build() == (await operator.house.http.get("/openapi.json")).content


async def test_every_route_is_in_it(described):
    """It has every path of the route table with its methods, and no other."""
    for route in ROUTES:
        methods = {method.upper() for method in METHODS & described["paths"][route.templates[0]].keys()}
        assert methods == set(route.methods) - {"HEAD"}
    assert len(ROUTES) == len(described["paths"])


async def test_the_version(described):
    """It is the version of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == described["info"]["version"]


async def test_every_status(described):
    """Every operation that needs a credential says what every status means that it can answer."""
    for path, method, operation in operations(described):
        if operation.get("security") != []:
            assert {"401", "403", "500", "503"} <= operation["responses"].keys(), f"{method} {path}"
        for status, answer in operation["responses"].items():
            assert answer["description"]
            assert "x-request-id" in answer["headers"]
            if status >= "400":
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")


async def test_every_example(described):
    """Every example is one of its model."""
    found = list(examples(described["paths"]))
    assert len(found) > 30
    for name, example in found:
        TypeAdapter(MODELS[name]).validate_json(json.dumps(example))


async def test_every_field_of_a_request(described):
    """The schema of a request for pictures has every field of the model, each with words."""
    schema = described["components"]["schemas"]["ImageRequest"]
    assert ImageRequest.model_fields.keys() == schema["properties"].keys()
    assert all(field["description"] for field in schema["properties"].values())
    assert (["prompt"], True) == (schema["required"], schema["additionalProperties"])


async def test_no_pattern_of_another_language(described):
    """Patterns are those of JSON Schema: no anchors of another language's expressions."""
    assert [] == re.findall(r"\\\\[AzZ]", json.dumps(described))


# ------------------------------------------------------------------------------------------------ the answers


async def test_a_picture(operator):
    """An answer with pictures, and each event of a stream, is what the description says."""
    whole = await operator.house.draw(QUICK, n=2)
    ImagesAnswer.model_validate_json(whole.content)
    stream = await operator.house.draw("gpt-image-1", stream=True, partial_images=1)
    models = {"image_generation.partial_image": PartialImageEvent, "image_generation.completed": CompletedEvent}
    found = events(stream)
    assert models.keys() == {name for name, _ in found}
    for name, data in found:
        models[name].model_validate(data)


async def test_a_job(operator):
    """A job that is ordered, looked at until it has ended, and too late to be cancelled, is what is described."""
    ordered = await operator.house.draw(QUICK, headers={"prefer": "respond-async"})
    assert 202 == ordered.status_code
    path = ordered.headers["location"]
    cancelled = await operator.ask("DELETE", path)
    for answer in (ordered, await operator.ask("GET", path)):
        JobView.model_validate_json(answer.content)
    (JobView if cancelled.status_code == 200 else ErrorBody).model_validate_json(cancelled.content)


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"key": None}, 401),
        ({"deployment": "-"}, 404),
        ({"n": 11}, 400),
        ({"deployment": "gpt-image-1--fault-500"}, 502),
        ({"deployment": "gpt-image-1--fault-429"}, 429),
    ],
    ids=str,
)
async def test_an_error(operator, described, how, status):
    """An error of any kind is what the description says."""
    response = await operator.house.draw(**how)
    refusal(response)
    ErrorBody.model_validate_json(response.content)
    assert status == response.status_code
    (operation,) = [each for *_, each in operations(described) if each["operationId"] == "generateImage"]
    assert str(status) in operation["responses"]


# ------------------------------------------------------------------------------------------------ the admin API


async def test_links_lead_on(operator, described):
    """What a new key's answer links to is an operation that takes what is handed on."""
    ids = {operation["operationId"] for _, _, operation in operations(described)}
    made = described["paths"][PATH]["post"]["responses"]["201"]
    assert {"show", "change", "rotate", "usage", "delete"} == made["links"].keys()
    assert {link["operationId"] for link in made["links"].values()} <= ids
    record = (await operator.make())["virtual_key"]
    assert 200 == (await operator.ask("GET", own_path(record))).status_code


@pytest.mark.slow
async def test_schemathesis(operator, tmp_path):
    """Schemathesis, which makes requests of the description, good and bad and in sequence, finds nothing."""
    async with asyncio.timeout(120):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", f"{operator.house.url}/openapi.json", "--include-path-regex", "^/api/governance"),
            *("-H", f"Authorization: Bearer {token()}"),
            *("--phases", "examples,coverage,stateful", "--max-examples", "20"),
            *("--seed", "1", "--generation-deterministic"),
            *("--no-color", "--suppress-health-check", "all"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert 0 == process.returncode, said.decode()
    tested = re.search(r"Tested: (\d+)", said.decode())
    assert tested is not None
    assert 8 == int(tested[1])
