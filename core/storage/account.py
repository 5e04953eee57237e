"""The storage account that every Functions app brings, as values: its addresses, and how the app shows who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from core.domain.secret import Secret


class AccountKey(Struct, frozen=True, kw_only=True):
    """One of the account's two keys."""

    account: str
    key: Secret
    """In base64."""


class SharedAccess(Struct, frozen=True, kw_only=True):
    """A shared access signature."""

    signature: Secret
    """Its query, without a question mark."""


class AppIdentity(Struct, frozen=True, kw_only=True):
    """The app's managed identity."""

    client_id: str | None
    """Of a user-assigned one; None: the system-assigned one."""


class StorageAccount(Struct, frozen=True, kw_only=True):
    """A storage account; an address is None where the settings name none, and ends without a slash."""

    tables: str | None
    blobs: str | None
    queues: str | None
    credential: AccountKey | SharedAccess | AppIdentity
