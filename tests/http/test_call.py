"""Contract §1, the call: its path, the deployment's name, api-version, body, methods, and the order of checks."""

from __future__ import annotations

import json

import pytest

from tests.house import KEY, PROMPT, house, key_record
from tests.http.wire import QUICK, path, refusal, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEARER = {"authorization": f"Bearer {KEY}"}
MIB = 1 << 20
DEFAULT_VERSION = "2025-04-01-preview"
LEGAL_NAMES = ["a", "0", "A-Z.a_z-09", "GPT-Image", "x--y", "9" * 64]


def padded(size: int) -> bytes:
    """A good body of exactly so many bytes."""
    body = json.dumps({"model": "m", "prompt": PROMPT}).encode()
    return body + b" " * (size - len(body))


class TestDeploymentNames:
    """The name in the path."""

    @pytest.mark.parametrize("name", LEGAL_NAMES, ids=lambda name: name[:12])
    async def test_legal(self, name):
        """A name of 1 to 64 letters, digits, `.`, `_` and `-`, the first a letter or digit, is taken."""
        catalogue = {"deployments": {name: {"targets": [{"deployment": QUICK}]}}}
        async with house(GATEWAY_CATALOGUE=catalogue) as own:
            response = await own.draw(name)
        assert (200, name) == (response.status_code, response.json()["extra_fields"]["deployment"])

    @pytest.mark.parametrize(
        "name",
        ["9" * 65, "-a", ".a", "_a", "a%20b", "%C3%A4", "a%2Fb", "a:b", "a~b", "a%00b", "%25", "a+b", "a%0A", "a;b=c"],
    )
    async def test_illegal(self, gateway, name):
        """Any other name is 404, and nothing is asked upstream."""
        response = await gateway.draw(name)
        assert (404, 0) == (said(response)[0], len(gateway.calls))

    async def test_keeps_its_case(self, gateway):
        """A deployment's name goes upstream letter for letter."""
        name = QUICK.replace("bytes-400", "bytes-400--MiXed.Case_9")
        response = await gateway.draw(name)
        assert (200, [name]) == (response.status_code, [call.deployment for call in gateway.calls])

    @pytest.mark.parametrize("model", ["dall-e-3", "azure/gpt-image-2", "../gpt-image-2", "no such model", "x" * 128])
    async def test_alone_routes(self, gateway, model):
        """A body `model` that differs changes neither where the call goes nor what is checked."""
        response = await gateway.draw("gpt-image-1", model=model, n=2, size="1536x1024")
        assert (200, ["gpt-image-1"]) == (response.status_code, [call.deployment for call in gateway.calls])

    async def test_unknown_to_azure(self, gateway):
        """A name that only Azure can know to be missing is 404 as well."""
        assert (404, "deployment_not_found", None) == said(await gateway.draw("never-deployed"))

    async def test_not_in_the_catalogue(self, families):
        """With a catalogue, a name that is not in it is 404 without asking Azure."""
        response = await families.draw("gpt-image-1--label")
        assert (404, "deployment_not_found", None) == said(response)
        assert len(families.calls) == 0


class TestApiVersion:
    """The query's `api-version`."""

    @pytest.mark.parametrize("version", ["2025-04-01-preview", "2025-04-01", "2026-10-31-preview", "2030-02-28"])
    async def test_dated(self, gateway, version):
        """A date, with or without -preview, goes upstream as it was given."""
        response = await gateway.draw(QUICK, query={"api-version": version})
        assert (200, version) == (response.status_code, gateway.calls.last.api_version)

    @pytest.mark.parametrize("version", ["preview", "latest", "v1", "", None])
    async def test_the_targets_default(self, gateway, version):
        """`preview`, `latest`, `v1`, an empty one and none at all mean the default, always on the deployment path."""
        response = await gateway.draw(QUICK, query=None if version is None else {"api-version": version})
        call = gateway.calls.last
        assert (200, DEFAULT_VERSION, "deployment") == (response.status_code, call.api_version, call.kind)

    async def test_the_operators_default(self):
        """The default is the operator's, where one is set."""
        async with house(AZURE_OPENAI_API_VERSION="2025-09-09") as own:
            await own.draw(QUICK, query={"api-version": "latest"})
            assert own.calls.last.api_version == "2025-09-09"

    @pytest.mark.parametrize("version", ["2026-01-01-preview", "v1", None])
    async def test_a_targets_own(self, version):
        """A target that names its version in the catalogue keeps it, whatever the caller says."""
        target = {"deployment": QUICK, "api_version": "2025-08-08-preview"}
        async with house(GATEWAY_CATALOGUE={"deployments": {"own": {"targets": [target]}}}) as own:
            await own.draw("own", query=None if version is None else {"api-version": version})
            assert own.calls.last.api_version == "2025-08-08-preview"

    async def test_old_versions_are_azures_business(self, gateway):
        """A version that the model does not know is Azure's to refuse, and that is nothing a caller can cure."""
        response = await gateway.draw(QUICK, query={"api-version": "2024-10-21"})
        assert (502, "upstream_error", None) == said(response)

    @pytest.mark.parametrize(
        "version",
        [
            "2025",
            "2025-4-1",
            "2025-13-01",
            "2025-02-30",
            "2025-04-01-beta",
            "2025-04-01-preview ",
            " 2025-04-01",
            "20250401",
            "v2",
            "latest-preview",
            "../v1",
            "2025-04-01&deployment=other",
            "٢٠٢٥-04-01",
            "2025-04-01\n",
        ],
    )
    async def test_anything_else(self, gateway, version):
        """Anything else is 400 for `api-version`, and nothing is asked upstream."""
        response = await gateway.draw(QUICK, query={"api-version": version})
        assert (400, "invalid_value", "api-version") == said(response)
        assert len(gateway.calls) == 0

    async def test_given_twice(self, gateway):
        """The same version twice is one version; two different ones are 400."""
        body = {"model": "m", "prompt": PROMPT}
        query = "?api-version=2025-04-01&api-version="
        same = await gateway.http.post(f"{path()}{query}2025-04-01", headers=BEARER, json=body)
        other = await gateway.http.post(f"{path()}{query}2026-01-01", headers=BEARER, json=body)
        assert (200, 400) == (same.status_code, other.status_code)
        assert refusal(other)["param"] == "api-version"


