"""Who is let in, and where: paths, versions, keys, headers, names."""

import time

import pytest

from tests.emulator.asking import PROMPT, VERSION, error

V1 = "/openai/v1/images/generations"
TOKEN = {"authorization": "Bearer emulator-entra-token"}
NOT_FOUND = {"error": {"code": "404", "message": "Resource not found"}}


@pytest.mark.parametrize("version", [None, "", "v1", "preview", "2025-04-01-beta", "25-04-01"])
async def test_the_deployment_path_needs_a_dated_version(azure, version):
    """The deployment path has nothing to offer without an api-version that is a date."""
    answer = await azure.draw(version=version)

    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize("version", ["2025-04-01-preview", "2025-06-01", "2026-12-31-preview"])
async def test_a_date_is_a_version(azure, version):
    """A date is a version, with or without `-preview`."""
    assert (await azure.draw(version=version)).status_code == 200


@pytest.mark.parametrize(
    ("model", "version", "status"),
    [
        ("gpt-image-1", "2024-10-21", 404),
        ("gpt-image-1", "2025-04-01-preview", 200),
        ("gpt-image-2", "2025-03-01-preview", 404),
        ("flux-1.1-pro", "2024-10-21", 404),
        ("dall-e-3", "2024-10-21", 200),
        ("dall-e-3", "2023-12-01-preview", 200),
        ("dall-e-3", "2023-05-15", 404),
    ],
)
async def test_each_family_has_a_least_version(azure, model, version, status):
    """2024-10-21, the last dated GA version, draws with DALL-E 3 and not with GPT-image."""
    answer = await azure.draw(model, version=version, headers={"x-emulator-fault": "bytes-4"})

    assert (status, "OperationNotSupported" if status == 404 else None) == (
        answer.status_code,
        answer.json().get("error", {}).get("code"),
    )


@pytest.mark.parametrize("version", [None, "preview", "latest", "v1"])
async def test_the_v1_path_takes_the_deployment_from_the_body(azure, version):
    """On the v1 path `model` names the deployment, and no version is needed."""
    query = {"api-version": version} if version else {}

    answer = await azure.client.post(V1, params=query, json={"model": "gpt-image-2--mine", "prompt": PROMPT})

    assert answer.status_code == 200
    assert (azure.calls.last.deployment, azure.calls.last.kind) == ("gpt-image-2--mine", "v1")


async def test_the_v1_path_needs_a_model(azure):
    """On the v1 path a body without `model` says nothing about where to go."""
    answer = await azure.client.post(V1, json={"prompt": PROMPT})

    assert (answer.status_code, error(answer)["code"]) == (400, "missing_required_parameter")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/openai/deployments/gpt-image-1/images/generations?api-version={VERSION}"),
        ("POST", f"/openai/deployments/gpt-image-1/images/generations/?api-version={VERSION}"),
        ("POST", f"/openai/deployments/gpt-image-1/chat/completions?api-version={VERSION}"),
        ("POST", "/"),
        ("GET", "/docs"),
        ("GET", "/pictures/none.png"),
    ],
)
async def test_there_is_nothing_elsewhere(azure, method, path):
    """Every other path and method is Azure's own 404."""
    answer = await azure.client.request(method, path)

    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("headers", "auth"),
    [
        ({"api-key": "emulator-key"}, "key"),
        (TOKEN, "bearer"),
        ({"api-key": "emulator-key", "authorization": "Bearer emulator-key"}, "key"),
    ],
)
async def test_a_key_or_a_token_opens(azure, headers, auth):
    """The key in `api-key` opens, an Entra token as Bearer opens; older SDKs send the key as both."""
    del azure.client.headers["api-key"]

    assert (await azure.draw(headers=headers)).status_code == 200
    assert auth == azure.calls.last.auth


