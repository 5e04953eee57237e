"""The settings: their defaults, what is legal, and errors that name the setting and the cure."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.bootstrap import list_warnings
from core.deployments.families import FAMILIES, Awake
from core.domain.limits import UNLIMITED, Budget, BudgetWindow, Limits, Rate
from core.domain.secret import Secret
from core.domain.settings_error import SettingsError, SeveralSettingsErrors
from core.settings import catalogue_json
from core.settings.environment import Environment, endpoint
from core.settings.settings import JwtSettings, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from core.deployments.catalogue import Target
    from core.settings.settings import Settings

HOST = "https://one.openai.azure.com"
OTHER = "https://two.openai.azure.com"
PASSWORD = "do-not-show-this-anywhere-0123456789"
HASH = "0123456789abcdef" * 4


def read(**variables: Any) -> Settings:
    """Read settings; AZURE_OPENAI_ENDPOINT is filled in, `None` takes one away, and what is no text becomes JSON."""
    given = {"AZURE_OPENAI_ENDPOINT": HOST, **variables}
    return read_settings(
        {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in given.items()
            if value is not None
        }
    )


def wrong(**variables: Any) -> SettingsError:
    """The error of settings that are wrong."""
    with pytest.raises(SettingsError) as error:
        read(**variables)
    message = str(error.value)
    assert PASSWORD not in message
    return error.value


def catalogue(**deployments: Any) -> dict[str, Any]:
    """The text of GATEWAY_CATALOGUE."""
    return {"deployments": deployments}


def targets(**variables: Any) -> list[Target]:
    """All targets of some settings."""
    return list(read(**variables).catalogue.targets())


def target(entry: dict[str, Any], **variables: Any) -> Target:
    """The one target of a catalogue's one deployment, `mine`."""
    (only,) = targets(GATEWAY_CATALOGUE=catalogue(mine={"targets": [entry]}), **variables)
    return only


# ------------------------------------------------------------------------------------------------ defaults


def test_defaults() -> None:
    """With an endpoint and nothing else, the rest has its default, and nobody may call."""
    found = read()
    assert (220, 200) == (found.limits.call, found.limits.attempt)
    assert (5, 10, 30) == (found.timeouts.connect, found.heartbeat_seconds, found.key_cache_seconds)
    assert (2, False) == (found.policy.max_retries, found.policy.fallback_on_refusal)
    assert ((), None, None) == (found.keys, found.jwt, found.identity)
    (only,) = found.catalogue.targets()
    assert (HOST, "2025-04-01-preview", None) == (only.endpoint, only.api_version(None), only.key)


def test_nothing_set() -> None:
    """With nothing set at all the gateway does not start, and says what to set."""
    error = wrong(AZURE_OPENAI_ENDPOINT=None)
    assert "AZURE_OPENAI_ENDPOINT" == error.setting
    assert str(error).endswith("such as https://NAME.openai.azure.com")


EMPTY = [
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_API_VERSION",
    "GATEWAY_CATALOGUE",
    "GATEWAY_VIRTUAL_KEYS",
    "GATEWAY_JWT_SECRET",
    "GATEWAY_JWT_PUBLIC_KEY",
    "GATEWAY_JWT_JWKS_URL",
    "GATEWAY_JWT_ISSUER",
    "GATEWAY_JWT_AUDIENCE",
    "GATEWAY_DEADLINE_SECONDS",
    "GATEWAY_ATTEMPT_SECONDS",
    "GATEWAY_CONNECT_SECONDS",
    "GATEWAY_HEARTBEAT_SECONDS",
    "GATEWAY_KEY_CACHE_SECONDS",
    "GATEWAY_MAX_RETRIES",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "AZURE_CLIENT_ID",
]


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("text", ["", "  ", "\n"], ids=ascii)
def test_empty_means_not_set(name: str, text: str) -> None:
    """A setting that is empty or blank is as one that is not there."""
    assert read() == read(**{name: text})


def test_other_variables_do_not_matter() -> None:
    """What else stands in the environment is not looked at."""
    assert read() == read(PATH="/bin", GATEWAY="x", OPENAI_API_KEY=PASSWORD, AZURE_OPENAI_ENDPOINT_2="x")


def test_secrets_are_not_shown() -> None:
    """Nothing of a secret is seen in the settings' own text."""
    found = read(
        AZURE_OPENAI_API_KEY=PASSWORD,
        GATEWAY_JWT_SECRET=PASSWORD,
        GATEWAY_JWT_ISSUER="i",
        GATEWAY_JWT_AUDIENCE="a",
        IDENTITY_ENDPOINT="http://127.0.0.1:1/token",
        IDENTITY_HEADER=PASSWORD,
        GATEWAY_CATALOGUE=catalogue(a={"targets": [{"endpoint": OTHER, "api_key": "env:TWO"}]}),
        TWO=PASSWORD,
    )
    assert PASSWORD not in repr(found)
    assert [Secret(PASSWORD)] == [each.key for each in found.catalogue.targets()]


# ------------------------------------------------------------------------------------------------ numbers

SECONDS = [
    "GATEWAY_DEADLINE_SECONDS",
    "GATEWAY_ATTEMPT_SECONDS",
    "GATEWAY_CONNECT_SECONDS",
    "GATEWAY_HEARTBEAT_SECONDS",
    "GATEWAY_KEY_CACHE_SECONDS",
]


