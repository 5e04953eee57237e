"""Queues in Azure Storage, or Azurite: Microsoft's library, its calls in threads. Imported where there are any."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.queue import QueueClient

from localhost.messages import Message, NotOurs, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from azure.storage.queue import QueueMessage

T = TypeVar("T")

CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 10

_CODE: Final = "x-ms-error-code"
_NO_QUEUE: Final = "QueueNotFound"
_NOT_OURS: Final = frozenset({"MessageNotFound", "PopReceiptMismatch", _NO_QUEUE})
"""Codes of the REST reference, "Queue service error codes"."""


class StoredQueue:
    """A queue of a storage account (see messages.Queue)."""

    def __init__(self, connection_string: str, name: str, threads: Executor) -> None:
        """`threads` make the calls. Raises ValueError if the string is no connection string."""
        # It writes two paragraphs for each call, and here is a call every two seconds.
        logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
        self._client = QueueClient.from_connection_string(
            connection_string,
            name,
            retry_total=0,  # whoever calls tries again
            connection_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
        )
        self._threads = threads
        self.name = name
        self.account = self._client.url.partition("?")[0].rpartition("/")[0]
        """The address of the account's queues."""

    async def receive(self, count: int, seconds: int) -> list[Message]:
        """Take messages (see Queue.receive)."""
        try:
            return [_message(taken) for taken in await self._call(self._take, count, seconds)]
        except _Refused as refused:
            await self._made_or(refused)
            return []

    async def hide(self, message: Message, seconds: int) -> Message:
        """Make a message invisible, or visible (see Queue.hide)."""
        try:
            updated = await self._call(
                self._client.update_message, message.id, message.receipt, visibility_timeout=seconds
            )
        except _Refused as refused:
            raise refused.of_a_message() from None
        return replace(message, receipt=updated.pop_receipt or "", next_visible_on=updated.next_visible_on)

    async def delete(self, message: Message) -> None:
        """Take a message out of the queue (see Queue.delete)."""
        try:
            await self._call(self._client.delete_message, message.id, message.receipt)
        except _Refused as refused:
            raise refused.of_a_message() from None

    async def send(self, text: str) -> None:
        """Put a text into the queue (see Queue.send)."""
        try:
            await self._call(self._client.send_message, text)
        except _Refused as refused:
            await self._made_or(refused)
            await self._call(self._client.send_message, text)

    def _take(self, count: int, seconds: int) -> list[QueueMessage]:
        # The first page alone: going through all would ask again until there is nothing.
        pages = self._client.receive_messages(messages_per_page=count, visibility_timeout=seconds).by_page()
        return list(next(pages, ()))

    async def _made_or(self, refused: _Refused) -> None:
        """Make the queue where that is what was missing."""
        if refused.code != _NO_QUEUE:
            raise refused
        try:
            await self._call(self._client.create_queue)
        except _Refused as another:
            if another.code != "QueueAlreadyExists":
                raise

    async def _call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Call the library in a thread. Raises Unreachable, or _Refused, which is one with a code."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(function, *arguments, **options))
        except HttpResponseError as error:
            response: Any = error.response
            raise _Refused(error.status_code, "" if response is None else response.headers.get(_CODE, "")) from None
        except AzureError:
            raise Unreachable("cannot be reached") from None


class _Refused(Unreachable):
    """An answer that is an error."""

    def __init__(self, status: int | None, code: str) -> None:
        super().__init__(f"the answer is {status or 'not to be understood'} {code}".rstrip())
        self.code = code

    def of_a_message(self) -> Unreachable | NotOurs:
        """What it means where it was about a message."""
        return NotOurs() if self.code in _NOT_OURS else self


def _message(taken: QueueMessage) -> Message:
    return Message(
        id=taken.id,
        text=taken.content or "",
        receipt=taken.pop_receipt or "",
        dequeue_count=taken.dequeue_count or 0,
        inserted_on=taken.inserted_on,
        expires_on=taken.expires_on,
        next_visible_on=taken.next_visible_on,
    )
