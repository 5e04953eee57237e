"""A successful answer, as JSON or as a stream, varied as a fault asks for it.

Facts: Azure OpenAI docs, image generation reference ("Responses").
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from emulator import pictures
from emulator.event_stream import COMPLETED, PARTIAL, Event, StreamOptions, send_events
from emulator.exchange import Exchange
from emulator.families import Engine
from emulator.pictures import Picture, PictureStore
from emulator.usage import count_usage
from emulator.validation import ImageRequest

_DRIP_PIECES = 40
_DRIP_PAUSE_SECONDS = 0.01
_UNKNOWN_FIELDS = {"field_of_tomorrow": {"answer": 42}}


@dataclass(frozen=True, kw_only=True)
class ResponseOptions:
    """How a successful answer differs from the usual one; the defaults are what Azure does."""

    delay_seconds: float = 0.0
    """Before the answer begins."""
    content_type: str | None = None
    gzip: bool = False
    drip: bool = False
    """Send the body in many small pieces."""
    usage: bool = True
    unknown_fields: bool = False
    noise_characters: int | None = None
    """How many base64 characters of noise stand in place of a picture."""
    partials: int | None = None
    """How many partial images are sent, whatever was requested."""
    broken: Literal["no", "cut", "reset"] = "no"
    """A JSON answer ends in its middle: `cut` (closed) or `reset` (RST)."""
    always_json: bool = False
    stream: StreamOptions = field(default_factory=StreamOptions)


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Makes pictures: how many seconds one takes, and where those that are given as a URL are stored."""

    seconds: float
    store: PictureStore
    base_url: str


async def send_images(
    exchange: Exchange,
    request: ImageRequest,
    options: ResponseOptions,
    generator: Generator,
    headers: list[tuple[str, str]],
) -> None:
    """Make the pictures that were requested, and answer with them."""
    await asyncio.sleep(options.delay_seconds)
    if request.stream and not options.always_json:
        content_type = options.content_type or "text/event-stream; charset=utf-8"
        await exchange.start(200, _headers(headers, content_type, options), gzip=options.gzip)
        async with aclosing(_make_events(request, options, generator)) as events:
            await send_events(exchange, events, options.stream)
        return
    await asyncio.sleep(generator.seconds)
    body = orjson.dumps(await _make_json(request, options, generator))
    length = [] if options.gzip else [("content-length", str(len(body)))]
    content_type = options.content_type or "application/json"
    await exchange.start(200, _headers([*headers, *length], content_type, options), gzip=options.gzip)
    await _send_body(exchange, body, options)


def _headers(headers: list[tuple[str, str]], content_type: str, options: ResponseOptions) -> list[tuple[str, str]]:
    encoding = [("content-encoding", "gzip")] if options.gzip else []
    return [("content-type", content_type), *encoding, *headers]


async def _send_body(exchange: Exchange, body: bytes, options: ResponseOptions) -> None:
    if options.broken != "no":
        await exchange.write(body[: len(body) // 2])
        if options.broken == "reset":
            await exchange.reset()
        else:
            exchange.close()
        return
    if options.drip:
        size = len(body) // _DRIP_PIECES + 1
        for at in range(0, len(body), size):
            await exchange.write(body[at : at + size])
            await asyncio.sleep(_DRIP_PAUSE_SECONDS)
    else:
        await exchange.write(body)
    await exchange.finish()


async def _make_json(request: ImageRequest, options: ResponseOptions, generator: Generator) -> dict[str, Any]:
    items = [await _make_item(request, number, options, generator) for number in range(request.n)]
    extra = _UNKNOWN_FIELDS if options.unknown_fields else {}
    answer: dict[str, Any] = {
        "created": int(time.time()),
        "data": [{**item, **extra} for item in items],
        **extra,
    }
    if request.family.engine is not Engine.GPT_IMAGE:
        return answer
    usage = {"usage": count_usage(request, partial_images=0)} if options.usage else {}
    return {**answer, **_chosen_values(request), **usage}


async def _make_item(
    request: ImageRequest, number: int, options: ResponseOptions, generator: Generator
) -> dict[str, Any]:
    data = await _make_base64(request, number, options)
    image = {"b64_json": data}
    if request.as_url:
        image = {"url": f"{generator.base_url}pictures/{generator.store.add(data)}.png"}
    if request.family.engine is not Engine.DALL_E:
        return image
    return {
        "revised_prompt": f"A detailed and {request.style} picture: {request.prompt}",
        **image,
        "prompt_filter_results": {**_SAFE, "profanity": {"detected": False, "filtered": False}},
        "content_filter_results": _SAFE,
    }


_SAFE = {subject: {"filtered": False, "severity": "safe"} for subject in ("hate", "self_harm", "sexual", "violence")}


async def _make_events(
    request: ImageRequest, options: ResponseOptions, generator: Generator
) -> AsyncGenerator[Event, None]:
    partials = request.partial_images if options.partials is None else options.partials
    seconds = generator.seconds / (partials + 1)
    common = {
        "created_at": int(time.time()),
        **_chosen_values(request),
        **(_UNKNOWN_FIELDS if options.unknown_fields else {}),
    }
    for index in range(partials):
        await asyncio.sleep(seconds)
        image = await _make_base64(request, 0, options, sharpness=(index + 1) / (partials + 1))
        yield PARTIAL, {"type": PARTIAL, "b64_json": image, "partial_image_index": index, **common}
    await asyncio.sleep(seconds)
    image = await _make_base64(request, 0, options)
    usage = {"usage": count_usage(request, partial_images=partials)} if options.usage else {}
    yield COMPLETED, {"type": COMPLETED, "b64_json": image, **common, **usage}


async def _make_base64(request: ImageRequest, number: int, options: ResponseOptions, sharpness: float = 1.0) -> str:
    if options.noise_characters is not None:
        return pictures.make_noise(options.noise_characters)
    picture = Picture(
        prompt=request.prompt,
        number=number,
        width=request.width,
        height=request.height,
        output_format=request.output_format,
        compression=request.compression,
        transparent=request.background == "transparent",
        sharpness=sharpness,
    )
    return await asyncio.to_thread(pictures.encode, picture)


def _chosen_values(request: ImageRequest) -> dict[str, str]:
    return {
        "background": request.background,
        "output_format": request.output_format,
        "quality": request.quality,
        "size": request.size,
    }