def seconds_of(found: Settings) -> dict[str, float]:
    """The times, by their settings."""
    times = (
        *(found.limits.call, found.limits.attempt, found.timeouts.connect, found.heartbeat_seconds),
        found.key_cache_seconds,
    )
    return dict(zip(SECONDS, times, strict=True))


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("0.001", 0.001), (" 7.5 ", 7.5), ("3600", 3600), ("1e2", 100), ("3600.0", 3600)]
)
def test_seconds(name: str, text: str, value: float) -> None:
    """Times are seconds, more than 0 and at most 3600, and each setting sets its own."""
    assert {**seconds_of(read()), name: value} == seconds_of(read(**{name: text}))


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize(
    "text", ["0", "-0", "-1", "3600.001", "nan", "inf", "-inf", "1e400", "ten", "10s", "1,5", "0x10", "10 20", "true"]
)
def test_wrong_seconds(name: str, text: str) -> None:
    """Anything else is an error that names the setting and what to give."""
    expected = f"{name} is not a number in its range: give seconds, more than 0 and at most 3600"
    assert expected == str(wrong(**{name: text}))


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("10", 10), ("007", 7), (" 3 ", 3)])
def test_retries(text: str, value: int) -> None:
    """Retries are a whole number from 0 to 10."""
    assert value == read(GATEWAY_MAX_RETRIES=text).policy.max_retries


@pytest.mark.parametrize(
    "text",
    ["11", "-1", "+1", "1.0", "1e0", "two", "\u00b2", "\u0663", "1_0", "0x1", "true", "9" * 5000],
    ids=lambda t: t[:9],
)
def test_wrong_retries(text: str) -> None:
    """Anything else is an error that names the setting and what to give."""
    error = wrong(GATEWAY_MAX_RETRIES=text)
    assert "GATEWAY_MAX_RETRIES" == error.setting
    assert str(error).endswith("give a whole number from 0 to 10")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("FALSE", False), (" true ", True)])
def test_switch(text: str, value: bool) -> None:
    """A switch is true or false, in any case."""
    assert value is read(GATEWAY_FALLBACK_ON_REFUSAL=text).policy.fallback_on_refusal


@pytest.mark.parametrize("text", ["1", "yes", "on", "truee", "t"])
def test_wrong_switch(text: str) -> None:
    """Anything else is an error, never quietly off or on."""
    expected = "GATEWAY_FALLBACK_ON_REFUSAL is neither true nor false: give true or false"
    assert expected == str(wrong(GATEWAY_FALLBACK_ON_REFUSAL=text))


# ------------------------------------------------------------------------------------------------ endpoints


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (HOST, HOST),
        (f"{HOST}/", HOST),
        (f"  {HOST}  ", HOST),
        ("https://h", "https://h"),
        ("https://h:8443", "https://h:8443"),
        ("https://10.0.0.4", "https://10.0.0.4"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_endpoint(text: str, kept: str) -> None:
    """An endpoint is https, or http on this machine, and loses its last slash."""
    assert [kept] == [each.endpoint for each in targets(AZURE_OPENAI_ENDPOINT=text)]
    assert kept == target({"endpoint": text.strip()}).endpoint


WRONG_ENDPOINTS = [
    "one.openai.azure.com",
    "//one.openai.azure.com",
    "https://",
    "https:///path",
    "https:one.openai.azure.com",
    "ftp://h",
    "file:///etc/passwd",
    "http://one.openai.azure.com",
    "http://0.0.0.0",
    "http://169.254.169.254",
    "http://10.0.0.4",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "http://2130706433",
    "https://h/openai",
    "https://h//",
    "https://h?x=1",
    "https://h?",
    "https://h/?",
    "https://h#",
    "https://h#x",
    f"https://user:{PASSWORD}@h",
    f"https://{PASSWORD}@h",
    "https://@h",
    "https://h:99999",
    "https://h:port",
    "https://[::1",
    "https://a b",
    "https://a\tb",
    "https://a\nb",
    "https://h\\x",
    "https://h%2f",
    "https://h, https://i",
    "https://h\u2028i",
]


@pytest.mark.parametrize("text", WRONG_ENDPOINTS, ids=ascii)
def test_wrong_endpoint(text: str) -> None:
    """Anything else is an error that names the setting and shows a good endpoint, but never this one."""
    error = wrong(AZURE_OPENAI_ENDPOINT=text)
    assert "AZURE_OPENAI_ENDPOINT" == error.setting
    assert "give https://HOST without a path, such as https://NAME.openai.azure.com" in str(error)


@pytest.mark.parametrize("text", ["", *WRONG_ENDPOINTS], ids=ascii)
def test_wrong_endpoint_of_a_target(text: str) -> None:
    """The same holds for a target's own, whose place in the catalogue is named."""
    error = wrong(GATEWAY_CATALOGUE=catalogue(mine={"targets": [{}, {"endpoint": text}]}))
    assert "GATEWAY_CATALOGUE: deployments.mine.targets[1].endpoint" == error.setting


@pytest.mark.parametrize("text", ["https://i/jwks", "https://i/a/b?v=1", "http://127.0.0.1:1/jwks", "https://i/jwks/"])
def test_jwks_url(text: str) -> None:
    """The URL of a JWKS may have a path and a query, and is asked for as it was given."""
    found = read(GATEWAY_JWT_JWKS_URL=text, GATEWAY_JWT_ISSUER="i", GATEWAY_JWT_AUDIENCE="a")
    assert JwtSettings(jwks_url=text, issuer="i", audience="a") == found.jwt


@pytest.mark.parametrize("text", ["http://i/jwks", "i/jwks", "https://u:p@i/jwks", "https://i/jwks#x", "https://"])
def test_wrong_jwks_url(text: str) -> None:
    """It is https, or http on this machine, and holds no password."""
    error = wrong(GATEWAY_JWT_JWKS_URL=text, GATEWAY_JWT_ISSUER="i", GATEWAY_JWT_AUDIENCE="a")
    assert "GATEWAY_JWT_JWKS_URL" == error.setting
    assert "give https://HOST/PATH" in str(error)


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(lambda text: f"https://{text}")
    | st.text(max_size=9)
)
def test_any_endpoint(text: str) -> None:
    """Any text is an endpoint of visible ASCII or a SettingsError, never another exception."""
    try:
        kept = endpoint("SETTING", text)
    except SettingsError:
        return
    assert kept.isprintable()
    assert " " not in kept


