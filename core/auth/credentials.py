"""The one credential of a call, read from its headers (contract §2).

The same token may come as `Authorization: Bearer`, as `api-key` (Azure SDKs), `x-api-key` or `x-bf-vk`; older
Python SDKs send it twice. Different values leave open who is calling, so they are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.domain.errors import Unauthenticated
from core.domain.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_PREFIX: Final = "sk-bf-"
MAX_CREDENTIAL_CHARACTERS: Final = 16_384
"""Longer ones are refused unread: no key or JWT is nearly as long."""

_PLAIN: Final = frozenset({"api-key", "x-api-key", "x-bf-vk"})
_NOT_BEARER: Final = Secret("")


def read_credential(headers: Iterable[tuple[str, str]]) -> Secret:
    """Find the credential among the headers (names in lower case). Raises Unauthenticated (401)."""
    found: set[Secret] = set()
    for name, value in headers:
        if name in _PLAIN and value.strip():
            found.add(Secret(value.strip()))
        elif name == "authorization" and value.strip():
            scheme, _, token = value.strip().partition(" ")
            if scheme.lower() != "bearer":
                found.add(_NOT_BEARER)
            elif token.strip():
                found.add(Secret(token.strip()))
    if not found:
        raise Unauthenticated(
            "Send your key as Authorization: Bearer KEY, or in the header api-key", code="missing_credentials"
        )
    if len(found) > 1:
        raise Unauthenticated("Several headers carry different credentials; send one", code="ambiguous_credentials")
    credential = found.pop()
    if credential == _NOT_BEARER or len(credential.reveal()) > MAX_CREDENTIAL_CHARACTERS:
        raise invalid_credentials()
    return credential


def invalid_credentials() -> Unauthenticated:
    """Make the error for every credential that is not valid; it does not say why."""
    return Unauthenticated("The credentials are not valid", code="invalid_credentials")


def expired_credentials() -> Unauthenticated:
    """Make the error for a key or JWT that has expired."""
    return Unauthenticated("The credentials have expired", code="expired_credentials")