class TestBody:
    """The body: one JSON object of at most 1 MiB."""

    async def test_of_exactly_one_mebibyte(self, gateway):
        """A body of exactly 1 MiB is taken."""
        response = await gateway.http.post(path(), headers=BEARER, content=padded(MIB))
        assert response.status_code == 200

    @pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 8 * MIB], ids=["one byte more", "2 MiB", "8 MiB"])
    async def test_too_large(self, gateway, size):
        """A larger one is 413, and nothing is asked upstream."""
        response = await gateway.http.post(path(), headers=BEARER, content=padded(size))
        assert (413, "request_too_large", None) == said(response)
        assert len(gateway.calls) == 0

    @pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 413)], ids=["1 MiB", "one byte more"])
    async def test_without_a_length(self, gateway, size, status):
        """The limit also holds for a body that does not say its length beforehand."""

        async def pieces():
            body = padded(size)
            for start in range(0, size, 100_000):
                yield body[start : start + 100_000]

        response = await gateway.http.post(path(), headers=BEARER, content=pieces())
        assert status == response.status_code

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"{",
            b"nope",
            b'{"model": "m", "prompt": "p"',
            b'{"model": "m", "prompt": "p",}',
            b"{'model': 'm', 'prompt': 'p'}",
            b'{"model": "m", "prompt": "\xff"}',
            b'{"model": "m", "prompt": "\\ud800"}',
            b'{"model": "m", "prompt": "p", "n": NaN}',
            b'{"model": "m", "prompt": "p"} {}',
            '{"model": "m", "prompt": "p"}'.encode("utf-16"),
            b"model=m&prompt=p",
        ],
    )
    async def test_not_json(self, gateway, body):
        """What is not JSON is 400, and nothing is asked upstream."""
        response = await gateway.http.post(path(), headers=BEARER, content=body)
        assert (400, None) == said(response)[::2]
        assert len(gateway.calls) == 0

    @pytest.mark.parametrize("body", ["null", "[]", '[{"model": "m", "prompt": "p"}]', '"a red fox"', "1", "true"])
    async def test_not_an_object(self, gateway, body):
        """JSON that is not an object is 400, and nothing is asked upstream."""
        response = await gateway.http.post(path(), headers=BEARER, content=body)
        assert (400, None) == said(response)[::2]
        assert len(gateway.calls) == 0

    @pytest.mark.parametrize("depth", [100, 300, 1000, 5000, 200_000])
    async def test_nested_deeply(self, gateway, depth):
        """A body that is nested as no request is, is Azure's or the caller's mistake, never a fault of the gateway."""
        nested = f'{{"model": "m", "prompt": "p", "new": {"[" * depth}{"]" * depth}}}'
        response = await gateway.http.post(path(), headers=BEARER, content=nested)
        assert said(response)[0] == 400

    @pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
    async def test_whatever_its_content_type(self, gateway, content_type):
        """A body is read as JSON whatever its content type says, as curl's `-d` sends it."""
        headers = {**BEARER, "content-type": content_type}
        response = await gateway.http.post(path(), headers=headers, content=padded(100))
        assert response.status_code == 200


