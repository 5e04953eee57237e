"""The settings that are JSON: the catalogue of deployments, the virtual keys, and which streams are kept awake.

Unknown fields are errors: a misspelt `expires_att` must not pass for "never".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

from msgspec.structs import replace
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from core.auth.limits_json import BudgetForm, RateLimitForm, parse_limits
from core.auth.virtual_keys import VirtualKey
from core.deployments.catalogue import Catalogue, Deployment, Overrides, Target
from core.deployments.families import FAMILIES, Awake, Family, find_family
from core.deployments.price_json import PriceForm  # noqa: TC001 -- pydantic reads the annotations
from core.domain.errors import InvalidRequest
from core.domain.request import DEPLOYMENT_NAME, parse_api_version
from core.domain.secret import Secret
from core.domain.settings_error import SettingsError
from core.domain.wrong_field import first_error
from core.settings.environment import endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.settings.environment import Environment

DEFAULT_API_VERSION: Final = "2025-04-01-preview"
"""The version that GPT-image models use on the deployment path (Azure OpenAI REST reference)."""

_CATALOGUE: Final = "GATEWAY_CATALOGUE"
_KEYS: Final = "GATEWAY_VIRTUAL_KEYS"
_AWAKE: Final = "GATEWAY_AWAKE_PARTIALS"
_ROOT: Final = Path(__file__).parent.parent
_SETTING_PREFIX: Final = "env:"
_FROM_SETTING: Final = re.compile(r"\"env:(\w+)\"")
_FIELD: Final = re.compile(r"[a-z_]{1,24}|key_sha256")

_Name = Annotated[str, StringConstraints(pattern=rf"\A{DEPLOYMENT_NAME.pattern}\z")]
_Size = Annotated[str, StringConstraints(pattern=r"\A([1-9][0-9]{1,4}x[1-9][0-9]{1,4}|auto)\z")]
_T = TypeVar("_T")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)


class _TargetEntry(_Strict):
    endpoint: str | None = None
    deployment: _Name | None = None
    api_version: str | None = None
    api_key: str | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = 1
    weight: Annotated[int, Field(ge=1, le=1000)] = 1


class _DeploymentEntry(_Strict):
    family: str | None = None
    price: PriceForm | None = None
    response_format: Literal["url", "b64_json"] | None = None
    sizes: dict[_Size, _Size] = Field(default_factory=dict)
    drop: list[Annotated[str, StringConstraints(pattern=r"\A[a-z_]{1,64}\z")]] = Field(default_factory=list)
    targets: Annotated[list[_TargetEntry], Field(min_length=1)] = Field(default_factory=lambda: [_TargetEntry()])


class _CatalogueEntry(_Strict):
    deployments: Annotated[dict[_Name, _DeploymentEntry], Field(min_length=1)]


class _KeyEntry(_Strict):
    id: Annotated[str, StringConstraints(pattern=r"\A[\x21-\x7e]{1,128}\z")]
    name: Annotated[str, StringConstraints(max_length=256)] = ""
    key_sha256: Annotated[str, StringConstraints(pattern=r"\A[0-9a-fA-F]{64}\z")]
    deployments: list[Annotated[str, StringConstraints(pattern=rf"\A(\*|{DEPLOYMENT_NAME.pattern})\z")]] = Field(
        default=[]
    )
    active: bool = True
    expires_at: AwareDatetime | None = None
    rate_limit: RateLimitForm | None = None
    budget: BudgetForm | None = None


def read_catalogue(env: Environment) -> Catalogue:
    """Read the deployments and their targets; what is wrong is collected by `env`."""
    resource = _Resource(env)
    families = env.collect(lambda: _families(env), FAMILIES)
    return env.collect(lambda: _read_catalogue(env, resource, families), Catalogue(listed={}))


def _read_catalogue(env: Environment, resource: _Resource, families: Mapping[str, Family]) -> Catalogue:
    text = env.text(_CATALOGUE)
    if text is None:
        default = resource.target("", _TargetEntry(), where="AZURE_OPENAI_ENDPOINT")
        return Catalogue(listed=None, default=default, families=families)
    if not text.startswith("{"):
        text = _read_file(text)
    entry = _parsed(TypeAdapter(_CatalogueEntry), _CATALOGUE, text)
    for setting in _FROM_SETTING.findall(text):  # known, also where what stands before them is wrong
        env.text(setting)
    return Catalogue(
        listed={name: _deployment(name, each, resource, families) for name, each in entry.deployments.items()}
    )


def read_keys(env: Environment) -> tuple[VirtualKey, ...]:
    """Read the virtual keys. Raises SettingsError."""
    text = env.text(_KEYS)
    if text is None:
        return ()
    entries = _parsed(TypeAdapter(list[_KeyEntry]), _KEYS, text)
    for what, values in (
        ("id", [entry.id for entry in entries]),
        ("key_sha256", [entry.key_sha256.lower() for entry in entries]),
    ):
        if len(set(values)) < len(values):
            raise SettingsError(_KEYS, f"has the same {what} twice", "give each key its own")
    return tuple(
        VirtualKey(
            id=entry.id,
            name=entry.name,
            key_sha256=entry.key_sha256.lower(),
            deployments=frozenset(entry.deployments),
            active=entry.active,
            expires_at=entry.expires_at,
            limits=parse_limits(entry.rate_limit, entry.budget),
        )
        for entry in entries
    )


class _Resource:
    """The resource of the plain settings, which targets default to."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        text = env.text("AZURE_OPENAI_ENDPOINT")
        self._endpoint = None if text is None else env.collect(lambda: endpoint("AZURE_OPENAI_ENDPOINT", text), "")
        key = env.text("AZURE_OPENAI_API_KEY")
        self._key = None if key is None else Secret(key)
        version = env.text("AZURE_OPENAI_API_VERSION")
        self._api_version = env.collect(lambda: _version("AZURE_OPENAI_API_VERSION", version), None) or (
            DEFAULT_API_VERSION
        )

    def target(self, name: str, entry: _TargetEntry, *, where: str, number: int = 1) -> Target:
        if entry.endpoint is None and self._endpoint is None:
            raise SettingsError(
                "AZURE_OPENAI_ENDPOINT",
                "is not set" if where == "AZURE_OPENAI_ENDPOINT" else f"is not set, and {where} names no endpoint",
                "set it to the address of your Azure OpenAI resource, such as https://NAME.openai.azure.com",
            )
        own_endpoint = None if entry.endpoint is None else endpoint(f"{where}.endpoint", entry.endpoint)
        is_own_origin = own_endpoint is None or own_endpoint.lower() == (self._endpoint or "").lower()
        key = self._key if is_own_origin else None
        if entry.api_key is not None:
            key = self._key_of(entry.api_key, where)
        return Target(
            name=f"{name}#{number}",
            endpoint=own_endpoint or self._endpoint or "",
            deployment=entry.deployment or name,
            default_api_version=self._api_version,
            own_api_version=_version(f"{where}.api_version", entry.api_version),
            key=key,
            priority=entry.priority,
            weight=entry.weight,
        )

    def _key_of(self, text: str, where: str) -> Secret:
        name = text.removeprefix(_SETTING_PREFIX)
        if not text.startswith(_SETTING_PREFIX) or not name:
            raise SettingsError(
                f"{where}.api_key", "is not env:NAME", "put the key into a setting and name it: env:NAME"
            )
        value = self._env.text(name)
        if value is None:
            # What was given is not shown: it may be the key itself, put there by mistake.
            raise SettingsError(
                f"{where}.api_key", "names a setting that is not set", "set that one to the resource's key"
            )
        return Secret(value)


