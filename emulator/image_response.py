"""A successful answer, as JSON or as a stream, varied as a fault asks for it.

Facts: Azure OpenAI docs, image generation reference ("Responses").
"""

import asyncio
import time
from codecs import BOM_UTF8
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
_SAFE = {subject: {"filtered": False, "severity": "safe"} for subject in ("hate", "self_harm", "sexual", "violence")}
_FILTERED = {**_SAFE, "violence": {"filtered": True, "severity": "medium"}}


@dataclass(frozen=True, kw_only=True)
class ResponseOptions:
    """How a successful answer differs from the usual one; the defaults are what Azure does."""

    delay_seconds: float = 0.0
    """Before the answer begins."""
    content_type: str | None = None
    gzip: bool = False
    drip: bool = False
    """Send the body in many small pieces."""
    headers: tuple[tuple[str, str], ...] = ()
    """More headers."""
    byte_order_mark: bool = False
    usage: bool = True
    input_tokens: int | None = None
    """How many input tokens are reported; half of them are then cached."""
    refused_key: str = ""
    """A key for which a body is refused as `unknown_parameter`."""
    unknown_fields: bool = False
    withheld: Literal["no", "all", "first"] = "no"
    """Which pictures are null."""
    filter_results: bool = False
    """Whether a picture that is null comes with what the content filter found."""
    omit_image: bool = False
    """Leave `b64_json` out of the completed event."""
    noise_characters: int | None = None
    """How many base64 characters of noise stand in place of a picture."""
    partials: int | None = None
    """How many partial images are sent, whatever was requested."""
    broken: Literal["no", "cut", "reset"] = "no"
    """A JSON answer ends in its middle: `cut` (closed) or `reset` (RST)."""
    always_json: bool = False
    afterwards: bytes = b""
    """Bytes that follow the end of the response on the connection."""
    afterwards_seconds: float = 0.0
    """How long after the end they follow."""
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
        await _send_stream(exchange, request, options, generator, headers)
    else:
        await _send_json(exchange, request, options, generator, headers)
    if options.afterwards:
        await asyncio.sleep(options.afterwards_seconds)
        exchange.connection.transport.write(options.afterwards)


async def _send_stream(
    exchange: Exchange,
    request: ImageRequest,
    options: ResponseOptions,
    generator: Generator,
    headers: list[tuple[str, str]],
) -> None:
    content_type = options.content_type or "text/event-stream; charset=utf-8"
    await exchange.start(200, _add_headers(headers, content_type, options), gzip=options.gzip)
    if options.byte_order_mark:
        await exchange.write(BOM_UTF8)
    async with aclosing(_make_events(request, options, generator)) as events:
        await send_events(exchange, events, options.stream)


async def _send_json(
    exchange: Exchange,
    request: ImageRequest,
    options: ResponseOptions,
    generator: Generator,
    headers: list[tuple[str, str]],
) -> None:
    await asyncio.sleep(generator.seconds)
    mark = BOM_UTF8 if options.byte_order_mark else b""
    body = mark + orjson.dumps(await _make_json(request, options, generator))
    length = [] if options.gzip else [("content-length", str(len(body)))]
    content_type = options.content_type or "application/json"
    await exchange.start(200, _add_headers([*headers, *length], content_type, options), gzip=options.gzip)
    await _send_body(exchange, body, options)


def _add_headers(headers: list[tuple[str, str]], content_type: str, options: ResponseOptions) -> list[tuple[str, str]]:
    encoding = [("content-encoding", "gzip")] if options.gzip else []
    return [("content-type", content_type), *encoding, *options.headers, *headers]


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
    return {**answer, **_chosen_values(request), **_make_usage(request, options, partial_images=0)}


def _make_usage(request: ImageRequest, options: ResponseOptions, partial_images: int) -> dict[str, Any]:
    if not options.usage:
        return {}
    return {"usage": count_usage(request, partial_images, input_tokens=options.input_tokens)}


async def _make_item(
    request: ImageRequest, number: int, options: ResponseOptions, generator: Generator
) -> dict[str, Any]:
    withheld = _withhold(options, number)
    if withheld is not None:
        return {("url" if request.as_url else "b64_json"): None, **withheld}
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


def _withhold(options: ResponseOptions, number: int) -> dict[str, Any] | None:
    """Return what stands beside a picture that is null; None: this one is given."""
    if options.withheld == "no" or (options.withheld == "first" and number > 0):
        return None
    return {"content_filter_results": _FILTERED} if options.filter_results else {}


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
    usage = _make_usage(request, options, partial_images=partials)
    yield COMPLETED, {"type": COMPLETED, **await _make_last_image(request, options), **common, **usage}


async def _make_last_image(request: ImageRequest, options: ResponseOptions) -> dict[str, Any]:
    if options.omit_image:
        return {}
    withheld = _withhold(options, 0)
    if withheld is not None:
        return {"b64_json": None, **withheld}
    return {"b64_json": await _make_base64(request, 0, options)}


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