# ------------------------------------------------------------------------------------------------ api versions


@pytest.mark.parametrize(
    ("text", "called"),
    [("2024-10-21", "2024-10-21"), ("2026-01-01-preview", "2026-01-01-preview"), ("v1", "2025-04-01-preview")],
)
def test_api_version(text: str, called: str) -> None:
    """The setting is the default of every target; a word without a date means the gateway's own default."""
    assert [called] == [each.api_version(None) for each in targets(AZURE_OPENAI_API_VERSION=text)]


@pytest.mark.parametrize("text", ["2024", "2024-13-01", "v9", "2024-10-21-PREVIEW", "x"])
def test_wrong_api_version(text: str) -> None:
    """Anything else is an error, in the setting and at a target."""
    assert "AZURE_OPENAI_API_VERSION" == wrong(AZURE_OPENAI_API_VERSION=text).setting
    error = wrong(GATEWAY_CATALOGUE=catalogue(mine={"targets": [{"api_version": text}]}))
    assert "GATEWAY_CATALOGUE: deployments.mine.targets[0].api_version" == error.setting
    assert str(error).endswith("give a date such as 2025-04-01-preview")


# ------------------------------------------------------------------------------------------------ the catalogue


def test_target_defaults() -> None:
    """A target that says nothing is the deployment's own name in the one resource, with its key and version."""
    only = target({}, AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_API_VERSION="2024-10-21")
    assert ("mine#1", HOST, "mine") == (only.name, only.endpoint, only.deployment)
    assert ("2024-10-21", None, Secret("k")) == (only.default_api_version, only.own_api_version, only.key)
    assert (1, 1) == (only.priority, only.weight)


def test_target_of_its_own() -> None:
    """A target may name everything itself."""
    entry = {
        "endpoint": f"{OTHER}/",
        "deployment": "theirs",
        "api_version": "2026-01-01",
        "api_key": "env:TWO_KEY",
        "priority": 0,
        "weight": 1000,
    }
    only = target(entry, TWO_KEY="k2", AZURE_OPENAI_API_KEY="k1", AZURE_OPENAI_ENDPOINT=None)
    assert (OTHER, "theirs", Secret("k2")) == (only.endpoint, only.deployment, only.key)
    assert ("2026-01-01", 0, 1000) == (only.api_version("2024-10-21"), only.priority, only.weight)


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        pytest.param({}, "k1", id="no endpoint"),
        pytest.param({"deployment": "theirs", "api_version": "2026-01-01"}, "k1", id="no endpoint but a deployment"),
        pytest.param({"endpoint": None}, "k1", id="endpoint null"),
        pytest.param({"endpoint": OTHER}, None, id="another endpoint"),
        pytest.param({"endpoint": HOST}, "k1", id="the same endpoint, named"),
        pytest.param({"endpoint": OTHER, "api_key": "env:K2"}, "k2", id="another endpoint and its key"),
        pytest.param({"api_key": "env:K2"}, "k2", id="a key for the resource of the setting"),
        pytest.param({"endpoint": OTHER, "api_key": None}, None, id="another endpoint, key null"),
    ],
)
def test_where_a_key_goes(entry: dict[str, Any], key: str | None) -> None:
    """The setting's key goes only to targets of its own resource; the others have their own key or the identity."""
    found = target(entry, AZURE_OPENAI_API_KEY="k1", K2="k2").key
    assert key == (None if found is None else found.reveal())


def test_several_targets() -> None:
    """A deployment has its targets in their order, numbered; one without any has the default one."""
    entries = [{"priority": 2}, {"endpoint": OTHER}, {"deployment": "second"}]
    found = targets(GATEWAY_CATALOGUE=catalogue(a={"targets": entries}, b={}))
    assert ["a#1", "a#2", "a#3", "b#1"] == [each.name for each in found]
    assert [(HOST, "a"), (OTHER, "a"), (HOST, "second"), (HOST, "b")] == [
        (each.endpoint, each.deployment) for each in found
    ]


def test_names_of_targets_show_no_host() -> None:
    """What is logged of a target is not its host."""
    assert "azure.com" not in target({"endpoint": OTHER}).name


@pytest.mark.parametrize(
    ("name", "entry", "family"),
    [
        ("gpt-image-1", {}, "gpt-image-1"),
        ("gpt-image-1", {"family": "dall-e-3"}, "dall-e-3"),
        ("gpt-image-1", {"family": None}, None),
        ("mine", {}, None),
        ("mine", {"family": "gpt-image-2"}, "gpt-image-2"),
        ("GPT-image-1", {}, "gpt-image-1"),
    ],
)
def test_families(name: str, entry: dict[str, Any], family: str | None) -> None:
    """A deployment has the family that it names, or that of the model that it is named after; null is none."""
    found = read(GATEWAY_CATALOGUE=catalogue(**{name: entry})).catalogue.find(name)
    assert found is not None
    assert family == (found.family and found.family.name)


@pytest.mark.parametrize("name", [*FAMILIES, "mine", "Gpt-Image-1"])
def test_without_a_catalogue(name: str) -> None:
    """Without a catalogue any name goes to the endpoint with its key, and known names have their families."""
    found = read(AZURE_OPENAI_API_KEY="k").catalogue.find(name)
    assert found is not None
    assert FAMILIES.get(name.lower()) == found.family
    assert [(HOST, name, Secret("k"))] == [(each.endpoint, each.deployment, each.key) for each in found.targets]


