"""Microsoft Entra tokens of the app's managed identity.

In Azure Functions the platform offers them at `IDENTITY_ENDPOINT` (App Service docs, "REST endpoint reference",
api-version 2019-08-01): one HTTP call, where azure-identity would cost 330 ms at import.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import httpx2
import orjson
from msgspec import Struct

from core.azure_openai.token_source import AZURE_OPENAI, NoToken
from core.domain.secret import Secret
from core.http import BodyTooLong, new_request, open_response, read_body

if TYPE_CHECKING:
    from collections.abc import Callable

RENEWED_BEFORE_SECONDS: Final = 300.0
"""A token is renewed this long before it ends; until then an outage of the endpoint does no harm."""

_SECONDS_FOR_A_TOKEN: Final = 10.0
_MAX_BYTES: Final = 65_536


class _Token(Struct, frozen=True):
    value: Secret
    ends_at: float


class ManagedIdentity:
    """The app's managed identity; concurrent calls share one request for a token."""

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport,
        *,
        endpoint: str,
        header: Secret,
        client_id: str | None,
        time: Callable[[], float],
        resource: str = AZURE_OPENAI,
    ) -> None:
        """`client_id` names a user-assigned identity; `time` is the wall clock in Unix seconds."""
        query = {"resource": resource, "api-version": "2019-08-01"}
        if client_id:
            query["client_id"] = client_id
        self._url = f"{endpoint}?{urlencode(query)}"
        self._header = header
        self._transport = transport
        self._time = time
        self._token: _Token | None = None
        self._renewing: asyncio.Task[_Token] | None = None

    async def token(self) -> Secret:
        """Give a token that is valid now. Raises NoToken."""
        if (held := self._fresh(RENEWED_BEFORE_SECONDS)) is not None:
            return held
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renewed())
            self._renewing.add_done_callback(self._has_renewed)
        try:
            return (await asyncio.shield(self._renewing)).value
        except NoToken as failure:
            if (held := self._fresh(0)) is not None:
                return held
            raise NoToken(str(failure)) from None  # one of its own for each caller that shares the failure

    def _has_renewed(self, task: asyncio.Task[_Token]) -> None:
        self._renewing = None
        if not task.cancelled() and task.exception() is None:
            self._token = task.result()

    async def _renewed(self) -> _Token:
        try:
            async with asyncio.timeout(_SECONDS_FOR_A_TOKEN):
                token = await self._fetch()
        except TimeoutError:
            raise NoToken("the identity endpoint does not answer") from None
        if not token.ends_at > self._time():
            raise NoToken("the identity endpoint gives tokens that have ended")
        return token

    def _fresh(self, seconds: float) -> Secret | None:
        if self._token is not None and self._token.ends_at - self._time() > seconds:
            return self._token.value
        return None

    async def _fetch(self) -> _Token:
        request = new_request("GET", self._url, {"x-identity-header": self._header.reveal()})
        try:
            async with open_response(self._transport, request) as response:
                body = await read_body(response, _MAX_BYTES)
        except httpx2.RequestError as error:
            raise NoToken(f"the identity endpoint cannot be reached ({type(error).__name__})") from None
        except BodyTooLong:
            raise NoToken("the identity endpoint's answer cannot be read") from None
        if response.status_code != 200:
            raise NoToken(f"the identity endpoint answered {response.status_code}")
        try:
            answer = orjson.loads(body)
            value, ends_at = answer["access_token"], float(answer["expires_on"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise NoToken("the identity endpoint's answer cannot be read") from None
        if not isinstance(value, str) or not value:
            raise NoToken("the identity endpoint's answer holds no token")
        return _Token(Secret(value), ends_at)
