"""What Azure OpenAI really says, from public reports: small answers that went wrong once, through the whole gateway."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from core.settings.catalogue_json import DEFAULT_API_VERSION
from core.settings.settings import read_settings
from tests.house import House, events_of, house, key_record
from tests.http.wire import refusal, trail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR4nGNwaDiAFTEMLQkAYvNgAXSglMMAAAAASUVORK5CYII="
USER_ERROR = {
    "type": "image_generation_user_error",
    "code": "invalid_value",
    "param": "background",
    "message": "Transparent background is not supported for this model.",
}
RATE_LIMIT = {
    "type": "tokens",
    "code": "rate_limit_exceeded",
    "param": None,
    "message": "Rate limit reached. Please try again in 12s.",
}


def answer(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{lines}connection: close\r\n\r\n"
    return head.encode() + body


def stream(name: str, **headers: str) -> Callable[..., bytes]:
    """Make a stream of one event, whose fields are given."""
    return lambda **event: answer(
        200, f"event: {name}\ndata: {json.dumps(event)}\n\n".encode(), "text/event-stream", **headers
    )


def error_event(error: dict[str, Any], **headers: str) -> bytes:
    return stream("error", **headers)(type="error", error=error)


def error(status: int, *, headers: dict[str, str] | None = None, **fields: Any) -> bytes:
    return answer(status, orjson.dumps({"error": fields}), **(headers or {}))


def completed(usage: dict[str, Any] | None = None, **fields: Any) -> bytes:
    counted = {"input_tokens": 10, "output_tokens": 272, **(usage or {})}
    return stream("image_generation.completed")(
        type="image_generation.completed", b64_json=PICTURE, created_at=1, size="1024x1024", usage=counted, **fields
    )


class Azure:
    """An upstream that answers with bytes: by the last word of the prompt where there are several."""

    def __init__(self, answers: bytes | dict[str, bytes]) -> None:
        self.answers = answers
        self.bodies: list[dict[str, Any]] = []
        self.targets: list[str] = []
        self.refuses: dict[str, bytes] = {}
        """What it answers to a body with these fields."""
        self.takes = 0.0
        """Seconds before it answers."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        body = orjson.loads(await reader.readexactly(int(length[1])))
        self.targets.append(head.split()[1].decode())
        self.bodies.append(body)
        await asyncio.sleep(self.takes)
        answers = self.answers
        said = answers if isinstance(answers, bytes) else answers[body["prompt"].split()[-1]]
        said = next((refusal for field, refusal in self.refuses.items() if field in body), said)
        writer.write(said)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def gateway(
    answers: bytes | dict[str, bytes], *, family: str | None = "gpt-image-1", **settings: Any
) -> AsyncIterator[tuple[House, Azure, list[float]]]:
    """Run a gateway before such an upstream; with it and the seconds that it waited."""
    azure = Azure(answers)
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    server = await asyncio.start_server(azure.serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        catalogue = {"deployments": {"d": {"family": family}, "other": {"family": family}}}
        values = {"AZURE_OPENAI_ENDPOINT": url, "GATEWAY_CATALOGUE": catalogue, **settings}
        async with house(wait=wait, **values) as running:
            yield running, azure, waits


async def test_a_user_error_in_a_stream() -> None:
    """An error of the caller's that comes in a stream is a 400 with its words, costs nothing and falls back nowhere."""
    async with gateway(error_event(USER_ERROR)) as (running, azure, _):
        for is_stream in (False, True):
            azure.bodies.clear()
            response = await running.draw("d", fallbacks=["other"], background="transparent", stream=is_stream)

            said = refusal(response)
            assert (400, USER_ERROR) == (response.status_code, {name: said[name] for name in USER_ERROR})
            assert ("x-should-retry" in response.headers, len(azure.bodies)) == (False, 1)
            assert [("d", "rejected", 200)] == trail(response.json())


async def test_a_user_error_after_a_partial_image() -> None:
    """Where a partial image came before it, it may be billed: no client is to ask again by itself."""
    partial = b'data: {"type":"image_generation.partial_image","b64_json":"QQ=="}\n\n'
    body = partial + error_event(USER_ERROR).partition(b"\r\n\r\n")[2]
    async with gateway(answer(200, body, "text/event-stream")) as (running, azure, _):
        response = await running.draw("d", fallbacks=["other"])
        assert (400, "false", 1) == (response.status_code, response.headers["x-should-retry"], len(azure.bodies))


async def test_a_rate_limit_in_a_stream() -> None:
    """A rate limit that comes in a stream is a 429 with a wait, costs nothing, and its target is left alone."""
    said = error_event(RATE_LIMIT, retry_after="30")
    async with gateway(said, GATEWAY_QUEUE_SECONDS="0") as (running, azure, waits):
        response = await running.draw("d")
        assert (429, "rate_limit_exceeded") == (response.status_code, refusal(response)["code"])
        assert (["30"], False, 1) == (
            response.headers.get_list("retry-after"),
            "x-should-retry" in response.headers,
            len(azure.bodies),
        )
        again = await running.draw("d")
        assert (429, 1, []) == (again.status_code, len(azure.bodies), waits)


async def test_one_callers_mistakes() -> None:
    """Five mistakes of one caller leave the deployment open to another."""
    keys = [key_record(), key_record("sk-bf-other", id="other")]
    answers = {"wrong": error_event(USER_ERROR), "slow": b"", "cat": completed()}
    async with gateway(answers, GATEWAY_VIRTUAL_KEYS=keys) as (running, _, _waits):
        for prompt in ["wrong"] * 5 + ["slow"] * 6:
            last = await running.draw("d", prompt=prompt, headers={"idempotency-retry": "accept-duplicate"})
        assert "cooling_off" in {outcome for _, outcome, _ in trail(last.json())}
        response = await running.draw("d", key="sk-bf-other", prompt="a cat")
        assert 200 == response.status_code


async def test_a_wait_of_zero() -> None:
    """A stated wait of 0 is none: between tries there is the usual pause, and the caller is told of one second."""
    said = error(429, headers={"retry_after": "0"}, code="429", message="slow down")
    async with gateway(said, GATEWAY_QUEUE_SECONDS="0") as (running, azure, waits):
        response = await running.draw("d")
        assert (429, 3, 2) == (response.status_code, len(azure.bodies), len(waits))
        assert int(response.headers["retry-after"]) >= 1


async def test_no_quota_left() -> None:
    """Where the account has no quota left no wait helps: it is asked once, then the fallbacks, and not again."""
    said = error(429, code="insufficient_quota", type="insufficient_quota", message="The account has no quota left.")
    async with gateway({"picture": completed(), "cat": said}, GATEWAY_QUEUE_SECONDS="0") as (running, azure, _):
        response = await running.draw("d", prompt="a cat")
        assert (429, "insufficient_quota", "false", 1) == (
            response.status_code,
            refusal(response)["code"],
            response.headers["x-should-retry"],
            len(azure.bodies),
        )
        assert "retry-after" not in response.headers
        fallback = await running.draw("d", prompt="a picture", fallbacks=["other"])
        assert (200, "other") == (fallback.status_code, fallback.headers["x-gateway-deployment"])


async def test_a_404_of_something_else() -> None:
    """A 404 that does not speak of the deployment keeps upstream's own words: the api-version may be wrong."""
    async with gateway(error(404, code="404", message="Resource not found")) as (running, _, _waits):
        response = await running.draw("d")
        assert (502, "upstream_error", "Resource not found") == (
            response.status_code,
            refusal(response)["code"],
            refusal(response)["message"],
        )


async def test_json_with_a_byte_order_mark() -> None:
    """A byte order mark before the JSON costs nobody a picture."""
    body = b"\xef\xbb\xbf" + orjson.dumps({"created": 1, "data": [{"b64_json": PICTURE}]})
    async with gateway(answer(200, body)) as (running, _, _waits):
        for is_stream in (False, True):
            response = await running.draw("d", stream=is_stream)
            found = events_of(response.text)[-1][1] if is_stream else response.json()["data"][0]
            assert PICTURE == found["b64_json"]


async def test_withheld_pictures() -> None:
    """Of several pictures, those that came are given, and of the others it is told why they did not."""
    results = {"content_filter_results": {"violence": {"filtered": True, "severity": "high"}}}
    body = orjson.dumps({"created": 1, "data": [{"b64_json": None, **results}, {"b64_json": PICTURE}]})
    async with gateway(answer(200, body)) as (running, _, _waits):
        response = await running.draw("d", n=2)
        assert [(0, PICTURE)] == [(item["index"], item["b64_json"]) for item in response.json()["data"]]
        assert [{"index": 0, **results}] == response.json()["extra_fields"]["withheld"]


async def test_nothing_but_a_withheld_picture() -> None:
    """A finished event without a picture is a refusal where it says why, and else an upstream that failed."""
    results = {"content_filter_results": {"violence": {"filtered": True, "severity": "high"}}}
    event = stream("image_generation.completed")
    answers = {
        "filtered": event(type="image_generation.completed", b64_json=None, **results),
        "empty": event(type="image_generation.completed", b64_json=None),
    }
    async with gateway(answers) as (running, _, _waits):
        filtered = await running.draw("d", prompt="filtered")
        assert (400, results["content_filter_results"]) == (
            filtered.status_code,
            refusal(filtered)["content_filter_results"],
        )
        empty = await running.draw("d", prompt="empty")
        assert (502, "false") == (empty.status_code, empty.headers["x-should-retry"])


async def test_a_budget_of_gpt_image_2() -> None:
    """What a picture of gpt-image-2 will cost is known before it: a budget that pays for one lets one of four pass."""
    keys = [key_record(budget={"usd": 0.4, "window": "month"})]
    said = completed({"output_tokens": 7024, "total_tokens": 7034})
    async with gateway(said, family="gpt-image-2", GATEWAY_VIRTUAL_KEYS=keys) as (running, azure, _):
        azure.takes = 0.3
        prompts = [f"cat {number}" for number in range(4)]
        ask = {"quality": "high", "size": "1024x1024"}
        responses = await asyncio.gather(*(running.draw("d", prompt=prompt, **ask) for prompt in prompts))
        assert [200, 402, 402, 402] == sorted(response.status_code for response in responses)
        (drawn,) = (response for response in responses if response.status_code == 200)
        assert (0.21077, "0.21077") == (
            drawn.json()["extra_fields"]["cost_usd"],
            drawn.headers["x-gateway-cost-usd"],
        )


async def test_cached_input_tokens() -> None:
    """Input tokens that came from upstream's cache cost less, in JSON and in a stream alike."""
    details = {"text_tokens": 2000, "image_tokens": 0, "cached_tokens": 1920}
    said = completed({"input_tokens": 2000, "input_tokens_details": details, "output_tokens": 196})
    async with gateway(said, family="gpt-image-2") as (running, _, _waits):
        expected = (80 * 5 + 1920 * 1.25 + 196 * 30) / 1e6
        drawn = await running.draw("d", quality="low")
        streamed = events_of((await running.draw("d", quality="low", stream=True)).text)
        assert [expected, expected] == [
            answer["extra_fields"]["cost_usd"] for answer in (drawn.json(), streamed[-1][1])
        ]


async def test_parameters_that_a_free_name_does_not_know() -> None:
    """They are left out once it has said so: it is asked again at once, and then never sent them again."""
    said = {
        name: error(400, code="unknown_parameter", param=name, message=f"Unknown parameter: '{name}'.")
        for name in ("response_format", "style")
    }

    async with gateway(completed(), family=None) as (running, azure, waits):
        azure.refuses = said
        fields = {"response_format": "b64_json", "style": "vivid", "quality": "standard", "size": "1024x1024", "n": 1}
        for sent in (3, 1):
            azure.bodies.clear()
            response = await running.draw("d", **fields)
            assert (200, sent) == (response.status_code, len(azure.bodies))
            assert not {"response_format", "style"} & azure.bodies[-1].keys()
            assert "response_format, style" == response.headers["x-gateway-dropped-params"]
            assert [("d", "picture", 200)] == trail(response.json())
        assert [] == waits


async def test_a_parameter_that_cannot_be_done_without() -> None:
    """`seed` is upstream's to refuse; the catalogue's `drop` leaves it out, and the answer says so."""
    said = error(400, code="unknown_parameter", param="seed", message="Unknown parameter: 'seed'.")
    drops = {"deployments": {"d": {"family": None}, "dropping": {"family": None, "drop": ["seed"]}}}
    async with gateway(completed(), GATEWAY_CATALOGUE=drops) as (running, azure, _):
        azure.refuses = {"seed": said}
        assert 400 == (await running.draw("d", seed=1)).status_code
        response = await running.draw("dropping", seed=1)
        assert (200, "seed") == (response.status_code, response.headers["x-gateway-dropped-params"])


async def test_old_sizes_and_formats() -> None:
    """The catalogue gives old clients what they ask for: another size, and a link where nobody asks for a format."""
    rules = {"sizes": {"1792x1024": "1536x1024"}, "response_format": "url"}
    catalogue = {"deployments": {"d": {"family": "gpt-image-1", **rules}}}
    async with gateway(completed(), GATEWAY_CATALOGUE=catalogue) as (running, azure, _):
        response = await running.draw("d", size="1792x1024")
        assert (200, "1536x1024") == (response.status_code, azure.bodies[-1]["size"])
        assert "size" == response.headers["x-gateway-mapped-params"]
        assert response.json()["data"][0]["url"].startswith("http")


@pytest.mark.parametrize(
    ("asked", "called"),
    [
        ("2023-05-15", None),
        ("2024-10-21", None),
        ("2025-04-01-preview", "2025-04-01-preview"),
        ("2026-01-01", "2026-01-01"),
    ],
)
async def test_an_api_version_that_is_too_old(asked: str, called: str | None) -> None:
    """One that does not know the family gives way to the target's own, and the answer says so."""
    async with gateway(completed()) as (running, azure, _):
        response = await running.draw("d", query={"api-version": asked})
        assert 200 == response.status_code
        assert azure.targets[-1].endswith(f"api-version={called or DEFAULT_API_VERSION}")
        assert (None if called else "api-version") == response.headers.get("x-gateway-mapped-params")


async def test_flux_by_azures_own_name() -> None:
    """A family is found whatever the case of its name, without a catalogue, too."""
    body = orjson.dumps({"created": 1, "data": [{"url": "https://pictures.example/1.png"}]})
    async with gateway(answer(200, body), GATEWAY_CATALOGUE=None) as (running, _, _waits):
        response = await running.draw("FLUX-1.1-pro", style="vivid")
        assert (200, 0.04) == (response.status_code, response.json()["extra_fields"]["cost_usd"])


def test_the_settings_key_belongs_to_its_origin() -> None:
    """A target that names the same origin as AZURE_OPENAI_ENDPOINT gets its key, too."""
    target = read_settings(
        {
            "AZURE_OPENAI_ENDPOINT": "https://Own.openai.azure.com/",
            "AZURE_OPENAI_API_KEY": "the-key",
            "GATEWAY_CATALOGUE": '{"deployments": {"a": {"targets": [{"endpoint": "https://own.openai.azure.com"}]}}}',
        }
    ).catalogue.targets()[0]
    assert target.key is not None
