"""Blobs in Azure Blob Storage, or Azurite. Imported when first used: its library costs a quarter of a second of CPU."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import logging
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import httpx2
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobSasPermissions, ContentSettings, generate_blob_sas
from azure.storage.blob.aio import BlobServiceClient

from adapters.azure_storage.errors import Outage, describe_error, error_code
from adapters.azure_storage.transport import CONNECT_TIMEOUT, AzureTransport, library_credential
from core.http import NOT_SENT, iterate_body, new_request
from core.storage.account import AccountKey, AppIdentity, SharedAccess
from core.storage.tables import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator

    from azure.storage.blob import UserDelegationKey
    from azure.storage.blob.aio import BlobClient

    from core.azure_openai.token_source import TokenSource
    from core.domain.image_json import Buffer
    from core.storage.account import StorageAccount

BLOCK_BYTES: Final = 4 << 20
"""What is sent, or fetched, at once, and so what a large blob takes in memory."""
CALL_SECONDS: Final = 30.0
"""For one block."""
CLOCKS_APART: Final = dt.timedelta(minutes=5)
"""A link works from a little before it was made, as clocks differ (Azure Storage docs, "best practices for SAS")."""
READING_TIME: Final = dt.timedelta(minutes=5)
"""How long the gateway gives itself to begin to read a blob."""
MAX_DELEGATION: Final = dt.timedelta(days=7)
"""REST reference, "Get User Delegation Key"."""

_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class AzureBlobs:
    """The port over the containers of one storage account."""

    def __init__(
        self,
        account: StorageAccount,
        transport: httpx2.AsyncBaseTransport,
        tokens: TokenSource,
        *,
        now: Callable[[], dt.datetime],
        prefix: str = "",
        seconds: float = CALL_SECONDS,
    ) -> None:
        """`tokens` are for storage, and used with an account of AppIdentity only; `prefix` stands before all names."""
        if account.blobs is None:
            raise ValueError("the account has no address of blobs")
        service = BlobServiceClient(
            account.blobs,
            credential=library_credential(account, tokens),
            transport=AzureTransport(transport),
            retry_total=0,
            permit_redirects=False,
        )
        self._transport = transport
        self._signer = _Signer(service, account, now)
        self._prefix = prefix
        self._calls = _StorageCalls(account.blobs, seconds)

    def container(self, name: str) -> AzureContainer:
        """Give a container by its name (see Blobs.container)."""
        return AzureContainer(self._prefix + name, self._signer, self._calls, self._transport)


class AzureContainer:
    """One container of an account; nobody but the gateway and who has a link can read it."""

    def __init__(self, name: str, signer: _Signer, calls: _StorageCalls, transport: httpx2.AsyncBaseTransport) -> None:
        self._name = name
        self._signer = signer
        self._calls = calls
        self._transport = transport

    async def put(
        self, name: str, pieces: Iterable[Buffer], *, content_type: str, expires_at: dt.datetime | None = None
    ) -> None:
        """Write a blob (see Container.put). `expires_at` is kept by a lifecycle rule of the account."""
        del expires_at
        client = self._client(name)
        settings = ContentSettings(content_type=content_type)
        staged: list[BlobBlock] = []
        blocks = _in_blocks(pieces)
        block = next(blocks, b"")
        if len(block) < BLOCK_BYTES:
            await self._made(
                lambda: client.upload_blob(block, length=len(block), overwrite=True, content_settings=settings)
            )
            return
        while block:
            await self._stage(client, block, staged)
            block = b""  # let go of, before the next one is gathered
            block = next(blocks, b"")
        await self._calls.bounded(lambda: client.commit_block_list(staged, content_settings=settings))

    async def get(self, name: str) -> AzureContent | None:
        """Begin to read a blob (see Container.get)."""
        client = self._client(name)
        try:
            properties = await self._calls.bounded(client.get_blob_properties)
            url = await self._signed(client, name, self._signer.now() + READING_TIME)
        except _NotFound:
            return None
        return AzureContent(
            url=url,
            size=properties.size,
            content_type=properties.content_settings.content_type or "application/octet-stream",
            calls=self._calls,
            transport=self._transport,
        )

    async def delete(self, name: str) -> None:
        """Delete a blob, if it is there."""
        try:
            await self._calls.bounded(self._client(name).delete_blob)
        except _NotFound:
            return

    async def link(self, name: str, *, expires_at: dt.datetime) -> str:
        """A URL that carries its own signature (see Container.link)."""
        if not self._signer.can_sign:
            # The app's own signature must not be handed on, and none can be made from it.
            raise StoreUnavailable(
                "links cannot be signed with a shared access signature: give AzureWebJobsStorage the account's key, or"
                " use the app's identity",
                perhaps_done=False,
            )
        return await self._signed(self._client(name), name, expires_at)

    async def _signed(self, client: BlobClient, name: str, expires_at: dt.datetime) -> str:
        if not self._signer.can_sign:
            return str(client.url)  # it carries the app's own signature
        signature = await self._calls.bounded(lambda: self._signer.signature(self._name, name, expires_at))
        return f"{client.url}?{signature}"

    def _client(self, name: str) -> BlobClient:
        return self._signer.service.get_blob_client(self._name, name)

    async def _stage(self, client: BlobClient, block: bytes, staged: list[BlobBlock]) -> None:
        block_id = base64.b64encode(b"%08d" % len(staged)).decode()
        await self._made(lambda: client.stage_block(block_id, block, length=len(block)))
        staged.append(BlobBlock(block_id))

    async def _made(self, write: Callable[[], Awaitable[Any]]) -> None:
        """Write, and make the container where it is not there yet."""
        try:
            await self._calls.bounded(write)
        except _NotFound:
            with suppress(_AlreadyExists):
                await self._calls.bounded(lambda: self._signer.service.create_container(self._name))
            await self._calls.bounded(write)


@dataclass(frozen=True, slots=True, kw_only=True)  # and no Struct, whose repr would show the signed URL
class AzureContent:
    """A blob that is being read, over the gateway's own connection: its pieces are handed on as they come."""

    url: str = field(repr=False)
    size: int
    content_type: str
    calls: _StorageCalls
    transport: httpx2.AsyncBaseTransport

    async def pieces(self) -> AsyncGenerator[Buffer]:
        """Its bytes as they come. Raises StoreUnavailable."""
        request = new_request("GET", self.url, {}, timeout=CONNECT_TIMEOUT)
        response = await self.calls.bounded(lambda: self.transport.handle_async_request(request))
        try:
            if response.status_code != 200:
                self.calls.fail(f"it answered {response.status_code} to reading a blob", perhaps_done=False)
            async with aclosing(iterate_body(response)) as pieces:
                while (piece := await self.calls.bounded(lambda: anext(pieces, None))) is not None:
                    yield piece
        finally:
            await response.aclose()


