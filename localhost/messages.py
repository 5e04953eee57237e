"""What a queue gives and takes, and how it fails: the port between polling and Azure Storage."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt

logger = logging.getLogger(__name__)


class Unreachable(Exception):
    """The queue cannot be asked now, and the message says why, in words that stay the same while the cause does."""


class NotOurs(Exception):
    """The message is no longer ours: it has become visible and somebody else has it, or it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that was taken from a queue, and is invisible to others for a while."""

    id: str
    text: str
    """As it is in the queue, not decoded."""
    receipt: str
    """What shows that the message is ours; each change of its invisibility gives another."""
    dequeue_count: int
    """How often it has been taken, this time included."""
    inserted_on: dt.datetime | None = None
    expires_on: dt.datetime | None = None
    next_visible_on: dt.datetime | None = None


class Queue(Protocol):
    """One queue. It is made when it is first asked. Every method raises Unreachable."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    async def receive(self, count: int, seconds: int) -> list[Message]:
        """Take up to `count` messages, and make them invisible to others for `seconds`."""
        ...

    async def hide(self, message: Message, seconds: int) -> Message:
        """Make a message invisible for `seconds` from now; 0: others may take it. Raises NotOurs."""
        ...

    async def delete(self, message: Message) -> None:
        """Take a message out of the queue for good. Raises NotOurs."""
        ...

    async def send(self, text: str) -> None:
        """Put a text into the queue, as it is."""
        ...


class Outage:
    """What keeps the queues of one account from being asked: said once for each cause, and once when all is well."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._causes: dict[str, str] = {}

    def begun(self, queue: str, cause: Unreachable) -> None:
        """Note that a queue could not be asked."""
        known = str(cause) in self._causes.values()
        self._causes[queue] = str(cause)
        if not known:
            logger.warning("The queues at %s: %s. It is tried again; HTTP functions go on.", self._address, cause)

    def ended(self, queue: str) -> None:
        """Note that a queue was asked."""
        if self._causes.pop(queue, None) is not None and not self._causes:
            logger.warning("The queues at %s answer again.", self._address)
