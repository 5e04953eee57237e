"""A stream of server-sent events as Azure sends it, and the scripts by which it goes wrong.

Facts: OpenAI API reference, "Image generation streaming events"; Azure OpenAI docs, "Streaming"; the format
itself is WHATWG HTML, section 9.2, "Server-sent events". Azure sends no `[DONE]`: the stream just ends.
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

_SMALL = 4_096
_TINY_SIZES = (1, 2, 3, 5, 7)
_ODD_SIZES = (8_191, 65_537, 1, 131_071, 7)


class Ending(Enum):
    """How a stream ends."""

    WHOLE = "the completed event, then EOF"
    EOF = "EOF without the completed event, HTTP ended as it should be"
    MIDWAY = "EOF in the middle of the completed event's data, HTTP ended as it should be"
    PROBLEM = "an event that tells of a problem, then EOF"
    CLOSE = "the connection is closed, HTTP not ended"
    RESET = "RST"
    HANG = "nothing more comes until the client leaves"


@dataclass(frozen=True, kw_only=True)
class Script:
    """How a stream goes: up to `stop_after` partial images, then its `ending`."""

    ending: Ending = Ending.WHOLE
    stop_after: int | None = None
    problem: bytes = b""
    """The lines of the event of `Ending.PROBLEM`."""
    newline: bytes = b"\n"
    event_lines: bool = True
    last_blank: bool = True
    comments: bool = False
    chopped: bool = False
    pause: float = 0.0
    """Seconds before every event."""


Event = tuple[str, dict[str, Any]]


async def play(exchange: Exchange, events: AsyncIterator[Event], script: Script) -> None:
    """Send the events by the script, each as soon as it is there."""
    partials = 0
    async for name, data in events:
        if script.ending is not Ending.WHOLE and (name == COMPLETED or partials == script.stop_after):
            await _end(exchange, script, _event(name, data, script))
            return
        if script.pause:
            await asyncio.sleep(script.pause)
        if script.comments:
            await exchange.write(_lines(b': comment\nevent: image_generation.unheard_of\ndata: {"new":1}\n\n', script))
        await _send(exchange, _event(name, data, script), chopped=script.chopped)
        partials += name == PARTIAL
    await exchange.finish()


def _event(name: str, data: dict[str, Any], script: Script) -> bytes:
    head = b"event: %s\n" % name.encode() if script.event_lines else b""
    blank = b"" if name == COMPLETED and not script.last_blank else b"\n"
    return _lines(head + b"data: %s\n%s" % (orjson.dumps(data), blank), script)


def _lines(text: bytes, script: Script) -> bytes:
    return text if script.newline == b"\n" else text.replace(b"\n", script.newline)


async def _send(exchange: Exchange, event: bytes, *, chopped: bool) -> None:
    for piece in _pieces(event) if chopped else (event,):
        await exchange.write(piece)
        await asyncio.sleep(0)


def _pieces(event: bytes) -> list[bytes]:
    sizes = cycle(_TINY_SIZES if len(event) < _SMALL else _ODD_SIZES)
    pieces = []
    at = 0
    while at < len(event):
        size = next(sizes)
        pieces.append(event[at : at + size])
        at += size
    return pieces


async def _end(exchange: Exchange, script: Script, unsent: bytes) -> None:
    match script.ending:
        case Ending.MIDWAY:
            await exchange.write(unsent[: len(unsent) // 2])
        case Ending.PROBLEM:
            await exchange.write(_lines(script.problem, script))
        case Ending.CLOSE:
            return exchange.close()
        case Ending.RESET:
            return await exchange.reset()
        case Ending.HANG:
            await asyncio.Event().wait()
        case _:
            pass
    return await exchange.finish()