def test_with_a_catalogue() -> None:
    """With a catalogue only its names exist."""
    found = read(GATEWAY_CATALOGUE=catalogue(mine={})).catalogue
    assert [True, False, False] == [found.find(name) is not None for name in ("mine", "gpt-image-1", "Mine")]


def test_catalogue_in_a_file(tmp_path: Path) -> None:
    """The catalogue may be the path of a JSON file, whole or from where the app lies."""
    file = tmp_path / "catalogue.json"
    file.write_text(json.dumps(catalogue(mine={"targets": [{"endpoint": OTHER}]})), encoding="utf-8")
    climb = "../" * (len(catalogue_json._ROOT.parts) - 1) + str(file).lstrip("/")
    for path in (str(file), climb):
        assert [OTHER] == [each.endpoint for each in targets(GATEWAY_CATALOGUE=path, AZURE_OPENAI_ENDPOINT=None)]


def test_catalogue_with_white_space_before() -> None:
    """JSON may begin on the next line."""
    assert ["mine#1"] == [each.name for each in targets(GATEWAY_CATALOGUE='\n  {"deployments":{"mine":{}}}')]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe{}", b"deployments: {}"], ids=["empty", "list", "cut", "UTF-16", "YAML"]
)
def test_wrong_file(tmp_path: Path, content: bytes) -> None:
    """A file that is not the JSON object is an error that names the setting."""
    file = tmp_path / "catalogue.json"
    file.write_bytes(content)
    assert wrong(GATEWAY_CATALOGUE=str(file)).setting.startswith("GATEWAY_CATALOGUE")


@pytest.mark.parametrize(
    "text",
    ["no/such.json", "/", ".", "[", "null", '"x"', f"api_key={PASSWORD}", "x" * 10_000],
    ids=lambda text: text[:12],
)
def test_no_file(text: str) -> None:
    """What is neither JSON nor a file that can be read is an error with both ways out."""
    error = wrong(GATEWAY_CATALOGUE=text)
    assert "GATEWAY_CATALOGUE" == error.setting
    assert str(error).endswith("give a JSON object, or the path of a JSON file beside function_app.py")


def test_no_endpoint_anywhere() -> None:
    """A target without an endpoint needs the setting, and the error says which target."""
    error = wrong(AZURE_OPENAI_ENDPOINT=None, GATEWAY_CATALOGUE=catalogue(mine={"targets": [{"endpoint": OTHER}, {}]}))
    assert "AZURE_OPENAI_ENDPOINT" == error.setting
    assert "deployments.mine.targets[1]" in str(error)


MINE = "deployments.mine"


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        pytest.param({"mine": {"famly": "gpt-image-1"}}, f"{MINE}.famly", id="a misspelt field"),
        pytest.param({"mine": {"targets": [{"key": PASSWORD}]}}, f"{MINE}.targets[0].key", id="an unknown field"),
        pytest.param({"mine": {"family": "gpt-image-9"}}, f"{MINE}.family", id="an unknown family"),
        pytest.param({"mine": {"family": ""}}, f"{MINE}.family", id="an empty family"),
        pytest.param({"mine": {"family": 5}}, f"{MINE}.family", id="a family that is a number"),
        pytest.param({"mine": {"targets": []}}, f"{MINE}.targets", id="no targets"),
        pytest.param({"mine": {"targets": None}}, f"{MINE}.targets", id="targets null"),
        pytest.param({"mine": {"targets": {}}}, f"{MINE}.targets", id="targets that are an object"),
        pytest.param({"mine": {"targets": ["x"]}}, f"{MINE}.targets[0]", id="a target that is a text"),
        pytest.param({"mine": []}, MINE, id="a deployment that is a list"),
        pytest.param({"mine": None}, MINE, id="a deployment that is null"),
        pytest.param({}, "deployments", id="no deployments"),
        *[
            pytest.param(
                {"mine": {"targets": [{}, {name: value}]}}, f"{MINE}.targets[1].{name}", id=f"{name} {value!r}"
            )
            for name, value in [
                ("priority", -1),
                ("priority", 1001),
                ("priority", "1"),
                ("priority", 1.0),
                ("priority", True),
                ("priority", None),
                ("weight", 0),
                ("weight", 1001),
                ("weight", 1.5),
                ("weight", False),
                ("deployment", ""),
                ("deployment", "a/b"),
                ("deployment", "a" * 65),
                ("deployment", 5),
                ("endpoint", 5),
                ("api_version", 2024),
                ("api_key", 5),
                ("api_key", ""),
                ("api_key", PASSWORD),
                ("api_key", "ENV:K"),
            ]
        ],
    ],
)
def test_wrong_catalogue(entry: dict[str, Any], place: str) -> None:
    """An entry that is wrong is named by its place, with a cure, and what it holds is not shown."""
    error = wrong(GATEWAY_CATALOGUE={"deployments": entry})
    assert f"GATEWAY_CATALOGUE: {place}" == error.setting
    assert len(str(error)) > len(error.setting) + 10


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".a", "a" * 65, "é", "a\n", "*"], ids=ascii)
def test_wrong_names_of_deployments(name: str) -> None:
    """A name that no caller could use is an error in the catalogue, and in the list of a key."""
    assert wrong(GATEWAY_CATALOGUE=catalogue(**{name: {}})).setting.startswith("GATEWAY_CATALOGUE: deployments")
    if name != "*":
        entry = {"id": "a", "key_sha256": HASH, "deployments": ["ok", name]}
        error = wrong(GATEWAY_VIRTUAL_KEYS=[entry])
        assert error.setting.startswith("GATEWAY_VIRTUAL_KEYS: [0].deployments[1]")


