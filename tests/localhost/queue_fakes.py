"""A queue in memory, and pauses that last until they are told to end."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field, replace

from localhost.messages import Message


def message(text: str = "", *, name: str = "m", tries: int = 1) -> Message:
    """A message that was taken for the `tries`-th time."""
    encoded = base64.b64encode(text.encode()).decode()
    return Message(id=name, text=encoded, receipt=f"{name}, taken", dequeue_count=tries)


@dataclass
class FakeQueue:
    """Gives what it holds, and writes down what it is told."""

    name: str = "orders"
    holds: list[Message] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """For how many messages."""
    told: list[tuple[object, ...]] = field(default_factory=list)
    fails_with: Exception | None = None
    gate: asyncio.Event | None = None
    """What taking messages waits for."""
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    has_failed: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, count: int, seconds: int) -> list[Message]:
        self.asked.append(count)
        self.was_asked.set()
        if self.gate is not None:
            await self.gate.wait()
        self._fail()
        given, self.holds = self.holds[:count], self.holds[count:]
        return given

    async def hide(self, message: Message, seconds: int) -> Message:
        self._fail()
        self.told.append(("hide", message.receipt, seconds))
        return replace(message, receipt=f"{message.id}, hidden {len(self.told)}")

    async def delete(self, message: Message) -> None:
        self._fail()
        self.told.append(("delete", message.receipt))

    async def send(self, text: str) -> None:
        self._fail()
        self.told.append(("send", text))

    def _fail(self) -> None:
        if self.fails_with is not None:
            self.has_failed.set()
            raise self.fails_with


class Pauses:
    """Stands in for sleep: each pause ends when the test says so."""

    def __init__(self) -> None:
        self._begun: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    async def __call__(self, seconds: float) -> None:
        over = asyncio.Event()
        self._begun.put_nowait((seconds, over))
        await over.wait()

    async def next(self) -> tuple[float, asyncio.Event]:
        """How long the next pause is that begins, and what ends it."""
        return await self._begun.get()
