"""The port to queues: short texts, each of which starts another function of the app at least once.

Only sending is here: receiving is the Functions host's, which starts a queue-triggered function for each message.
"""

from __future__ import annotations

from typing import Final, Protocol

MAX_BYTES: Final = 48 * 1024
"""The longest message: 64 KiB as base64 (Azure Queue Storage docs, "scalability targets")."""


class Queue(Protocol):
    """One queue."""

    async def send(self, text: str, *, delay_seconds: float = 0.0) -> None:
        """Send a message of at most MAX_BYTES, to be delivered after so long.

        Raises `tables.StoreUnavailable`; it may be sent all the same.
        """
        ...


class Queues(Protocol):
    """The queues of one store."""

    def queue(self, name: str) -> Queue:
        """Give a queue by its name (lower-case letters, digits, dashes); it is made when it is first sent to."""
        ...
