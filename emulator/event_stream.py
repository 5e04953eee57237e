"""A stream of server-sent events as Azure sends it, and the ways in which it can go wrong.

Facts: OpenAI API reference, "Image generation streaming events"; Azure OpenAI docs, "Streaming"; the format itself is
WHATWG HTML, section 9.2, "Server-sent events". Azure sends no `[DONE]`: the stream just ends.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from itertools import cycle
from typing import Any

import orjson

from emulator.exchange import Exchange

PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"

_SMALL_EVENT_BYTES = 4_096
_SMALL_PIECES = (1, 2, 3, 5, 7)
_LARGE_PIECES = (8_191, 65_537, 1, 131_071, 7)
_COMMENT = b': comment\nevent: image_generation.unheard_of\ndata: {"new":1}\n\n'


class StreamEnd(Enum):
    """How a stream ends."""

    COMPLETE = "the completed event, then EOF"
    EOF = "EOF without the completed event, HTTP ended as it should be"
    MIDWAY = "EOF in the middle of the completed event's data, HTTP ended as it should be"
    ERROR = "an event that reports an error, then EOF"
    CLOSE = "the connection is closed, HTTP not ended"
    RESET = "RST"
    HANG = "nothing more comes until the client disconnects"


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a stream is sent: up to `max_partials` partial images, then its `end`."""

    end: StreamEnd = StreamEnd.COMPLETE
    max_partials: int | None = None
    error_event: bytes = b""
    """The lines of the event of `StreamEnd.ERROR`."""
    newline: bytes = b"\n"
    event_lines: bool = True
    last_blank_line: bool = True
    comments: bool = False
    small_pieces: bool = False
    pause_seconds: float = 0.0
    """Before every event."""


Event = tuple[str, dict[str, Any]]


async def send_events(exchange: Exchange, events: AsyncIterator[Event], options: StreamOptions) -> None:
    """Send each event as soon as it is there, and end the stream as the options say."""
    partials = 0
    async for name, data in events:
        if options.end is not StreamEnd.COMPLETE and (name == COMPLETED or partials == options.max_partials):
            await _end(exchange, options, _serialize(name, data, options))
            return
        if options.pause_seconds:
            await asyncio.sleep(options.pause_seconds)
        if options.comments:
            await exchange.write(_with_newlines(_COMMENT, options))
        await _send(exchange, _serialize(name, data, options), small_pieces=options.small_pieces)
        partials += name == PARTIAL
    await exchange.finish()


def _serialize(name: str, data: dict[str, Any], options: StreamOptions) -> bytes:
    event_line = b"event: %s\n" % name.encode() if options.event_lines else b""
    blank_line = b"" if name == COMPLETED and not options.last_blank_line else b"\n"
    return _with_newlines(event_line + b"data: %s\n%s" % (orjson.dumps(data), blank_line), options)


def _with_newlines(text: bytes, options: StreamOptions) -> bytes:
    return text if options.newline == b"\n" else text.replace(b"\n", options.newline)


async def _send(exchange: Exchange, event: bytes, *, small_pieces: bool) -> None:
    for piece in _split(event) if small_pieces else (event,):
        await exchange.write(piece)
        await asyncio.sleep(0)


def _split(event: bytes) -> list[bytes]:
    sizes = cycle(_SMALL_PIECES if len(event) < _SMALL_EVENT_BYTES else _LARGE_PIECES)
    pieces = []
    at = 0
    while at < len(event):
        size = next(sizes)
        pieces.append(event[at : at + size])
        at += size
    return pieces


async def _end(exchange: Exchange, options: StreamOptions, unsent: bytes) -> None:
    match options.end:
        case StreamEnd.MIDWAY:
            await exchange.write(unsent[: len(unsent) // 2])
        case StreamEnd.ERROR:
            await exchange.write(_with_newlines(options.error_event, options))
        case StreamEnd.CLOSE:
            return exchange.close()
        case StreamEnd.RESET:
            return await exchange.reset()
        case StreamEnd.HANG:
            await asyncio.Event().wait()
        case _:
            pass
    return await exchange.finish()
