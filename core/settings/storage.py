"""The storage account of the app: `AzureWebJobsStorage` or `AzureWebJobsStorage__…`, as the Functions host reads them.

A connection string goes before the others, as it does there (Azure Functions docs, "AzureWebJobsStorage"; its identity
form in "identity-based connections").
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from core.domain.secret import Secret
from core.domain.settings_error import SettingsError
from core.settings.environment import url
from core.storage.account import AccountKey, AppIdentity, SharedAccess, StorageAccount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.settings.environment import Environment

SETTING: Final = "AzureWebJobsStorage"

_SERVICES: Final = ("table", "blob", "queue")
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_PUBLIC_CLOUD: Final = "core.windows.net"
_IDENTITY_NAMES: Final = ("accountName", "tableServiceUri", "blobServiceUri", "queueServiceUri")
_ANY_CURE: Final = (
    "set it to the storage account's connection string, or set AzureWebJobsStorage__accountName for the app's identity"
)
_DEVELOPMENT: Final = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1"
)
"""What `UseDevelopmentStorage=true` stands for: the emulator's well-known account (Azure Storage docs, "connection
strings"). Its key is no secret."""


def read_storage(env: Environment) -> StorageAccount | None:
    """Read which storage account the gateway's state is stored in; None: in none. Raises SettingsError."""
    text = env.text(SETTING)
    if text is not None:
        return _parse_connection_string(text)
    if any(env.text(f"{SETTING}__{name}") for name in (*_IDENTITY_NAMES, "credential", "clientId")):
        return _read_identity(env)
    if is_in_azure(env):
        raise SettingsError(SETTING, "is not set, and in Azure the gateway's state must outlive a process", _ANY_CURE)
    return None


def is_in_azure(env: Environment) -> bool:
    """Whether this process runs in Azure Functions (App Service docs, "environment variables")."""
    return env.text("WEBSITE_INSTANCE_ID") is not None


def _parse_connection_string(text: str) -> StorageAccount:
    parts = _split(text)
    if "usedevelopmentstorage" in parts:
        if parts != {"usedevelopmentstorage": "true"}:
            raise SettingsError(
                SETTING, "has more than UseDevelopmentStorage=true", "leave out the rest (a proxy is not supported)"
            )
        parts = _split(_DEVELOPMENT)
    addresses = {service: _address(parts, service) for service in _SERVICES}
    if addresses["table"] is None:
        raise SettingsError(SETTING, "has no TableEndpoint and no AccountName", "add one of them")
    return StorageAccount(
        tables=addresses["table"],
        blobs=addresses["blob"],
        queues=addresses["queue"],
        credential=_credential(parts),
    )


def _split(text: str) -> Mapping[str, str]:
    """Split a connection string; the case of names does not matter, as in Azure's SDKs."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise SettingsError(SETTING, "is not a connection string (NAME=VALUE;NAME=VALUE)", _ANY_CURE)
        found[name.strip().lower()] = value.strip()
    return {name: value for name, value in found.items() if value}


def _address(parts: Mapping[str, str], service: str) -> str | None:
    given = parts.get(f"{service}endpoint")
    if given is None and "accountname" in parts:
        protocol = parts.get("defaultendpointsprotocol", "https")
        given = f"{protocol}://{parts['accountname']}.{service}.{parts.get('endpointsuffix', _PUBLIC_CLOUD)}"
    if given is None:
        return None
    cure = f"give https://HOST as its {service.capitalize()}Endpoint"
    return url(SETTING, given, cure=cure, path_allowed=True).rstrip("/")


def _credential(parts: Mapping[str, str]) -> AccountKey | SharedAccess:
    if "accountkey" in parts:
        try:
            base64.b64decode(parts["accountkey"], validate=True)
        except binascii.Error:
            raise SettingsError(
                SETTING, "has an AccountKey that is not base64", "copy the connection string again"
            ) from None
        if "accountname" not in parts:
            raise SettingsError(SETTING, "has an AccountKey but no AccountName", "copy the connection string again")
        return AccountKey(account=parts["accountname"], key=Secret(parts["accountkey"]))
    if "sharedaccesssignature" in parts:
        return SharedAccess(signature=Secret(parts["sharedaccesssignature"].removeprefix("?")))
    raise SettingsError(
        SETTING, "has neither an AccountKey nor a SharedAccessSignature", "copy the whole connection string"
    )


def _read_identity(env: Environment) -> StorageAccount:
    credential = env.text(f"{SETTING}__credential")
    if credential not in {None, "managedidentity"}:
        raise SettingsError(f"{SETTING}__credential", "is not managedidentity", "give managedidentity, or nothing")
    name = env.text(f"{SETTING}__accountName")
    if name is not None and not _ACCOUNT.fullmatch(name):
        raise SettingsError(
            f"{SETTING}__accountName",
            "is not a name",
            "give the account's name alone: 3 to 24 small letters and digits",
        )
    addresses = {service: _service_address(env, service, name) for service in _SERVICES}
    if addresses["table"] is None:
        raise SettingsError(
            f"{SETTING}__tableServiceUri", "is not set", f"set it, or {SETTING}__accountName for all three services"
        )
    if env.text("IDENTITY_ENDPOINT") is None or env.text("IDENTITY_HEADER") is None:
        raise SettingsError(
            f"{SETTING}__accountName" if name else f"{SETTING}__tableServiceUri",
            "is set, and this app has no managed identity",
            f"assign one; on your own machine set {SETTING} to a connection string, such as UseDevelopmentStorage=true",
        )
    # Without `credential` the host asks its default credential, which knows AZURE_CLIENT_ID.
    default = env.text("AZURE_CLIENT_ID") if credential is None else None
    return StorageAccount(
        tables=addresses["table"],
        blobs=addresses["blob"],
        queues=addresses["queue"],
        credential=AppIdentity(client_id=env.text(f"{SETTING}__clientId") or default),
    )


def _service_address(env: Environment, service: str, account: str | None) -> str | None:
    setting = f"{SETTING}__{service}ServiceUri"
    given = env.text(setting)
    if given is None:
        return None if account is None else f"https://{account}.{service}.{_PUBLIC_CLOUD}"
    cure = f"give https://HOST without a path, such as https://NAME.{service}.{_PUBLIC_CLOUD}"
    if not given.lower().startswith("https:"):
        raise SettingsError(setting, "is not https", f"{cure}: tokens go nowhere else")
    return url(setting, given, cure=cure).rstrip("/")
