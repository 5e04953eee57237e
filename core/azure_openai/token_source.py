"""The port to Microsoft Entra tokens: what Azure OpenAI and Azure Storage accept in place of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from core.domain.secret import Secret

AZURE_OPENAI: Final = "https://ai.azure.com"
"""The resource of scope `https://ai.azure.com/.default` (Azure OpenAI docs, "managed identity")."""
STORAGE: Final = "https://storage.azure.com"
"""The resource of every storage account (Azure Storage docs, "authorize access with Microsoft Entra ID")."""


class NoToken(Exception):
    """There is no token; the message says why, for the log, and holds no secret."""


class TokenSource(Protocol):
    """Where tokens for one resource come from."""

    async def token(self) -> Secret:
        """Give a token that is valid now. Raises NoToken."""
        ...


class NoIdentity:
    """An app without a managed identity."""

    async def token(self) -> Secret:
        """There is none."""
        raise NoToken(
            "this app has no managed identity (IDENTITY_ENDPOINT is not set): assign one, or set a key"
            " (AZURE_OPENAI_API_KEY, or api_key in GATEWAY_CATALOGUE)"
        )
