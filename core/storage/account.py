"""The storage account that every Functions app brings, as values: its addresses, and how the app shows who it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.contract.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKey:
    """One of the account's two keys."""

    account: str
    key: Secret
    """In base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAccess:
    """A shared access signature."""

    signature: Secret
    """Its query, without a question mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppIdentity:
    """The app's managed identity."""

    client_id: str | None
    """Of a user-assigned one; None: the system-assigned one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A storage account; an address is None where the settings name none, and ends without a slash."""

    tables: str | None
    blobs: str | None
    queues: str | None
    credential: AccountKey | SharedAccess | AppIdentity
