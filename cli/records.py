"""A key's record as the admin API gives it, and in words."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from pydantic import AwareDatetime, Field

from cli.answers import Answer, exact, when
from cli.screen import Cell, Column

COLUMNS: Final = (
    Column("ID", wraps=False),
    Column("Name"),
    Column("Key", wraps=False, needs_width=100),
    Column("May call"),
    Column("Limits"),
    Column("State", most_width=len("2027-01-01")),
)
"""What a list of keys shows."""
EVERY: Final = "*"
_UNIT_WORDS: Final = {"1s": "s", "1m": "min", "1h": "h", "1d": "day"}


class Rate(Answer):
    """At most `limit` in any `window`."""

    limit: int
    window: str

    def words(self, what: str) -> str:
        """Say it: `20 images/h`."""
        return f"{self.limit} {what}/{_UNIT_WORDS.get(self.window, self.window)}"


class RateLimit(Answer):
    """How often, and how many."""

    requests: Rate | None = None
    images: Rate | None = None


class Budget(Answer):
    """At most `usd` in a calendar window (UTC)."""

    usd: float
    window: str

    def words(self) -> str:
        """Say it: `50 USD/month`."""
        amount = exact(self.usd)
        return f"{amount} USD in {self.window}" if self.window == "total" else f"{amount} USD/{self.window}"


class KeyRecord(Answer):
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

    @property
    def may_call(self) -> list[str]:
        """What it may call, in words."""
        if self.deployments == (EVERY,):
            return ["everything"]
        return list(self.deployments) or ["nothing"]

    @property
    def limits(self) -> list[str]:
        """How much in a window of time, in words."""
        both = self.rate_limit or RateLimit()
        return [rate.words(what) for what, rate in (("images", both.images), ("requests", both.requests)) if rate]

    def state(self, now: dt.datetime) -> str:
        """Whether it counts at a moment, in words."""
        if not self.active:
            return "inactive"
        if self.expires_at is None:
            return "active"
        return f"expired {when(self.expires_at)}" if self.expires_at <= now else f"until {when(self.expires_at)}"

    def row(self, now: dt.datetime) -> dict[str, Cell]:
        """Give what a list shows of it."""
        budget = [self.budget.words()] if self.budget else []
        return {
            "ID": self.id,
            "Name": self.name,
            "Key": self.prefix,
            "May call": self.may_call,
            "Limits": [*self.limits, *budget] or "none",
            "State": self.state(now),
        }

    def fields(self, now: dt.datetime) -> dict[str, str]:
        """Give all of it, by what people call it."""
        of_setting = self.source == "setting"
        return {
            "ID": self.id,
            "Name": self.name,
            "Key": "of the setting GATEWAY_VIRTUAL_KEYS, changed only there" if of_setting else f"{self.prefix}…",
            **({"Old secret": f"counts until {when(self.previous_key_until)}"} if self.previous_key_until else {}),
            "State": self.state(now),
            "May call": ", ".join(self.may_call),
            "Limits": ", ".join(self.limits) or "none",
            "Budget": self.budget.words() if self.budget else "none",
            "Metadata": ", ".join(f"{name}={value}" for name, value in self.metadata.items()) or "none",
            "Made": when(self.created_at) if self.created_at else "not known",
            "Changed": when(self.updated_at) if self.updated_at else "not known",
            "Last used": when(self.last_used_at) if self.last_used_at else "never",
        }
