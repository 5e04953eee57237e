"""What an error of Azure Table Storage means: for the port, and in words for whoever runs the gateway.

Codes are from the REST reference, "common REST API error codes" and "Table service error codes".
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError
from msgspec import Struct

from core.storage.tables import Changed, Exists

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

NO_TABLE: Final = "TableNotFound"
TABLE_IS_THERE: Final = "TableAlreadyExists"
OUTAGE_ENDS_SECONDS: Final = 300.0
"""Failures less than this apart are one outage."""

_CODE: Final = re.compile(r"""(?:"code"\s*:\s*"|<(?:m:)?code>)(\w+)""", re.IGNORECASE)
"""Errors are JSON, and XML where a door before the tables refuses."""
_EXISTS: Final = frozenset({"EntityAlreadyExists"})
_CHANGED: Final = frozenset({"UpdateConditionNotSatisfied", "ConditionNotMet", "ResourceNotFound", "EntityNotFound"})
_THROTTLED: Final = frozenset({"ServerBusy", "TooManyRequests"})

_CURES: Final = {
    "AuthorizationPermissionMismatch": "give the app's identity the role Storage Table Data Contributor on the"
    " storage account",
    "AuthorizationFailure": "let the app through the storage account's network rules, or give its shared access"
    " signature the right to read, add, update and delete table entities and to create tables",
    "AuthenticationFailed": "check the account's key or shared access signature in AzureWebJobsStorage: it may have"
    " been rotated, or have ended",
    "InvalidAuthenticationInfo": "check AzureWebJobsStorage: the storage account does not know these credentials",
    "NoAuthenticationInformation": "check AzureWebJobsStorage: the storage account was given no credentials",
    "KeyBasedAuthenticationNotPermitted": "the storage account takes no keys: set AzureWebJobsStorage__accountName and"
    " give the app's identity the role Storage Table Data Contributor on it",
    "AccountIsDisabled": "enable the storage account",
    "ServerBusy": "the storage account is throttled: wait, and look at its request and transaction metrics",
    "TooManyRequests": "the storage account is throttled: wait, and look at its request and transaction metrics",
}


class StorageError(Struct, frozen=True, kw_only=True):
    """Why a call failed that should not have."""

    message: str
    perhaps_done: bool
    """Whether a change may have been made all the same."""


def error_code(error: AzureError) -> str:
    """The code that an answer gave; empty where there was no answer, or none."""
    if not isinstance(error, HttpResponseError) or error.response is None:
        return ""
    found = _CODE.search(error.response.text())
    return found[1] if found else ""


def race_error(error: AzureError) -> Exists | Changed | None:
    """What it means for a change that its row was or was not there as expected; None: the error is another."""
    code = error_code(error)
    if code in _EXISTS:
        return Exists("the row is there already")
    if code in _CHANGED:
        return Changed("the row is not as it was read")
    return None


def describe_error(error: AzureError) -> StorageError:
    """Say what went wrong, and what to do about it."""
    if isinstance(error, ServiceRequestError):
        return StorageError(message=f"it cannot be reached ({error.message})", perhaps_done=False)
    if not isinstance(error, HttpResponseError):
        return StorageError(message=f"the connection to it broke ({error.message})", perhaps_done=True)
    code, status = error_code(error), error.status_code or 0
    cure = _CURES.get(code)
    return StorageError(
        message=f"it answered {status} {code}".rstrip() + (f": {cure}" if cure else ""),
        # What was refused was not done. Everything else may have been, a 500 for its time running out among them.
        perhaps_done=not 400 <= status < 500 and code not in _THROTTLED,
    )


class Outage:
    """Logs that the store fails: once for each outage and cause, not for each call."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._last_seen: dict[str, float] = {}

    def note(self, message: str) -> None:
        """Note a failure."""
        now = self._clock()
        before = self._last_seen.get(message)
        self._last_seen = {cause: at for cause, at in self._last_seen.items() if now - at < OUTAGE_ENDS_SECONDS}
        self._last_seen[message] = now
        if before is None or now - before >= OUTAGE_ENDS_SECONDS:
            self._log.error(message)