def _families(env: Environment) -> Mapping[str, Family]:
    """Read the families, with the operator's choice of keeping their streams awake."""
    text = env.text(_AWAKE)
    if text is None:
        return FAMILIES
    given = _parsed(TypeAdapter(dict[str, Awake]), _AWAKE, text)
    for name in given:
        if find_family(name) is None:
            raise SettingsError(_AWAKE, "names a family that does not exist", f"give one of {', '.join(FAMILIES)}")
    given = {name.lower(): awake for name, awake in given.items()}
    return {name: replace(family, awake=given.get(name, family.awake)) for name, family in FAMILIES.items()}


def _deployment(name: str, entry: _DeploymentEntry, resource: _Resource, families: Mapping[str, Family]) -> Deployment:
    where = f"{_CATALOGUE}: deployments.{name}"
    targets = [
        resource.target(name, target, where=f"{where}.targets[{index}]", number=index + 1)
        for index, target in enumerate(entry.targets)
    ]
    if len({target.identity for target in targets}) < len(targets):
        raise SettingsError(where, "has the same target twice", "name each endpoint and deployment once")
    if "prompt" in entry.drop:
        raise SettingsError(f"{where}.drop", "leaves out the prompt", "take it off the list")
    return Deployment(
        name=name,
        family=_family(name, entry, where, families),
        targets=tuple(targets),
        own_price=None if entry.price is None else entry.price.price(),
        overrides=Overrides(response_format=entry.response_format, sizes=entry.sizes, drop=frozenset(entry.drop)),
    )


def _family(name: str, entry: _DeploymentEntry, where: str, families: Mapping[str, Family]) -> Family | None:
    if "family" not in entry.model_fields_set:
        return find_family(name, families)
    if entry.family is None:
        return None
    family = find_family(entry.family, families)
    if family is None:
        raise SettingsError(f"{where}.family", "is not a family", f"give one of {', '.join(FAMILIES)}, or leave it out")
    return family


def _version(setting: str, text: str | None) -> str | None:
    try:
        return parse_api_version([text or ""])
    except InvalidRequest:
        raise SettingsError(setting, "is not a version", f"give a date such as {DEFAULT_API_VERSION}") from None


def _read_file(name: str) -> str:
    path = _ROOT / name
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(
            _CATALOGUE,
            f"is neither JSON nor a file that can be read ({type(error).__name__})",
            "give a JSON object, or the path of a JSON file beside function_app.py",
        ) from None


def _parsed(adapter: TypeAdapter[_T], setting: str, text: str) -> _T:
    try:
        return adapter.validate_json(text)
    except ValidationError as invalid:
        first = first_error(invalid)
        where = _place(first["loc"])
        raise SettingsError(
            f"{setting}: {where}" if where else setting, "is wrong", _cure(first["type"], first["msg"])
        ) from None


def _place(loc: Sequence[int | str]) -> str:
    """Write a place in JSON. A name that is neither a field's nor a deployment's may be a secret, and is not shown."""
    place = ""
    for index, part in enumerate(loc):
        if isinstance(part, int):
            place += f"[{part}]"
        elif index and loc[index - 1] == "deployments":
            place += f".{part}" if DEPLOYMENT_NAME.fullmatch(part) else ".(a name)"
        else:
            place += f".{part}" if _FIELD.fullmatch(part) or part in FAMILIES else ".(a name)"
    return place.removeprefix(".")


def _cure(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such field; check its spelling"
    if kind == "json_invalid":
        return "it is not valid JSON"
    message = message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]
