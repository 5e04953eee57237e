"""A line to a gateway on which a third of the connections drop, each at one of four moments, as a seed decides."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PIECE_BYTES: Final = 65_536
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")


class Fate(StrEnum):
    """What becomes of a connection."""

    GOES_THROUGH = "goes through"
    UNHEARD = "dropped before the gateway has heard of it"
    ASKED = "dropped as soon as the request has gone on"
    ANSWERED = "dropped when the answer begins"
    CUT = "dropped in the middle of the answer"


DROPPED: Final = (Fate.UNHEARD, Fate.ASKED, Fate.ANSWERED, Fate.CUT)
"""Each as likely as the others; together a third."""


class Line:
    """Carries one request and its answer on each connection, or not."""

    def __init__(self, url: str, seed: int) -> None:
        parts = urlsplit(url)
        self._gateway = parts.hostname, parts.port
        self._chance = random.Random(seed)  # noqa: S311 -- a run that can be repeated
        self.fates: Counter[Fate] = Counter()
        """How many connections there were of each."""

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what comes on one connection."""
        fate = self._chance.choice(DROPPED) if self._chance.random() < 1 / 3 else Fate.GOES_THROUGH
        self.fates[fate] += 1
        try:
            if fate is not Fate.UNHEARD:
                await self._speak(fate, reader, writer)
        except (OSError, EOFError):
            pass  # one side has gone, and with it the connection
        finally:
            writer.transport.abort()

    async def _speak(self, fate: Fate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        answer, gateway = await asyncio.open_connection(*self._gateway)
        try:
            gateway.write(request)
            await gateway.drain()
            if fate is not Fate.ASKED:
                answering = asyncio.ensure_future(_hand_on(fate, answer, writer))
                leaving = asyncio.ensure_future(reader.read())
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                for each in (answering, leaving):
                    each.cancel()
                await asyncio.gather(answering, leaving, return_exceptions=True)
        finally:
            gateway.transport.abort()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


async def _hand_on(fate: Fate, answer: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await answer.read(PIECE_BYTES):
        if fate is Fate.ANSWERED:
            return
        writer.write(piece if fate is Fate.GOES_THROUGH else piece[: len(piece) // 2])
        await writer.drain()
        if fate is Fate.CUT:
            return


@asynccontextmanager
async def dropping(url: str, *, seed: int) -> AsyncIterator[tuple[str, Line]]:
    """Run such a line on a free port; gives its URL, and the line."""
    line = Line(url, seed)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", line
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
