"""Where state is kept: what `AzureWebJobsStorage` may say, and errors that name the setting and the cure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from adapters.bootstrap import FUNCTION_SECONDS, list_warnings
from core.domain.secret import Secret
from core.domain.settings_error import SettingsError
from core.settings.environment import Environment
from core.settings.settings import read_settings
from core.settings.storage import read_storage
from core.storage.account import AccountKey, AppIdentity, SharedAccess, StorageAccount
from tests.house import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "doNotShowThisAnywhere0123456789ABCD+/w=="
ACCOUNT = f"AccountName=mine;AccountKey={KEY}"
SAS = "sv=2022-11-02&sig=do-not-show-this-anywhere"
STORED = {"AZURE_OPENAI_ENDPOINT": "https://one.openai.azure.com", "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
IDENTITY = {"IDENTITY_ENDPOINT": "http://127.0.0.1:41/token", "IDENTITY_HEADER": "header"}


def read(connection_string: str | None = None, **parts: str) -> StorageAccount | None:
    """Read the account of a connection string, or of settings whose names go on after `AzureWebJobsStorage__`."""
    given = {} if connection_string is None else {"AzureWebJobsStorage": connection_string}
    return read_storage(
        Environment({**given, **{f"AzureWebJobsStorage__{name}": part for name, part in parts.items()}})
    )


def by_identity(variables: Mapping[str, str] = IDENTITY, **parts: str) -> StorageAccount | None:
    """Read the account of an app that has a managed identity."""
    named = {f"AzureWebJobsStorage__{name}": part for name, part in parts.items()}
    return read_storage(Environment({**variables, **named}))


def message(error: pytest.ExceptionInfo[SettingsError]) -> str:
    """What an operator sees, and no secret in it."""
    for secret in (KEY, "do-not-show"):
        assert secret not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------------ connection strings


def test_an_accounts_key() -> None:
    """The addresses follow from the account's name, as the portal's connection string means it."""
    found = read(f"DefaultEndpointsProtocol=https;{ACCOUNT};EndpointSuffix=core.windows.net")
    assert (
        StorageAccount(
            tables="https://mine.table.core.windows.net",
            blobs="https://mine.blob.core.windows.net",
            queues="https://mine.queue.core.windows.net",
            credential=AccountKey(account="mine", key=Secret(KEY)),
        )
        == found
    )


def test_another_cloud() -> None:
    """Its suffix is used; https is the default."""
    found = read(f"{ACCOUNT};EndpointSuffix=core.chinacloudapi.cn")
    assert "https://mine.table.core.chinacloudapi.cn" == found.tables


def test_addresses_of_their_own() -> None:
    """They go before the account's name, each for its service; one slash at the end is one too many."""
    found = read(f"{ACCOUNT};TableEndpoint=https://tables.example/;BlobEndpoint=https://blobs.example/path")
    assert "https://tables.example" == found.tables
    assert "https://blobs.example/path" == found.blobs
    assert "https://mine.queue.core.windows.net" == found.queues


@pytest.mark.parametrize("mark", ["", "?"])
def test_a_shared_access_signature(mark) -> None:
    """With or without its question mark; what has no address is not there."""
    found = read(f"TableEndpoint=https://mine.table.core.windows.net;SharedAccessSignature={mark}{SAS}")
    assert SharedAccess(signature=Secret(SAS)) == found.credential
    assert (None, None) == (found.blobs, found.queues)


def test_the_emulator() -> None:
    """`UseDevelopmentStorage=true` is Azurite on its usual ports."""
    found = read("UseDevelopmentStorage=true")
    assert "http://127.0.0.1:10002/devstoreaccount1" == found.tables
    assert "http://127.0.0.1:10000/devstoreaccount1" == found.blobs
    assert "http://127.0.0.1:10001/devstoreaccount1" == found.queues
    assert "devstoreaccount1" == found.credential.account