def test_places_are_those_of_the_json() -> None:
    """The place of an error has no words that do not stand in the JSON."""
    error = wrong(GATEWAY_VIRTUAL_KEYS=[{"id": "a", "key_sha256": HASH, "deployments": ["a/b"]}])
    assert "GATEWAY_VIRTUAL_KEYS: [0].deployments[0]" == error.setting


@pytest.mark.parametrize("text", ["{", "{}", '{"deployments":[]}', '{"deployments":{"a":{}},"x":1}', "{" * 3000])
def test_odd_catalogues(text: str) -> None:
    """JSON that is broken, or not the catalogue, is an error that names the setting."""
    assert wrong(GATEWAY_CATALOGUE=text).setting.startswith("GATEWAY_CATALOGUE")


@pytest.mark.parametrize(
    "pair",
    [
        [{}, {}],
        [{}, {"endpoint": HOST}],
        [{}, {"endpoint": HOST.upper().replace("HTTPS", "https")}],
        [{}, {"deployment": "MINE"}],
        [{"endpoint": OTHER}, {"endpoint": f"{OTHER}/", "priority": 2, "api_version": "2024-10-21"}],
    ],
    ids=str,
)
def test_same_target_twice(pair: list[dict[str, Any]]) -> None:
    """One place to draw that is named twice in a deployment is an error: it would be asked, and paid, twice."""
    error = wrong(GATEWAY_CATALOGUE=catalogue(mine={"targets": pair}))
    assert "GATEWAY_CATALOGUE: deployments.mine has the same target twice" == str(error).partition(": name")[0]


def test_same_target_in_two_deployments() -> None:
    """Two deployments may share a target: they are two names for one model."""
    assert 2 == len(targets(GATEWAY_CATALOGUE=catalogue(a={"targets": [{"deployment": "x"}]}, x={})))


@pytest.mark.parametrize("value", [None, "", "  "], ids=repr)
def test_a_key_that_is_not_there(value: str | None) -> None:
    """A key in a setting that is not set is an error at the place that names the setting, which is not shown."""
    error = wrong(GATEWAY_CATALOGUE=catalogue(mine={"targets": [{"api_key": "env:K2"}]}), K2=value)
    assert "GATEWAY_CATALOGUE: deployments.mine.targets[0].api_key" == error.setting
    assert "names a setting that is not set" in str(error)


def test_a_key_without_a_name() -> None:
    """`env:` without a name is an error at its place."""
    error = wrong(GATEWAY_CATALOGUE=catalogue(mine={"targets": [{"api_key": "env:"}]}))
    assert "GATEWAY_CATALOGUE: deployments.mine.targets[0].api_key" == error.setting


# ------------------------------------------------------------------------------------------------ kept awake


def test_kept_awake() -> None:
    """The operator's word on a family holds with and without a catalogue, and for that family alone."""
    for more in ({}, {"GATEWAY_CATALOGUE": catalogue(**{"gpt-image-1": {}, "gpt-image-2": {}})}):
        found = read(GATEWAY_AWAKE_PARTIALS={"gpt-image-1": "never"}, **more).catalogue
        families = [found.find(name) for name in ("gpt-image-1", "gpt-image-2")]
        expected = [Awake.NEVER, Awake.AUTO]
        assert expected == [each.family.awake for each in families if each is not None and each.family is not None]


@pytest.mark.parametrize(
    "text", [{"gpt-image-9": "never"}, {"gpt-image-1": "no"}, {"gpt-image-1": 1}, [], "never"], ids=str
)
def test_wrongly_awake(text: Any) -> None:
    """An unknown family or word is an error that names the setting."""
    assert wrong(GATEWAY_AWAKE_PARTIALS=text).setting.startswith("GATEWAY_AWAKE_PARTIALS")


# ------------------------------------------------------------------------------------------------ virtual keys

ENTRY = {"id": "team-a", "key_sha256": HASH}


def test_key_defaults() -> None:
    """A key with an id and a hash allows no deployment, is active, and does not expire."""
    (key,) = read(GATEWAY_VIRTUAL_KEYS=[ENTRY]).keys
    assert ("team-a", "", HASH) == (key.id, key.name, key.key_sha256)
    assert (frozenset(), True, None, UNLIMITED) == (key.deployments, key.active, key.expires_at, key.limits)


def test_a_whole_key() -> None:
    """Every field of a key is read; the hash may be in upper case."""
    entry = {
        **ENTRY,
        "key_sha256": HASH.upper(),
        "name": "Team A",
        "deployments": ["*", "a"],
        "active": False,
        "expires_at": "2027-01-01T02:00:00+02:00",
        "rate_limit": {"requests": {"limit": 60, "window": "1m"}, "images": {"limit": 20, "window": "1h"}},
        "budget": {"usd": 0.1, "window": "month"},
    }
    (key,) = read(GATEWAY_VIRTUAL_KEYS=[entry]).keys
    assert ("Team A", HASH, frozenset({"*", "a"}), False) == (key.name, key.key_sha256, key.deployments, key.active)
    assert dt.datetime(2027, 1, 1, tzinfo=dt.UTC) == key.expires_at
    expected = Limits(
        requests=Rate(limit=60, window_seconds=60),
        images=Rate(limit=20, window_seconds=3600),
        budget=Budget(nanos=100_000_000, window=BudgetWindow.MONTH),
    )
    assert expected == key.limits


