"""A virtual key as the admin API returns it: in words, with its limits, and with the changes that a command makes."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import AwareDatetime, Field

from cli.client import ApiModel
from cli.output import Cell, Column, format_time, format_usd

COLUMNS: Final = (
    Column("ID", wraps=False),
    Column("Name"),
    Column("Key", wraps=False, min_terminal_width=100),
    Column("Deployments"),
    Column("Limits"),
    Column("State", max_terminal_width=len("2027-01-01")),
)
"""What a list of keys shows."""

_WINDOWS: Final = {"1s": "s", "1m": "min", "1h": "h", "1d": "day"}
_REMOVED: Final[Mapping[str, Any]] = {"expires_at": None, "rate_limit": None, "budget": None, "metadata": {}}
"""The value of a field that has been removed."""


class Rate(ApiModel):
    """At most `limit` in any `window`."""

    limit: int
    window: str

    def describe(self, what: str) -> str:
        """Say it: `20 images/h`."""
        return f"{self.limit} {what}/{_WINDOWS.get(self.window, self.window)}"


class RateLimit(ApiModel):
    """The limits on requests and images."""

    requests: Rate | None = None
    images: Rate | None = None


class Budget(ApiModel):
    """At most `usd` in a calendar window (UTC)."""

    usd: float
    window: str

    def describe(self) -> str:
        """Say it with all decimals, as many as it has: `50 USD/month`. The gateway counts in billionths."""
        amount = f"{self.usd:,.9f}".rstrip("0").rstrip(".")
        return f"{amount} USD in {self.window}" if self.window == "total" else f"{amount} USD/{self.window}"


class KeyRecord(ApiModel):
    """A key without its secret."""

    id: str
    name: str
    prefix: str = ""
    source: str = "store"
    deployments: tuple[str, ...] = ()
    active: bool = True
    expires_at: AwareDatetime | None = None
    rate_limit: RateLimit | None = None
    budget: Budget | None = None
    metadata: Mapping[str, str] = Field(default_factory=dict)
    previous_key_until: AwareDatetime | None = None
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None
    last_used_at: AwareDatetime | None = None
    etag: str = ""

    def row(self, now: dt.datetime) -> dict[str, Cell]:
        budget = [self.budget.describe()] if self.budget else []
        return {
            "ID": self.id,
            "Name": self.name,
            "Key": self.prefix,
            "Deployments": self._deployments(),
            "Limits": [*self._limits(), *budget] or "none",
            "State": self._state(now),
        }

    def fields(self, now: dt.datetime) -> dict[str, str]:
        in_setting = self.source == "setting"
        until = self.previous_key_until
        return {
            "ID": self.id,
            "Name": self.name,
            "Key": "in the setting GATEWAY_VIRTUAL_KEYS, and changed only there" if in_setting else f"{self.prefix}…",
            **({"Old secret": f"valid until {format_time(until)}"} if until else {}),
            "State": self._state(now),
            "Deployments": ", ".join(self._deployments()),
            "Limits": ", ".join(self._limits()) or "none",
            "Budget": self.budget.describe() if self.budget else "none",
            "Metadata": ", ".join(f"{name}={value}" for name, value in self.metadata.items()) or "none",
            "Created": format_time(self.created_at) if self.created_at else "not known",
            "Updated": format_time(self.updated_at) if self.updated_at else "not known",
            "Last used": format_time(self.last_used_at) if self.last_used_at else "never",
        }

    def _deployments(self) -> list[str]:
        return ["all"] if self.deployments == ("*",) else list(self.deployments) or ["none"]

    def _limits(self) -> list[str]:
        limits = self.rate_limit or RateLimit()
        named = (("images", limits.images), ("requests", limits.requests))
        return [rate.describe(what) for what, rate in named if rate]

    def _state(self, now: dt.datetime) -> str:
        if not self.active:
            return "inactive"
        if self.expires_at is None:
            return "active"
        return f"{'expired' if self.expires_at <= now else 'expires'} {format_time(self.expires_at)}"


@dataclass(frozen=True, kw_only=True)
class KeyChanges:
    """What a command gives a key. None: the field stays as it is."""

    name: str | None = None
    deployments: list[str] | None = None
    active: bool | None = None
    expires_at: str | None = None
    images: Mapping[str, Any] | None = None
    requests: Mapping[str, Any] | None = None
    budget: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Notes that are added to those of the key."""
    removed: frozenset[str] = frozenset()
    """The fields that are emptied first: any of `expires_at`, `rate_limit`, `budget`, `metadata`."""

    def apply_to(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Give the changed fields of a record as JSON. The API replaces a field whole, so its parts are joined here."""
        changed = {name: _REMOVED[name] for name in self.removed}
        given = {name: getattr(self, name) for name in ("name", "deployments", "active", "expires_at", "budget")}
        changed |= {name: value for name, value in given.items() if value is not None}
        before = {**record, **changed}
        limits = {what: limit for what, limit in (("images", self.images), ("requests", self.requests)) if limit}
        if limits:
            changed["rate_limit"] = {**(before.get("rate_limit") or {}), **limits}
        if self.metadata:
            changed["metadata"] = {**(before.get("metadata") or {}), **self.metadata}
        return changed


class RateStatus(ApiModel):
    """What is left of a limit on images or requests."""

    limit: int
    window: str
    remaining: int

    def describe(self) -> str:
        return f"{self.remaining:,} of {self.limit:,} left in {self.window}"


class BudgetStatus(ApiModel):
    """What is left of a budget."""

    usd: float
    window: str
    spent_usd: float
    reserved_usd: float = 0.0
    remaining_usd: float
    renews_at: AwareDatetime | None = None

    def describe(self) -> str:
        window = "in total" if self.window == "total" else f"this {self.window}"
        reserved = f", {format_usd(self.reserved_usd)} reserved for calls in flight" if self.reserved_usd else ""
        renews = f"; renews {format_time(self.renews_at)}" if self.renews_at else ""
        return (
            f"{format_usd(self.remaining_usd)} of {format_usd(self.usd)} USD left {window}"
            f" ({format_usd(self.spent_usd)} spent{reserved}){renews}"
        )


class LimitStatus(ApiModel):
    """What is left of a key's limits now. None: there is no such limit."""

    id: str
    in_flight: int = 0
    requests: RateStatus | None = None
    images: RateStatus | None = None
    budget: BudgetStatus | None = None

    def fields(self) -> dict[str, str]:
        return {
            "ID": self.id,
            "Budget": self.budget.describe() if self.budget else "not limited",
            "Images": self.images.describe() if self.images else "not limited",
            "Requests": self.requests.describe() if self.requests else "not limited",
            "In flight": str(self.in_flight),
        }