def test_names_in_any_case_and_blanks_between() -> None:
    """A connection string is read as Azure's own SDKs read it."""
    assert read(ACCOUNT) == read(f" ACCOUNTNAME = mine ; accountkey={KEY} ;; ")
    assert read("UseDevelopmentStorage=true") == read("usedevelopmentstorage=true;")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("mine", "is not a connection string"),
        (f"{ACCOUNT};=x", "is not a connection string"),
        ("AccountName=mine", "neither an AccountKey nor a SharedAccessSignature"),
        ("AccountName=mine;AccountKey=", "neither an AccountKey nor a SharedAccessSignature"),
        (f"AccountKey={KEY}", "no TableEndpoint and no AccountName"),
        (f"AccountKey={KEY};TableEndpoint=https://mine.example", "an AccountKey but no AccountName"),
        ("AccountName=mine;AccountKey=do-not-show!", "an AccountKey that is not base64"),
        (f"BlobEndpoint=https://mine.example;SharedAccessSignature={SAS}", "no TableEndpoint and no AccountName"),
        (f"{ACCOUNT};DefaultEndpointsProtocol=http", "is not https"),
        (f"{ACCOUNT};TableEndpoint=http://192.168.0.7:10002/mine", "is not https"),
        (f"{ACCOUNT};TableEndpoint=mine.example", "is not a plain URL"),
        (f"{ACCOUNT};QueueEndpoint=ftp://mine.example", "is not https"),
        ("UseDevelopmentStorage=false", "more than UseDevelopmentStorage=true"),
        ("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://proxy", "a proxy is not supported"),
    ],
)
def test_a_wrong_connection_string(text, wrong) -> None:
    """The error says what is wrong with it, and shows nothing of it."""
    with pytest.raises(SettingsError) as error:
        read(text)
    assert message(error).startswith("AzureWebJobsStorage ")
    assert wrong in message(error)


def test_http_on_this_machine() -> None:
    """Azurite on other ports is welcome."""
    assert "http://127.0.0.1:4711/mine" == read(f"{ACCOUNT};TableEndpoint=http://127.0.0.1:4711/mine").tables


# ------------------------------------------------------------------------------------------------ identities


def test_an_accounts_name() -> None:
    """It gives the addresses of all three services in the public cloud; the identity is the app's own."""
    assert StorageAccount(
        tables="https://mine.table.core.windows.net",
        blobs="https://mine.blob.core.windows.net",
        queues="https://mine.queue.core.windows.net",
        credential=AppIdentity(client_id=None),
    ) == by_identity(accountName="mine")


def test_service_addresses() -> None:
    """Those that are named; they go before the account's name."""
    found = by_identity(tableServiceUri="https://tables.example/", blobServiceUri="https://blobs.example")
    assert ("https://tables.example", "https://blobs.example", None) == (found.tables, found.blobs, found.queues)
    found = by_identity(accountName="mine", queueServiceUri="https://queues.example")
    assert ("https://mine.table.core.windows.net", "https://queues.example") == (found.tables, found.queues)


@pytest.mark.parametrize(
    ("parts", "default", "expected"),
    [
        ({"credential": "managedidentity"}, None, None),
        ({"credential": "managedidentity", "clientId": "mine"}, "other", "mine"),
        ({"clientId": "mine"}, "other", "mine"),
        ({"credential": "managedidentity"}, "other", None),
        ({}, "other", "other"),
    ],
)
def test_which_identity(parts, default, expected) -> None:
    """As in the Functions host: `clientId`, else with `credential` the system's, else AZURE_CLIENT_ID's."""
    variables = IDENTITY if default is None else {**IDENTITY, "AZURE_CLIENT_ID": default}
    assert AppIdentity(client_id=expected) == by_identity(variables, accountName="mine", **parts).credential


