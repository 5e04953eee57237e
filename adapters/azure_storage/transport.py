"""How Azure's libraries reach the network and come by tokens here: over the gateway's own connection and identity.

azure-core would bring aiohttp: another 100 ms of CPU at import, and a second pool of connections with its own habits.
azure-identity would cost 330 ms.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import httpx2
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport
from azure.core.rest import HttpRequest as AzureRequest
from azure.core.utils import case_insensitive_dict
from yarl import URL

from core.azure_openai.token_source import NoToken
from core.http import NOT_SENT, BodyTooLong, new_request, open_response, read_body
from core.storage.account import AccountKey, SharedAccess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from core.azure_openai.token_source import TokenSource
    from core.storage.account import StorageAccount

MAX_BYTES: Final = 16 << 20
"""Of an answer: a page has 4 MiB at most (Azure Table Storage docs, "query timeout and pagination"), before escapes."""


CONNECT_TIMEOUT: Final = httpx2.Timeout(None, connect=5.0, pool=5.0).as_dict()
"""In seconds: where storage cannot be reached by then, it is known that nothing was done. Who asks bounds the rest."""


class WholeResponse(AsyncHttpResponse):
    """An answer that has been read whole, in the form that Azure's libraries expect."""

    def __init__(self, request: Any, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(request, None)
        self.status_code = status
        self.reason = ""
        self.headers = case_insensitive_dict(headers)
        self.content_type = self.headers.get("content-type")
        self._body = body

    def body(self) -> bytes:
        """The whole body."""
        return self._body

    async def read(self) -> bytes:
        """The whole body, for those who know azure-core's newer responses only."""
        return self._body

    def stream_download(self, pipeline: Any, *, decompress: bool = True, **kwargs: Any) -> WholeBody:  # noqa: ARG002 -- azure-core's signature
        """The body once more, for those who would read it piece by piece."""
        return WholeBody(self)

    async def parts(self) -> AsyncIterator[WholeResponse]:
        """The answers to the changes of a transaction."""
        async for part in super().parts():
            yield WholeResponse(part.request, part.status_code, part.headers, part.body())


class WholeBody(AsyncIterator[bytes]):
    """What there is to download of an answer that has been read: all of it at once. The libraries hang things on it."""

    def __init__(self, response: WholeResponse) -> None:
        self.response = response
        self._pieces = iter((response.body(),))

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class AzureTransport(AsyncHttpTransport[AzureRequest, WholeResponse]):
    """azure-core's transport over httpx2's. It owns nothing: whoever made that one closes it."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport
        # azure-core writes a line with the address, and with the row's key in it, for every request.
        logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)

    async def send(self, request: AzureRequest, **_options: Any) -> WholeResponse:
        """Send a request and read the answer. Time is bounded by whoever asks.

        Raises ServiceRequestError where it was surely not sent, ServiceResponseError where it may have been.
        """
        try:
            async with open_response(self._transport, _request(request)) as response:
                body = await read_body(response, MAX_BYTES)
        except NOT_SENT as error:
            raise ServiceRequestError(type(error).__name__) from None
        except httpx2.RequestError as error:
            raise ServiceResponseError(type(error).__name__) from None
        except BodyTooLong as error:
            raise ServiceResponseError(str(error)) from None
        if "x-ms-request-id" not in response.headers:
            # Azure Storage gives every answer one (REST reference, "common response headers"). Its library would read
            # a proxy's page as if it were a row.
            raise ServiceResponseError(f"something else answered in its place, with status {response.status_code}")
        return WholeResponse(request, response.status_code, response.headers, body)

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def __aexit__(self, *_exception: object) -> None:
        """There is nothing to close."""


def _request(request: AzureRequest) -> httpx2.Request:
    body = request.content or b""
    return new_request(
        request.method,
        # The signature is made of the path as yarl writes it (azure-data-tables, SharedKeyCredentialPolicy).
        str(URL(request.url)),
        # How long the body is, the transport says.
        {name: value for name, value in request.headers.items() if name.lower() != "content-length"},
        body.encode() if isinstance(body, str) else bytes(body),
        timeout=CONNECT_TIMEOUT,
    )


class IdentityCredential:
    """The app's identity in the form that Azure's libraries expect. What it does not own, it does not close."""

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Give a token that is valid now; what it is for, its source knows. Raises ServiceRequestError."""
        try:
            token = await self._tokens.token()
        except NoToken as reason:
            raise ServiceRequestError(f"no token for it: {reason}") from None
        # Its source keeps and renews it. For azure-core it ends at once: it need not keep it a second time.
        return AccessToken(token.reveal(), expires_on=0)

    async def close(self) -> None:
        """There is nothing to close."""

    async def __aenter__(self) -> Self:
        """There is nothing to open."""
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """There is nothing to close."""


def library_credential(
    account: StorageAccount, tokens: TokenSource
) -> AzureNamedKeyCredential | AzureSasCredential | IdentityCredential:
    """An account's credential in the form that Azure's libraries expect."""
    match account.credential:
        case AccountKey(account=name, key=key):
            return AzureNamedKeyCredential(name, key.reveal())
        case SharedAccess(signature=signature):
            return AzureSasCredential(signature.reveal())
    return IdentityCredential(tokens)
