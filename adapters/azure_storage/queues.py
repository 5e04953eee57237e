"""Queues in Azure Queue Storage, or Azurite. Imported when first used."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from adapters.azure_storage.errors import Outage, describe_error, error_code
from adapters.azure_storage.transport import AzureTransport, library_credential
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    import httpx2

    from core.azure_openai.token_source import TokenSource
    from core.storage.account import StorageAccount

CALL_SECONDS: Final = 5.0
_log: Final = logging.getLogger(__name__)


class AzureQueues:
    """The port over the queues of one storage account."""

    def __init__(
        self,
        account: StorageAccount,
        transport: httpx2.AsyncBaseTransport,
        tokens: TokenSource,
        *,
        prefix: str = "",
        seconds: float = CALL_SECONDS,
    ) -> None:
        """`tokens` are for storage, and used with an account of AppIdentity only; `prefix` stands before all names."""
        if account.queues is None:
            raise ValueError("the account has no address of queues")
        self._address = account.queues
        self._credential = library_credential(account, tokens)
        self._transport = AzureTransport(transport)
        self._prefix = prefix
        self._seconds = seconds
        self._outage = Outage(_log)

    def queue(self, name: str) -> AzureQueue:
        """Give a queue by its name (see Queues.queue)."""
        client = QueueClient(
            self._address,
            self._prefix + name,
            credential=self._credential,
            transport=self._transport,
            retry_total=0,
            permit_redirects=False,
            message_encode_policy=TextBase64EncodePolicy(),  # the Functions host reads messages so by default
        )
        return AzureQueue(client, self._seconds, self._outage)


class AzureQueue:
    """One queue of an account."""

    def __init__(self, client: QueueClient, seconds: float, outage: Outage) -> None:
        self._client = client
        self._seconds = seconds
        self._outage = outage

    async def send(self, text: str, *, delay_seconds: float = 0.0) -> None:
        """Send a message (see Queue.send)."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._sent(text, math.ceil(delay_seconds))
        except TimeoutError:
            message, perhaps_done = f"it does not answer within {self._seconds:g} s", True
        except AzureError as error:
            storage_error = describe_error(error)
            message, perhaps_done = storage_error.message, storage_error.perhaps_done
        else:
            return
        message = f"Azure Queue Storage at {self._client.url.partition('?')[0]}: {message}"
        self._outage.note(message)
        raise StoreUnavailable(message, perhaps_done=perhaps_done)

    async def _sent(self, text: str, delay: int) -> None:
        try:
            await self._client.send_message(text, visibility_timeout=delay, time_to_live=-1)
        except ResourceNotFoundError:
            try:
                await self._client.create_queue()
            except HttpResponseError as error:
                if error_code(error) != "QueueAlreadyExists":
                    raise
            await self._client.send_message(text, visibility_timeout=delay, time_to_live=-1)
