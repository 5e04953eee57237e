"""Contract §1, other people's pages: which may call from a browser, and what they may read."""

from __future__ import annotations

import pytest
import pytest_asyncio

from core.domain.settings_error import SettingsError
from core.settings.settings import read_settings
from tests.house import KEY, PROMPT, environment, house
from tests.http.wire import QUICK, path, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE, OTHER = "https://app.example", "https://other.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
BODY = {"prompt": PROMPT}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listed():
    """A gateway that one page may call, and another on this machine."""
    async with house(GATEWAY_CORS_ORIGINS=f"{PAGE}, http://localhost:3000", GATEWAY_MAX_RETRIES="0") as own:
        yield own


def cors(response) -> dict[str, str]:
    """The headers that a browser looks at."""
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


class TestPreflight:
    """A browser asks whether a page may call."""

    @pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
    @pytest.mark.parametrize(
        ("where", "methods"), [(path(), "POST"), ("/v1/models", "GET, HEAD"), ("/jobs/x", "GET, HEAD, DELETE")]
    )
    async def test_may(self, listed, origin, where, methods):
        """It is told so before authentication, with the methods of the path and the headers that it asked for."""
        response = await listed.http.options(where, headers={"origin": origin, **PREFLIGHT})
        assert (204, b"") == (response.status_code, response.content)
        assert cors(response) == {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": methods,
            "access-control-allow-headers": "authorization,content-type",
            "access-control-expose-headers": cors(response)["access-control-expose-headers"],
            "access-control-max-age": "7200",
        }
        assert "origin" in response.headers["vary"]

    @pytest.mark.parametrize("origin", [OTHER, "null", f"{PAGE}.evil.example", f"{PAGE}:8443", PAGE.upper()])
    async def test_may_not(self, listed, origin):
        """Pages of other origins are not let in: 405, and no header that opens anything."""
        response = await listed.http.options(path(), headers={"origin": origin, **PREFLIGHT})
        assert (405, {}) == (said(response)[0], cors(response))

    async def test_header_names_only(self, listed):
        """What is no list of header names is not repeated."""
        headers = {**PREFLIGHT, "access-control-request-headers": "x\ty"}
        response = await listed.http.options(path(), headers={"origin": PAGE, **headers})
        assert "access-control-allow-headers" not in response.headers

    async def test_off(self, gateway):
        """Where nothing is set, no page may call."""
        response = await gateway.http.options(path(), headers={"origin": PAGE, **PREFLIGHT})
        assert (405, {}) == (said(response)[0], cors(response))

    async def test_no_preflight(self, listed):
        """OPTIONS that asks for no method is none."""
        response = await listed.http.options(path(), headers={"origin": PAGE})
        assert (405, "POST") == (response.status_code, response.headers["allow"])


class TestAnswers:
    """What a page may read."""

    @pytest.mark.parametrize("stream", [False, True], ids=["JSON", "stream"])
    async def test_a_picture(self, listed, stream):
        """An answer, and each of its headers that the gateway gives."""
        response = await listed.draw(QUICK, headers={"origin": PAGE}, stream=stream)
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert (200, PAGE) == (response.status_code, response.headers["access-control-allow-origin"])
        assert {"x-request-id", "x-gateway-deployment", "x-gateway-attempts", "apim-request-id"} <= set(exposed)
        assert "origin" in response.headers["vary"]

    async def test_errors(self, listed):
        """Errors of any kind, before and after authentication, with how long to wait."""
        origin = {"origin": PAGE}
        answers = [
            await listed.http.post(path(), headers=origin, json=BODY),
            await listed.http.get("/nowhere", headers=origin),
            await listed.http.get(path(), headers=origin),
            await listed.draw("fault-429--cors", headers=origin),
        ]
        assert [401, 404, 405, 429] == [answer.status_code for answer in answers]
        assert [PAGE] * 4 == [answer.headers["access-control-allow-origin"] for answer in answers]
        assert "retry-after" in answers[-1].headers["access-control-expose-headers"].split(", ")

    @pytest.mark.parametrize("headers", [{}, {"origin": OTHER}])
    async def test_nobody_else(self, listed, headers):
        """Others are answered as ever, and a cache is told that it depends on who asks."""
        response = await listed.draw(QUICK, headers=headers)
        assert (200, {}, "origin") == (response.status_code, cors(response), response.headers["vary"])

    async def test_every_page(self):
        """`*` is every origin."""
        async with house(GATEWAY_CORS_ORIGINS="*") as own:
            response = await own.draw(QUICK, headers={"origin": OTHER, "authorization": f"Bearer {KEY}"})
            assert (200, "*") == (response.status_code, response.headers["access-control-allow-origin"])
            assert "vary" not in response.headers


@pytest.mark.parametrize(
    "text", ["app.example", "https://app.example/", "https://a.example https://*.b.example", "ftp://a.example", "null"]
)
async def test_the_setting(text):
    """What is no origin as browsers write it is a setting that is wrong."""
    with pytest.raises(SettingsError, match="GATEWAY_CORS_ORIGINS"):
        read_settings(environment("https://azure.example", GATEWAY_CORS_ORIGINS=text))