def test_a_window_that_is_none() -> None:
    """The error of a window says what one is."""
    limit = {"rate_limit": {"images": {"limit": 1, "window": "2 weeks"}}}
    error = wrong(GATEWAY_VIRTUAL_KEYS=[{**ENTRY, **limit}])
    assert str(error).endswith("is wrong: a window is a whole number and s, m, h or d, from 1s to 31d")


def test_no_keys() -> None:
    """An empty list of keys is no error: nobody may call."""
    assert () == read(GATEWAY_VIRTUAL_KEYS=[]).keys


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        pytest.param(changes, place, id=str(changes)[:50])
        for changes, place in [
            ({"expires_att": "2027-01-01T00:00:00Z"}, "expires_att"),
            ({"key": PASSWORD}, "key"),
            ({"id": ""}, "id"),
            ({"id": "a b"}, "id"),
            ({"id": "é"}, "id"),
            ({"id": "a\n"}, "id"),
            ({"id": "a" * 129}, "id"),
            ({"id": 5}, "id"),
            ({"name": "n" * 257}, "name"),
            ({"name": None}, "name"),
            ({"key_sha256": HASH[:-1]}, "key_sha256"),
            ({"key_sha256": HASH + "0"}, "key_sha256"),
            ({"key_sha256": HASH[:-1] + "g"}, "key_sha256"),
            ({"key_sha256": HASH + "\n"}, "key_sha256"),
            ({"key_sha256": PASSWORD}, "key_sha256"),
            ({"key_sha256": None}, "key_sha256"),
            ({"deployments": "*"}, "deployments"),
            ({"deployments": None}, "deployments"),
            ({"deployments": {"a": 1}}, "deployments"),
            ({"active": 1}, "active"),
            ({"active": "true"}, "active"),
            ({"active": None}, "active"),
            ({"expires_at": "2027-01-01"}, "expires_at"),
            ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
            ({"expires_at": "2027-13-01T00:00:00Z"}, "expires_at"),
            ({"expires_at": "tomorrow"}, "expires_at"),
            ({"expires_at": ""}, "expires_at"),
            ({"expires_at": 1800000000}, "expires_at"),
            ({"expires_at": True}, "expires_at"),
            ({"rate_limit": {"image": None}}, "rate_limit.image"),
            ({"rate_limit": {"images": {"limit": 1, "window": "1w"}}}, "rate_limit.images.window"),
            ({"budgett": None}, "budgett"),
            ({"budget": {"usd": 0, "window": "day"}}, "budget.usd"),
        ]
    ],
)
def test_wrong_key(changes: dict[str, Any], place: str) -> None:
    """A key that is wrong is named by its place, and what it holds is not shown."""
    error = wrong(GATEWAY_VIRTUAL_KEYS=[{**ENTRY, "id": "first", "key_sha256": "f" * 64}, {**ENTRY, **changes}])
    assert f"GATEWAY_VIRTUAL_KEYS: [1].{place}" == error.setting


@pytest.mark.parametrize("field", ["id", "key_sha256"])
def test_missing_field_of_a_key(field: str) -> None:
    """A key needs an id and a hash."""
    entry = {name: value for name, value in ENTRY.items() if name != field}
    assert f"GATEWAY_VIRTUAL_KEYS: [0].{field} is wrong: field required" == str(wrong(GATEWAY_VIRTUAL_KEYS=[entry]))


@pytest.mark.parametrize(
    "text", ["{", "{}", "null", '"x"', "[1]", "[[]]", f"sk-bf-{PASSWORD}", "[" * 3000], ids=lambda t: t[:9]
)
def test_odd_keys(text: str) -> None:
    """JSON that is broken, or no list of keys, is an error that names the setting and shows nothing."""
    assert wrong(GATEWAY_VIRTUAL_KEYS=text).setting.startswith("GATEWAY_VIRTUAL_KEYS")


@pytest.mark.parametrize(
    ("second", "what"),
    [({"id": "team-a", "key_sha256": "f" * 64}, "id"), ({"id": "other", "key_sha256": HASH.upper()}, "key_sha256")],
    ids=["id", "hash"],
)
def test_same_key_twice(second: dict[str, Any], what: str) -> None:
    """Two records with one id, or one hash in any case, are an error."""
    expected = f"GATEWAY_VIRTUAL_KEYS has the same {what} twice: give each key its own"
    assert expected == str(wrong(GATEWAY_VIRTUAL_KEYS=[ENTRY, second]))


# ------------------------------------------------------------------------------------------------ JWTs

ABOUT = {"GATEWAY_JWT_ISSUER": "https://issuer.example", "GATEWAY_JWT_AUDIENCE": "gateway"}
KINDS = {
    "GATEWAY_JWT_SECRET": "s" * 32,
    "GATEWAY_JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----",
    "GATEWAY_JWT_JWKS_URL": "https://issuer.example/jwks",
}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("GATEWAY_JWT_SECRET", {"secret": Secret("s" * 32)}),
        (
            "GATEWAY_JWT_PUBLIC_KEY",
            {"public_key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
        ),
        ("GATEWAY_JWT_JWKS_URL", {"jwks_url": "https://issuer.example/jwks"}),
    ],
)
def test_jwts(name: str, fields: dict[str, Any]) -> None:
    r"""JWTs are checked with the one key that is set; in a PEM, `\n` stands for a line break."""
    expected = JwtSettings(issuer="https://issuer.example", audience="gateway", **fields)
    assert expected == read(**ABOUT, **{name: KINDS[name]}).jwt