async def test_v1_also_takes_the_key_as_bearer(azure):
    """The OpenAI SDK sends the key as Bearer, which only the v1 path takes."""
    del azure.client.headers["api-key"]
    bearer = {"authorization": "Bearer emulator-key"}

    assert (await azure.draw(headers=bearer)).status_code == 401
    answer = await azure.client.post(V1, headers=bearer, json={"model": "gpt-image-1", "prompt": PROMPT})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "auth"),
    [
        ({}, "none"),
        ({"api-key": "other"}, "wrong"),
        ({"api-key": ""}, "none"),
        ({"authorization": "Bearer other"}, "wrong"),
        ({"authorization": "Basic emulator-entra-token"}, "none"),
    ],
)
async def test_anything_else_does_not(azure, headers, auth):
    """Without a good credential it is 401, the one error without `error` around it."""
    del azure.client.headers["api-key"]

    answer = await azure.draw(headers=headers)

    assert (401, {"statusCode", "message"}) == (answer.status_code, set(answer.json()))
    assert (auth, 401) == (azure.calls.last.auth, azure.calls.last.status)


@pytest.mark.parametrize(("custom", "status"), [(10, 200), (11, 431)])
async def test_custom_headers_are_limited(azure, custom, status):
    """Ten custom headers pass, eleven are 431; those of HTTP itself and of tracing do not count."""
    headers = {f"x-custom-{number}": "1" for number in range(custom)} | {"traceparent": "00-1-1-00"}

    assert status == (await azure.draw(headers=headers)).status_code


@pytest.mark.parametrize(
    "name",
    [
        "gpt-image-1",
        "gpt-image-1--mine",
        "GPT-Image-1",
        "fault-slow-0",
        "gpt-image-1--fault-slow-0",
        "flux-1.1-pro",
        "gpt-image-2--fault-slow-0-times-3--label--more",
        "fault-slow-0--" + "x" * 50,
    ],
)
async def test_names_that_are_deployments(azure, name):
    """A name is a model, then perhaps a fault, then perhaps a label."""
    assert (await azure.draw(name)).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5",
        "gpt-image-1-",
        "gpt-image-1--",
        "gpt-image-1--fault-unheard-of",
        "gpt-image-1--fault-slow",
        "fault-slow-0-times-",
        "-gpt-image-1",
        "gpt-image-1--a b",
        "gpt-image-1--" + "x" * 52,
        "--fault-429",
    ],
)
async def test_names_that_are_not(azure, name):
    """Any other name is a deployment that does not exist."""
    answer = await azure.draw(name)

    assert (answer.status_code, error(answer)["code"]) == (404, "DeploymentNotFound")


IDENTITY = {"x-identity-header": "emulator-identity-header"}


@pytest.mark.parametrize("resource", ["https://ai.azure.com", "https://cognitiveservices.azure.com/"])
async def test_the_managed_identity_gets_a_token_that_opens(azure, resource):
    """App Service's endpoint answers a token, good for an hour, that Azure OpenAI takes."""
    query = {"resource": resource, "api-version": "2019-08-01", "client_id": "mine"}

    answer = (await azure.client.get("/identity/token", params=query, headers=IDENTITY)).json()

    assert (resource, "Bearer", "mine") == (answer["resource"], answer["token_type"], answer["client_id"])
    assert 3_590 < int(answer["expires_on"]) - time.time() <= 3_600
    assert [query] == [call.query for call in azure.calls.of_kind("identity")]
    del azure.client.headers["api-key"]
    bearer = {"authorization": f"Bearer {answer['access_token']}"}
    assert (await azure.draw(headers=bearer)).status_code == 200


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ({"resource": "https://ai.azure.com", "api-version": "2019-08-01"}, {}),
        ({"resource": "https://ai.azure.com", "api-version": "2019-08-01"}, {"x-identity-header": "other"}),
        ({"resource": "https://ai.azure.com"}, IDENTITY),
        ({"resource": "https://vault.azure.net", "api-version": "2019-08-01"}, IDENTITY),
        ({"api-version": "2019-08-01"}, IDENTITY),
    ],
)
async def test_the_managed_identity_wants_to_be_asked_properly(azure, query, headers):
    """Without its header, its version or a resource that it knows, there is no token."""
    answer = await azure.client.get("/identity/token", params=query, headers=headers)

    assert (answer.status_code, "access_token" in answer.text) == (400, False)
