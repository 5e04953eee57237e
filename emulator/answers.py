"""A good answer, as JSON or as a stream, in the manner that a fault may ask for.

Facts: Azure OpenAI docs, image generation reference ("Responses"); output tokens from OpenAI's image
generation guide ("Cost and latency"), about 100 more for each partial image.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from emulator import pictures
from emulator.exchange import Exchange
from emulator.families import Engine
from emulator.pictures import Picture, Shelf
from emulator.rules import Order
from emulator.stream import COMPLETED, PARTIAL, Event, Script, play

PARTIAL_TOKENS = 100
DRIP_PIECES = 40
DRIP_PAUSE = 0.01

_SQUARE_TOKENS = {"low": 272, "medium": 1_056, "high": 4_160}
_TOKENS = {
    "1024x1024": _SQUARE_TOKENS,
    "1024x1536": {"low": 408, "medium": 1_584, "high": 6_240},
    "1536x1024": {"low": 400, "medium": 1_568, "high": 6_208},
}
_SQUARE_PIXELS = 1024 * 1024
_CHARACTERS_PER_TOKEN = 4

_UNKNOWN = {"field_of_tomorrow": {"answer": 42}}


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a good answer is given; as it stands, just as Azure gives it."""

    wait: float = 0.0
    """Seconds before the answer begins."""
    content_type: str | None = None
    gzip: bool = False
    drip: bool = False
    usage: bool = True
    unknown_fields: bool = False
    picture_size: int | None = None
    """Base64 characters of noise in place of a drawing."""
    partials: int | None = None
    """Partial images, whatever was asked."""
    broken: Literal["no", "cut", "reset"] = "no"
    """A JSON answer breaks off in its middle: `cut` (closed) or `reset` (RST)."""
    always_json: bool = False
    script: Script = field(default_factory=Script)


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Where pictures are made: how long the model thinks about one, and where those with a URL hang."""

    thinking: float
    shelf: Shelf
    base_url: str


async def give(
    exchange: Exchange, order: Order, manner: Manner, studio: Studio, headers: list[tuple[str, str]]
) -> None:
    """Draw what was ordered, and answer with it."""
    await asyncio.sleep(manner.wait)
    if order.stream and not manner.always_json:
        content_type = manner.content_type or "text/event-stream; charset=utf-8"
        await exchange.start(200, _headers(headers, content_type, manner), gzip=manner.gzip)
        async with aclosing(_events(order, manner, studio)) as events:
            await play(exchange, events, manner.script)
        return
    await asyncio.sleep(studio.thinking)
    body = orjson.dumps(await _json(order, manner, studio))
    plain = [] if manner.gzip else [("content-length", str(len(body)))]
    kind = _headers([*headers, *plain], manner.content_type or "application/json", manner)
    await exchange.start(200, kind, gzip=manner.gzip)
    await _send_body(exchange, body, manner)


def _headers(headers: list[tuple[str, str]], content_type: str, manner: Manner) -> list[tuple[str, str]]:
    encoding = [("content-encoding", "gzip")] if manner.gzip else []
    return [("content-type", content_type), *encoding, *headers]


async def _send_body(exchange: Exchange, body: bytes, manner: Manner) -> None:
    if manner.broken != "no":
        await exchange.write(body[: len(body) // 2])
        if manner.broken == "reset":
            await exchange.reset()
        else:
            exchange.close()
        return
    if manner.drip:
        size = len(body) // DRIP_PIECES + 1
        for at in range(0, len(body), size):
            await exchange.write(body[at : at + size])
            await asyncio.sleep(DRIP_PAUSE)
    else:
        await exchange.write(body)
    await exchange.finish()


async def _json(order: Order, manner: Manner, studio: Studio) -> dict[str, Any]:
    items = [await _item(order, number, manner, studio) for number in range(order.n)]
    extra = _UNKNOWN if manner.unknown_fields else {}
    answer: dict[str, Any] = {
        "created": int(time.time()),
        "data": [{**item, **extra} for item in items],
        **extra,
    }
    if order.family.engine is not Engine.GPT_IMAGE:
        return answer
    usage = {"usage": _usage(order, partials=0)} if manner.usage else {}
    return {**answer, **_described(order), **usage}


async def _item(order: Order, number: int, manner: Manner, studio: Studio) -> dict[str, Any]:
    data = await _base64(order, number, manner)
    delivered = {"b64_json": data}
    if order.as_url:
        delivered = {"url": f"{studio.base_url}pictures/{studio.shelf.hang(data)}.png"}
    if order.family.engine is not Engine.DALL_E:
        return delivered
    return {
        "revised_prompt": f"A detailed and {order.style} picture: {order.prompt}",
        **delivered,
        "prompt_filter_results": {**_SAFE, "profanity": {"detected": False, "filtered": False}},
        "content_filter_results": _SAFE,
    }


_SAFE = {subject: {"filtered": False, "severity": "safe"} for subject in ("hate", "self_harm", "sexual", "violence")}


async def _events(order: Order, manner: Manner, studio: Studio) -> AsyncGenerator[Event, None]:
    partials = order.partial_images if manner.partials is None else manner.partials
    thinking = studio.thinking / (partials + 1)
    common = {
        "created_at": int(time.time()),
        **_described(order),
        **(_UNKNOWN if manner.unknown_fields else {}),
    }
    for index in range(partials):
        await asyncio.sleep(thinking)
        image = await _base64(order, 0, manner, sharpness=(index + 1) / (partials + 1))
        yield PARTIAL, {"type": PARTIAL, "b64_json": image, "partial_image_index": index, **common}
    await asyncio.sleep(thinking)
    image = await _base64(order, 0, manner)
    usage = {"usage": _usage(order, partials=partials)} if manner.usage else {}
    yield COMPLETED, {"type": COMPLETED, "b64_json": image, **common, **usage}


async def _base64(order: Order, number: int, manner: Manner, sharpness: float = 1.0) -> str:
    if manner.picture_size is not None:
        return pictures.noise(manner.picture_size)
    picture = Picture(
        prompt=order.prompt,
        number=number,
        width=order.width,
        height=order.height,
        output_format=order.output_format,
        compression=order.compression,
        transparent=order.background == "transparent",
        sharpness=sharpness,
    )
    return await asyncio.to_thread(pictures.as_base64, picture)


def _described(order: Order) -> dict[str, str]:
    return {
        "background": order.background,
        "output_format": order.output_format,
        "quality": order.quality,
        "size": order.size,
    }


def _usage(order: Order, partials: int) -> dict[str, Any]:
    text = max(1, len(order.prompt) // _CHARACTERS_PER_TOKEN)
    image = order.n * image_tokens(order.size, order.quality) + partials * PARTIAL_TOKENS
    return {
        "input_tokens": text,
        "input_tokens_details": {"text_tokens": text, "image_tokens": 0},
        "output_tokens": image,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": image},
        "total_tokens": text + image,
    }


def image_tokens(size: str, quality: str) -> int:
    """Count the output tokens of one picture; sizes that have no row count by their pixels."""
    if size in _TOKENS:
        return _TOKENS[size].get(quality, _TOKENS[size]["high"])
    width, height = map(int, size.split("x"))
    square = _SQUARE_TOKENS.get(quality, _SQUARE_TOKENS["high"])
    return round(square * width * height / _SQUARE_PIXELS)