@pytest.mark.parametrize(
    "names",
    [
        ("GATEWAY_JWT_SECRET", "GATEWAY_JWT_PUBLIC_KEY"),
        ("GATEWAY_JWT_SECRET", "GATEWAY_JWT_JWKS_URL"),
        ("GATEWAY_JWT_PUBLIC_KEY", "GATEWAY_JWT_JWKS_URL"),
        tuple(KINDS),
    ],
    ids=" ".join,
)
def test_more_than_one_key(names: tuple[str, ...]) -> None:
    """More than one kind of key is an error that names them all: the algorithm must be one."""
    error = wrong(**ABOUT, **{name: KINDS[name] for name in names})
    assert " and ".join(names) == error.setting
    assert str(error).endswith("keep exactly one")


@pytest.mark.parametrize("missing", ABOUT)
@pytest.mark.parametrize("name", KINDS)
def test_issuer_and_audience_are_needed(name: str, missing: str) -> None:
    """A key without an issuer or an audience is an error that names what is missing."""
    about = {each: value for each, value in ABOUT.items() if each != missing}
    error = wrong(**about, **{name: KINDS[name]})
    assert missing == error.setting
    assert name in str(error)


@pytest.mark.parametrize("name", ABOUT)
def test_a_key_is_needed(name: str) -> None:
    """An issuer or an audience without a key is an error: somebody meant JWTs to be checked."""
    error = wrong(**{name: ABOUT[name]})
    assert name == error.setting
    assert [True] * 3 == [each in str(error) for each in KINDS]


@pytest.mark.parametrize(
    ("secret", "taken"),
    [("s" * 31, False), ("s" * 32, True), ("é" * 16, True), ("é" * 15 + "s", False), (" " * 9 + "s" * 31, False)],
    ids=["31 bytes", "32 bytes", "32 bytes in 16 characters", "31 bytes in 16", "31 bytes and spaces"],
)
def test_length_of_a_secret(secret: str, taken: bool) -> None:
    """An HS256 secret has at least 32 bytes."""
    if taken:
        found = read(**ABOUT, GATEWAY_JWT_SECRET=secret).jwt
        assert found is not None
        assert Secret(secret) == found.secret
    else:
        error = wrong(**ABOUT, GATEWAY_JWT_SECRET=secret)
        assert "GATEWAY_JWT_SECRET" == error.setting
        assert "openssl rand -hex 32" in str(error)
        assert secret not in str(error)


# ------------------------------------------------------------------------------------------------ managed identity


@pytest.mark.parametrize(
    ("variables", "there"),
    [
        ({}, False),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1:1/token"}, False),
        ({"IDENTITY_HEADER": PASSWORD}, False),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1:1/token", "IDENTITY_HEADER": PASSWORD}, True),
    ],
    ids=["nothing", "the endpoint alone", "the header alone", "both"],
)
def test_identity(variables: dict[str, str], there: bool) -> None:
    """The app has an identity where the platform offers both its endpoint and its header."""
    assert there is (read(**variables).identity is not None)


@pytest.mark.parametrize("client_id", [None, "11111111-2222-3333-4444-555555555555"])
def test_user_assigned_identity(client_id: str | None) -> None:
    """AZURE_CLIENT_ID names a user-assigned identity."""
    found = read(IDENTITY_ENDPOINT="http://h/t", IDENTITY_HEADER=PASSWORD, AZURE_CLIENT_ID=client_id).identity
    assert found is not None
    assert ("http://h/t", Secret(PASSWORD), client_id) == (found.endpoint, found.header, found.client_id)


# ------------------------------------------------------------------------------------------------ no value is shown

_NAMES = [*EMPTY, "AZURE_OPENAI_ENDPOINT", "GATEWAY_FALLBACK_ON_REFUSAL", "GATEWAY_AWAKE_PARTIALS"]
SECRETS = [
    "6f0c1d2e3b4a59687766554433221100",
    "sk-proj-Zz9_yY8-xX7",
    "ALLCAPSANDDIGITS0123456789",
    "p@ss w\u00f6rd/'\"",
]


def pasted(secret: str) -> dict[str, dict[str, Any]]:
    """A secret in the place of each setting's value, and of each value and name within those that are JSON."""
    key = {"id": "a", "key_sha256": HASH}
    whole = [*_NAMES, "GATEWAY_KEY_CALLS", "GATEWAY_URL_HOURS", "GATEWAY_PUBLIC_URL", "GATEWAY_JOB_SECONDS"]
    whole += ["GATEWAY_LINGER_SECONDS", "GATEWAY_REPEAT_SECONDS", "GATEWAY_FIRST_BYTE_SECONDS", "GATEWAY_IDLE_SECONDS"]
    whole += ["AzureWebJobsStorage", "AzureWebJobsStorage__accountName", "AzureWebJobsStorage__credential"]
    whole += [f"AzureWebJobsStorage__{service}ServiceUri" for service in ("table", "blob", "queue")]
    deployments: list[dict[str, Any]] = [
        *({"a": {field: secret}} for field in ("family", "price", "targets", secret)),
        *({"a": {"price": {field: secret}}} for field in ("per_image", "text_in", "as_of", secret)),
        *(
            {"a": {"targets": [{field: secret}]}}
            for field in ("endpoint", "deployment", "api_version", "api_key", "priority", "weight", secret)
        ),
        {"a": {"targets": [{"api_key": f"env:{secret}"}]}},
        {"a": {"targets": [{"endpoint": f"https://u:{secret}@h"}]}},
        {"a": secret},
    ]
    keys = [{**key, field: secret} for field in ("key_sha256", "active", "expires_at", "rate_limit", "budget", secret)]
    keys += [{**key, "deployments": [f"{secret}/"]}, {**key, "budget": {"usd": secret, "window": secret}}]
    keys += [{**key, "rate_limit": {"images": {"limit": secret, "window": secret}}}]
    return {
        **{name: {name: secret} for name in whole},
        **{f"catalogue {number}": {"GATEWAY_CATALOGUE": catalogue(**e)} for number, e in enumerate(deployments)},
        "catalogue's field": {"GATEWAY_CATALOGUE": {"deployments": {"a": {}}, secret: 1}},
        **{f"key {number}": {"GATEWAY_VIRTUAL_KEYS": [entry]} for number, entry in enumerate(keys)},
        "awake": {"GATEWAY_AWAKE_PARTIALS": {secret: "never"}},
        "awake wrongly": {"GATEWAY_AWAKE_PARTIALS": {secret: secret}},
        "awake family": {"GATEWAY_AWAKE_PARTIALS": {"gpt-image-1": secret}},
        "connection string": {
            "AzureWebJobsStorage": f"AccountName={secret};AccountKey={secret};TableEndpoint={secret}"
        },
    }


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("where", list(pasted("")))
def test_no_value_is_ever_shown(where: str, secret: str) -> None:
    """A secret that was pasted into the wrong setting does not stand in the error, whatever the setting is."""
    try:
        read(**pasted(secret)[where])
    except SettingsError as error:
        assert secret not in str(error)  # noqa: PT017 -- some settings take any text
        assert secret not in error.setting  # noqa: PT017