@pytest.mark.parametrize(
    ("parts", "setting", "wrong"),
    [
        ({"credential": "workloadidentity", "accountName": "mine"}, "credential", "give managedidentity"),
        ({"accountName": "https://mine"}, "accountName", "the account's name alone"),
        ({"accountName": "Mine"}, "accountName", "3 to 24 small letters and digits"),
        ({"credential": "managedidentity"}, "tableServiceUri", "is not set"),
        ({"clientId": "mine"}, "tableServiceUri", "is not set"),
        ({"blobServiceUri": "https://mine.example"}, "tableServiceUri", "is not set"),
        ({"tableServiceUri": "http://127.0.0.1:10002"}, "tableServiceUri", "is not https"),
        ({"tableServiceUri": "mine.example"}, "tableServiceUri", "is not https"),
        ({"tableServiceUri": "https://mine.example/path"}, "tableServiceUri", "has a path or query"),
        ({"tableServiceUri": f"https://mine.example?{SAS}"}, "tableServiceUri", "has a path or query"),
        ({"accountName": "mine", "blobServiceUri": "https://"}, "blobServiceUri", "is not a plain URL"),
    ],
)
def test_wrong_parts(parts, setting, wrong) -> None:
    """The error names the very setting."""
    with pytest.raises(SettingsError) as error:
        by_identity(**parts)
    assert f"AzureWebJobsStorage__{setting}" == error.value.setting
    assert wrong in message(error)


@pytest.mark.parametrize("missing", [{"IDENTITY_ENDPOINT"}, {"IDENTITY_HEADER"}, IDENTITY.keys()], ids=sorted)
@pytest.mark.parametrize("parts", [{"accountName": "mine"}, {"tableServiceUri": "https://mine.example"}])
def test_an_app_without_an_identity(parts, missing) -> None:
    """It is told so at the start, with what to do on one's own machine."""
    variables = {name: value for name, value in IDENTITY.items() if name not in missing}
    with pytest.raises(SettingsError, match="no managed identity") as error:
        by_identity(variables, **parts)
    assert f"AzureWebJobsStorage__{next(iter(parts))}" == error.value.setting
    assert "UseDevelopmentStorage=true" in message(error)


def test_a_connection_string_goes_before_an_identity() -> None:
    """As in the Functions host, which keeps its own state in the same account."""
    assert read(ACCOUNT) == read(ACCOUNT, accountName="other")


# ------------------------------------------------------------------------------------------------ none


@pytest.mark.parametrize("text", [None, "", "  "])
def test_nothing_set(text) -> None:
    """State is kept in this process, which the start says."""
    assert read(text) is None
    settings = read_settings({"AZURE_OPENAI_ENDPOINT": "https://one.openai.azure.com"})
    assert settings.storage is None
    assert "in this process only" in list_warnings(settings)[0]
    assert "set AzureWebJobsStorage" in list_warnings(settings)[0]


def test_something_set() -> None:
    """The start says nothing of it."""
    settings = read_settings(
        {"AZURE_OPENAI_ENDPOINT": "https://one.openai.azure.com", "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    )
    assert settings.storage == read("UseDevelopmentStorage=true")
    assert not [line for line in list_warnings(settings) if "AzureWebJobsStorage" in line]


def test_nothing_set_in_azure() -> None:
    """There an app has more than one process, and each ends now and then: it refuses to start."""
    with pytest.raises(SettingsError) as error:
        read_storage(Environment({"WEBSITE_INSTANCE_ID": "0123"}))
    assert "AzureWebJobsStorage" == error.value.setting
    assert "connection string" in message(error)


def test_the_host_gives_a_job_its_time():
    """`functionTimeout` of host.json is what the gateway takes it for, and the default of a job fits into it."""
    hours, minutes, seconds = json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":")
    assert FUNCTION_SECONDS == int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    assert not [line for line in list_warnings(read_settings(STORED)) if "functionTimeout" in line]


def test_a_job_that_may_take_longer_than_its_function_is_told():
    """Its outcome would be unknown."""
    settings = read_settings({**STORED, "GATEWAY_JOB_SECONDS": "1021"})
    assert "set GATEWAY_JOB_SECONDS to 1020 or less" in list_warnings(settings)[-1]
