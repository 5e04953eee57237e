"""What an operator sends: the bodies of the admin API.

Unknown fields are errors: a misspelt `budgett` must not pass for "no budget". Imported with the first call of an admin.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Final

from msgspec.structs import replace
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from core.auth.caller import ALL_DEPLOYMENTS
from core.auth.key_record import KeyTerms
from core.auth.limits_json import WHOLE, BudgetForm, RateLimitForm, parse_limits
from core.domain.limits import Limits
from core.domain.request import DEPLOYMENT_NAME

MAX_GRACE_SECONDS: Final = 31 * 86_400
DEFAULT_GRACE_SECONDS: Final = 86_400
MAX_DEPLOYMENTS: Final = 100
MAX_METADATA: Final = 16

_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""A date-time of RFC 3339 §5.6."""
_FIRST: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_LAST: Final = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
_PLAIN: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""No control characters."""


def _parse_time(value: object) -> object:
    """Read a moment, strictly as RFC 3339 has it; give it in UTC."""
    if not isinstance(value, str):
        return value
    if _TIME.fullmatch(value) is None:
        raise ValueError("not a date-time of RFC 3339")
    moment = dt.datetime.fromisoformat(value.upper())
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:  # a moment beyond the calendar's end in UTC is the end
        return _FIRST if moment.year == 1 else _LAST


def _without_duplicates(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=_PLAIN),
    Field(description="Whose key it is.", examples=["Team A"]),
]
Time = Annotated[dt.datetime, BeforeValidator(_parse_time)]
Deployments = Annotated[
    list[Annotated[str, StringConstraints(pattern=rf"^(\*|{DEPLOYMENT_NAME.pattern})$")]],
    Field(
        max_length=MAX_DEPLOYMENTS,
        description=f'The deployments that it may call, by name; `["{ALL_DEPLOYMENTS}"]` is every one, `[]` none.',
        examples=[["gpt-image-2"]],
    ),
    AfterValidator(_without_duplicates),
]
_MetadataValue = Annotated[str, StringConstraints(max_length=256, pattern=_PLAIN)]
_MetadataName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PLAIN)]


def _complete_metadata_schema(schema: dict[str, Any]) -> None:
    """A rule for the names in a schema leaves what breaks it open; here nothing is."""
    ((pattern, note),) = schema.pop("patternProperties").items()
    schema["propertyNames"] = {"minLength": 1, "maxLength": 64, "pattern": pattern}
    schema["additionalProperties"] = note


Metadata = Annotated[
    dict[_MetadataName, _MetadataValue],
    Field(
        max_length=MAX_METADATA,
        description="The operator's own notes. The gateway does not look at them.",
        examples=[{"cost_center": "4711"}],
        json_schema_extra=_complete_metadata_schema,
    ),
]
Active = Annotated[bool, Field(description="Whether it counts. Calls with an inactive key are 403.")]
ExpiresAt = Annotated[Time | None, Field(description="From this moment on it no longer counts; `null`: never.")]


class Form(BaseModel):
    """A body: strict types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)


class NewKey(Form):
    """A key to be made. What is left out, or `null`, is as it is most careful: no deployments, but also no limits."""

    name: Name
    deployments: Deployments | None = None
    active: Active = True
    expires_at: ExpiresAt = None
    rate_limit: RateLimitForm | None = None
    budget: BudgetForm | None = None
    metadata: Metadata | None = None

    @property
    def terms(self) -> KeyTerms:
        """What the operator decided."""
        return KeyTerms(
            name=self.name,
            deployments=tuple(self.deployments or ()),
            active=self.active,
            expires_at=self.expires_at,
            limits=parse_limits(self.rate_limit, self.budget),
            metadata=self.metadata or {},
        )


def _remove_defaults(schema: dict[str, Any]) -> None:
    """What is left out stays as it is, so that there are none."""
    for field in schema["properties"].values():
        field.pop("default", None)


class KeyChanges(Form):
    """What is to change. A field that is left out stays; one that is given is replaced whole, and cleared by `null`."""

    model_config = ConfigDict(json_schema_extra=_remove_defaults)

    name: Name = ""
    deployments: Deployments | None = None
    active: Active = True
    expires_at: ExpiresAt = None
    rate_limit: RateLimitForm | None = None
    budget: BudgetForm | None = None
    metadata: Metadata | None = None

    def applied_to(self, terms: KeyTerms) -> KeyTerms:
        """The terms with what was given in their place."""
        given = parse_limits(self.rate_limit, self.budget)
        has = self.model_fields_set
        limits = Limits(
            requests=given.requests if "rate_limit" in has else terms.limits.requests,
            images=given.images if "rate_limit" in has else terms.limits.images,
            budget=given.budget if "budget" in has else terms.limits.budget,
        )
        values: dict[str, Any] = {
            "name": self.name,
            "deployments": tuple(self.deployments or ()),
            "active": self.active,
            "expires_at": self.expires_at,
            "metadata": self.metadata or {},
        }
        return replace(terms, limits=limits, **{name: values[name] for name in has & values.keys()})


class Rotation(Form):
    """How a key gets a new secret."""

    grace_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_GRACE_SECONDS,
            description="How long the old secret goes on to count. One that was in its own grace time ends at once.",
        ),
        WHOLE,
    ] = DEFAULT_GRACE_SECONDS

    @property
    def grace(self) -> dt.timedelta:
        """The same as a value."""
        return dt.timedelta(seconds=self.grace_seconds)