# ------------------------------------------------------------------------------------------------ all at once


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Each setting that is wrong has one line, with its own cure, and the line says what it would alone."""
    settings_ = {
        "AZURE_OPENAI_ENDPOINT": "http://h",
        "AZURE_OPENAI_API_VERSION": "x",
        "AzureWebJobsStorage": "x",
        "GATEWAY_AWAKE_PARTIALS": "x",
        "GATEWAY_CATALOGUE": "{",
        "GATEWAY_FALLBACK_ON_REFUSAL": "x",
        "GATEWAY_JWT_ISSUER": "x",
        "GATEWAY_KEY_CALLS": "0",
        "GATEWAY_MAX_RETRIES": "11",
        "GATEWAY_JOB_SECONDS": "0",
        "GATEWAY_PUBLIC_URL": "x",
        "GATEWAY_VIRTUAL_KEYS": "x",
    }
    error = wrong(**settings_)
    assert isinstance(error, SeveralSettingsErrors)
    alone = [str(wrong(**{name: text})) for name, text in settings_.items()]
    assert sorted(alone) == sorted(map(str, error.errors))
    lines = str(error).splitlines()
    assert [f"{len(settings_)} settings are wrong: ", *(f"  {each}" for each in error.errors)] == lines


def test_both_of_a_pair_are_told() -> None:
    """A key for JWTs that has neither an issuer nor an audience is told about both."""
    error = wrong(GATEWAY_JWT_SECRET="s" * 32)
    assert isinstance(error, SeveralSettingsErrors)
    assert ["GATEWAY_JWT_ISSUER", "GATEWAY_JWT_AUDIENCE"] == [each.setting for each in error.errors]


# ------------------------------------------------------------------------------------------------ unknown names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_DEADLINE_SECOND", "GATEWAY_DEADLINE_SECONDS"),
        ("GATEWAY_CATALOG", "GATEWAY_CATALOGUE"),
        ("GATEWAY_VIRTUALKEYS", "GATEWAY_VIRTUAL_KEYS"),
        ("GATEWAY_JWKS_URL", "GATEWAY_JWT_JWKS_URL"),
    ],
)
def test_an_unknown_name(name: str, meant: str) -> None:
    """A setting of the gateway that there is not is an error with the one that was probably meant."""
    assert f"{name} is not a setting: did you mean {meant}?" == str(wrong(**{name: "60"}))


def test_a_name_like_no_other() -> None:
    """One that resembles none is an error that says where to look."""
    assert str(wrong(GATEWAY_ZZZZ="1")).startswith("GATEWAY_ZZZZ is not a setting: remove it, or look")


@pytest.mark.parametrize("name", ["GATEWAY_URL", "GATEWAY_KEY", "GATEWAY_ADMIN_TOKEN"])
def test_names_of_the_command_line(name: str) -> None:
    """The command line's own settings may stand beside the gateway's."""
    assert read() == read(**{name: "x"})


def test_a_name_of_the_catalogues_own() -> None:
    """A key of the catalogue may be in a setting of any name."""
    assert Secret("k") == target({"api_key": "env:GATEWAY_WEST"}, GATEWAY_WEST="k").key


def test_in_azure_it_is_a_warning() -> None:
    """In Azure settings may be there before the version that knows them, so the gateway starts and says so."""
    found = read(GATEWAY_CATALOG="x", WEBSITE_INSTANCE_ID="1", AzureWebJobsStorage="UseDevelopmentStorage=true")
    assert ("GATEWAY_CATALOG is not a setting: did you mean GATEWAY_CATALOGUE?",) == found.warnings
    assert found.warnings[0] in list_warnings(found)


# ------------------------------------------------------------------------------------------------ by property

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["deployments", "targets", "id", "a"]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(_NAMES), st.text(max_size=10) | _JSON.map(json.dumps), max_size=4))
@example({"GATEWAY_CATALOGUE": "\0"})
def test_any_environment(variables: dict[str, str]) -> None:
    """Any environment is settings or a SettingsError with a name and a cure, never another exception."""
    try:
        read_settings({"AZURE_OPENAI_ENDPOINT": HOST, **variables})
    except SettingsError as error:
        assert error.setting  # noqa: PT017 -- an error is one of two good ends
        assert ": " in str(error)  # noqa: PT017


def test_text_of_an_unset_variable() -> None:
    """A variable that is not there has no text."""
    assert Environment({}).text("X") is None