class TestMethodsAndPaths:
    """Everything that is not the call."""

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def test_other_methods(self, gateway, method):
        """Another method on the path is 405 and told which one is allowed."""
        response = await gateway.http.request(method, path(), headers=BEARER)
        assert (405, "POST") == (response.status_code, response.headers["allow"])
        assert said(response)[2] is None

    async def test_head(self, gateway):
        """HEAD is 405 with `Allow` too, and as ever without a body."""
        response = await gateway.http.head(path(), headers=BEARER)
        assert (405, "POST", b"") == (response.status_code, response.headers["allow"], response.content)

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    @pytest.mark.parametrize(
        "unknown",
        [
            "/",
            "/docs",
            "/redoc",
            "/docs/oauth2-redirect",
            "/favicon.ico",
            "/openai",
            "/v1/images/generation",
            f"/v1/deployments/{QUICK}/images/generations",
            f"/openai//openai/deployments/{QUICK}/images/generations",
            f"/openai/openai/deployments/{QUICK}/images/edits",
            f"/openai/openai/deployments/{QUICK}/images/generations/more",
            f"/openai/openai/deployments/{QUICK}/images",
            "/openai/openai/deployments//images/generations",
            "/openai/openai/deployments/images/generations",
        ],
    )
    async def test_unknown_paths(self, gateway, unknown, method):
        """Every other path is 404 with the error body, whatever the method, `/docs` and the like included."""
        response = await gateway.http.request(method, unknown, headers=BEARER)
        assert said(response)[0] == 404

    async def test_unknown_paths_by_head(self, gateway):
        """HEAD of an unknown path is 404 without a body."""
        response = await gateway.http.head("/docs")
        assert (404, b"") == (response.status_code, response.content)

    @pytest.mark.parametrize(
        "spelt",
        [
            f"/OpenAI/OpenAI/Deployments/{QUICK}/Images/Generations",
            f"/OPENAI/OPENAI/DEPLOYMENTS/{QUICK}/IMAGES/GENERATIONS",
            f"{path()}/",
        ],
    )
    async def test_spelling(self, gateway, spelt):
        """As everywhere under the Functions host, neither case nor a last slash matters in the path's fixed parts."""
        response = await gateway.http.post(spelt, headers=BEARER, json={"model": "m", "prompt": PROMPT})
        assert (200, QUICK) == (response.status_code, gateway.calls.last.deployment)


BAD_FIELD = {"model": "m", "prompt": PROMPT, "n": 0, "fallbacks": ["forbidden"]}
GOOD = {"model": "m", "prompt": PROMPT}
ORDER = {
    # everything that is wrong: (with a key, deployment, body) -> the first of it
    "credential before body": (False, "forbidden", b"nope", (401, "missing_credentials", None)),
    "credential before size": (False, "forbidden", b" " * (MIB + 1), (401, "missing_credentials", None)),
    "credential before deployment": (False, "ghost", GOOD, (401, "missing_credentials", None)),
    "body before fields and permission": (True, "forbidden", [BAD_FIELD], (400, "invalid_json", None)),
    "size before permission": (True, "forbidden", padded(MIB + 1), (413, "request_too_large", None)),
    "fields before permission": (True, "forbidden", BAD_FIELD, (400, "invalid_value", "n")),
    "permission before existence": (True, "forbidden-ghost", GOOD, (403, "deployment_not_allowed", None)),
    "a fallback's permission before the path's existence": (
        True,
        "ghost",
        {**GOOD, "fallbacks": ["ghost", "azure/forbidden"]},
        (403, "deployment_not_allowed", "fallbacks[1]"),
    ),
    "permission before family": (
        True,
        "forbidden",
        {**GOOD, "size": "256x256"},
        (403, "deployment_not_allowed", None),
    ),
    "the path's existence before a fallback's": (
        True,
        "ghost",
        {**GOOD, "fallbacks": ["ghost"]},
        (404, "deployment_not_found", None),
    ),
    "a fallback's existence before family": (
        True,
        "gpt-image-1",
        {**GOOD, "size": "256x256", "fallbacks": ["gpt-image-1", "ghost"]},
        (400, "deployment_not_found", "fallbacks[1]"),
    ),
    "family before upstream": (True, "gpt-image-1", {**GOOD, "size": "256x256"}, (400, "invalid_value", "size")),
    "upstream at last": (True, "refusing", GOOD, (400, "content_policy_violation", None)),
}


class TestOrderOfChecks:
    """Credential, body, fields, permission, existence, family, upstream."""

    @pytest.mark.parametrize(("has_key", "deployment", "body", "expected"), ORDER.values(), ids=ORDER)
    async def test_the_first_counts(self, has_key, deployment, body, expected):
        """A request that is wrong in several ways is answered for the first of them, before anything goes upstream."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        catalogue = {
            "gpt-image-1": {},
            "forbidden": {"family": "gpt-image-1", "targets": [{"deployment": QUICK}]},
            "refusing": {"targets": [{"deployment": "fault-content-policy"}]},
        }
        key = key_record(deployments=["gpt-image-1", "ghost", "refusing"])
        async with house(GATEWAY_CATALOGUE={"deployments": catalogue}, GATEWAY_VIRTUAL_KEYS=[key]) as own:
            response = await own.http.post(path(deployment), headers=BEARER if has_key else {}, content=content)
            assert expected == said(response)
            assert (1 if deployment == "refusing" else 0) == len(own.calls)
