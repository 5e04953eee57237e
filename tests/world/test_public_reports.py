"""What Azure OpenAI really says, from public reports: small answers that went wrong once, through the whole gateway."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson

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