class _NotFound(Exception):
    """The blob or its container is not there."""


class _AlreadyExists(Exception):
    """The container is there already."""


class _StorageCalls:
    """Bounds calls in time, and turns what Azure's library raises into StoreUnavailable."""

    def __init__(self, address: str, seconds: float) -> None:
        self._address = address
        self._seconds = seconds
        self._outage = Outage(_log)

    async def bounded(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Call, within the time for it."""
        with self._store_errors():
            async with asyncio.timeout(self._seconds):
                return await call()

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except ResourceNotFoundError:
            raise _NotFound from None
        except httpx2.RequestError as error:
            words = f"the connection to it broke ({type(error).__name__})"
            self.fail(words, perhaps_done=not isinstance(error, NOT_SENT))
        except TimeoutError:
            self.fail(f"it does not answer within {self._seconds:g} s", perhaps_done=True)
        except AzureError as error:
            if isinstance(error, HttpResponseError) and error_code(error) == "ContainerAlreadyExists":
                raise _AlreadyExists from None
            storage_error = describe_error(error)
            self.fail(storage_error.message, perhaps_done=storage_error.perhaps_done)

    def fail(self, message: str, *, perhaps_done: bool) -> NoReturn:
        """Tell the operator, and raise StoreUnavailable."""
        message = f"Azure Blob Storage at {self._address}: {message}"
        self._outage.note(message)
        raise StoreUnavailable(message, perhaps_done=perhaps_done) from None


class _Signer:
    """Signs links: with the account's key, or with a key that the app's identity is given for some hours."""

    def __init__(self, service: BlobServiceClient, account: StorageAccount, now: Callable[[], dt.datetime]) -> None:
        self.service = service
        self._credential = account.credential
        self.now = now
        self._delegation: tuple[UserDelegationKey, dt.datetime] | None = None

    @property
    def can_sign(self) -> bool:
        return not isinstance(self._credential, SharedAccess)

    async def signature(self, container: str, blob: str, expires_at: dt.datetime) -> str:
        """The query that lets anybody read one blob until then."""
        match self._credential:
            case AccountKey(account=account, key=key):
                with_key: dict[str, Any] = {"account_key": key.reveal()}
            case AppIdentity():
                account = self.service.account_name or ""
                with_key = {"user_delegation_key": await self._delegation_key(expires_at)}
            case SharedAccess():
                raise AssertionError("nothing can be signed with a shared access signature")
        return generate_blob_sas(
            account,
            container,
            blob,
            permission=BlobSasPermissions(read=True),
            start=self.now() - CLOCKS_APART,
            expiry=expires_at,
            protocol="https" if self.service.url.startswith("https:") else "https,http",
            **with_key,
        )

    async def _delegation_key(self, until: dt.datetime) -> UserDelegationKey:
        """A key that is valid until then; it is asked for with hours to spare, so that one serves many links."""
        if self._delegation is None or self._delegation[1] < until:
            now = self.now()
            end = min(until + (until - now), now + MAX_DELEGATION)
            key = await self.service.get_user_delegation_key(now - CLOCKS_APART, end)
            self._delegation = key, end
        return self._delegation[0]


def _in_blocks(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """The same bytes in blocks of BLOCK_BYTES, the last one shorter."""
    gathered, size = list[memoryview](), 0
    for piece in pieces:
        view = memoryview(piece)
        while size + len(view) >= BLOCK_BYTES:
            cut = BLOCK_BYTES - size
            block = b"".join((*gathered, view[:cut]))
            gathered.clear()
            size, view = 0, view[cut:]
            yield block
            del block
        gathered.append(view)
        size += len(view)
    if gathered:
        yield b"".join(gathered)
