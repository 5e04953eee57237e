"""What an operator sees of a key: everything but the key."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 -- pydantic reads the annotations
import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.auth.limits_json import BudgetForm, RateLimitForm, budget_form, rate_limit_form

if TYPE_CHECKING:
    from core.auth.key_record import KeyRecord
    from core.auth.virtual_keys import VirtualKey

_ETAG_CHARACTERS: Final = 32


class View(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class KeyView(View):
    """A virtual key. The key itself is nowhere in it: the gateway keeps its hash only."""

    id: Annotated[str, Field(examples=["vk-019341f3c0005f2a9c1e"])]
    name: str
    prefix: Annotated[
        str, Field(description="How the key begins; empty for a key of the setting.", examples=["sk-bf-1a2b"])
    ]
    source: Annotated[
        Literal["store", "setting"],
        Field(description="Where the key is kept. One of the setting `GATEWAY_VIRTUAL_KEYS` can only be read here."),
    ]
    deployments: list[str]
    active: bool
    expires_at: dt.datetime | None
    rate_limit: RateLimitForm | None
    budget: BudgetForm | None
    metadata: dict[str, str]
    previous_key_until: Annotated[
        dt.datetime | None, Field(description="Until then the secret before the last rotation counts, too.")
    ]
    created_at: dt.datetime | None
    updated_at: Annotated[dt.datetime | None, Field(description="Being used does not change it.")]
    last_used_at: Annotated[dt.datetime | None, Field(description="It may lag behind by some seconds.")]
    etag: Annotated[str, Field(description="For `If-Match`. It changes with every change of the key.")]


class OneKey(View):
    """One key."""

    virtual_key: KeyView


class NewSecret(View):
    """A key with its secret, which is shown this once."""

    virtual_key: KeyView
    key: Annotated[str, Field(examples=["sk-bf-1a2bX0nrJq5oPOpiPUTWNgMbXlbFQQYHFQS4pwCWJZ8"])]


class KeyPage(View):
    """A page of keys: first those of the setting, then the stored ones, the oldest first."""

    virtual_keys: list[KeyView]
    next_cursor: Annotated[str | None, Field(description="For the next page; `null`: this was the last.")]


def etag_of(record: KeyRecord) -> str:
    """The record's own ETag: a strong one (RFC 9110 §8.8.3), whatever the store's is."""
    return hashlib.sha256(record.etag.encode()).hexdigest()[:_ETAG_CHARACTERS]


def view_of(record: KeyRecord, *, now: dt.datetime, last_used_at: dt.datetime | None) -> KeyView:
    """Show a stored key."""
    terms, until = record.terms, record.previous_until
    return KeyView(
        id=record.id,
        name=terms.name,
        prefix=record.prefix,
        source="store",
        deployments=list(terms.deployments),
        active=terms.active,
        expires_at=terms.expires_at,
        rate_limit=rate_limit_form(terms.limits),
        budget=budget_form(terms.limits),
        metadata=dict(terms.metadata),
        previous_key_until=until if until is not None and until > now else None,
        created_at=record.created_at,
        updated_at=record.updated_at,
        last_used_at=last_used_at,
        etag=etag_of(record),
    )


def view_of_setting(key: VirtualKey, *, last_used_at: dt.datetime | None) -> KeyView:
    """Show a key of the setting."""
    return KeyView(
        id=key.id,
        name=key.name,
        prefix="",
        source="setting",
        deployments=sorted(key.deployments),
        active=key.active,
        expires_at=key.expires_at,
        rate_limit=rate_limit_form(key.limits),
        budget=budget_form(key.limits),
        metadata={},
        previous_key_until=None,
        created_at=None,
        updated_at=None,
        last_used_at=last_used_at,
        etag="",
    )
