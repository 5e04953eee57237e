"""The queues of a gateway over Azurite, and what the Functions host does with them, message by message."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.functions.queue import QueueMessage
from azure.storage.queue import QueueClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

FUNCTIONS = {
    "image-jobs": "run_job",
    "image-jobs-poison": "end_job",
    "image-requests": "take_request",
    "image-requests-poison": "end_request",
}
MOST_DELIVERIES = 5


class Mail:
    """What is in the queues. They are everybody's in an account, so a test begins with empty ones."""

    def __init__(self, connection_string: str, app: ModuleType | None = None) -> None:
        """`app` is `function_app.py`, whose functions take the messages; None: somebody else starts them."""
        self._account = connection_string
        builders = [] if app is None else app.app._function_builders
        built = [each._function for each in builders]  # get_functions can be called once only
        self._functions = {each.get_function_name(): each.get_user_function() for each in built}
        for queue in (*FUNCTIONS, "image-events"):
            with self._client(queue) as client, contextlib.suppress(ResourceNotFoundError):
                client.clear_messages()

    def send(self, queue: str, text: str, *, encoded: bool = True) -> None:
        """Put a message into a queue: as base64, as most tools do, or as it is."""
        with self._client(queue) as client:
            with contextlib.suppress(ResourceExistsError):
                client.create_queue()
            client.send_message(base64.b64encode(text.encode()).decode() if encoded else text)

    def read(self, queue: str) -> list[str]:
        """Take all messages out of a queue that can be seen, as whoever listens there reads them."""
        return [base64.b64decode(content).decode() for content in self.raw(queue)]

    def raw(self, queue: str) -> list[str]:
        """The same, as the Functions host hands them on."""
        return [message.content for message in self._taken(queue)]

    async def deliver(self) -> int:
        """Start the app's functions with each message that can be seen, until there is none; how many there were."""
        count = 0
        while messages := [(queue, message) for queue in FUNCTIONS for message in self._taken(queue)]:
            for queue, message in messages:
                count += 1
                await self._deliver(queue, message)
        return count

    async def _deliver(self, queue: str, message: QueueMessage) -> None:
        for delivery in range(1, MOST_DELIVERIES + 1):
            given = QueueMessage(id=message.id, body=message.content, dequeue_count=delivery, pop_receipt="1")
            with contextlib.suppress(Exception):  # as the host: a function that fails is started again
                await self._functions[FUNCTIONS[queue]](given)
                return
        self.send(f"{queue}-poison", message.content, encoded=False)

    def _taken(self, queue: str) -> Iterator[QueueMessage]:
        with self._client(queue) as client, contextlib.suppress(ResourceNotFoundError):
            for message in client.receive_messages(messages_per_page=32):
                client.delete_message(message)
                yield message

    def _client(self, queue: str) -> QueueClient:
        return QueueClient.from_connection_string(self._account, queue)
