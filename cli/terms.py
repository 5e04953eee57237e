"""What the options of a command ask of a key, as the admin API's JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMPTY: Final[Mapping[str, Any]] = {"expires_at": None, "rate_limit": None, "budget": None, "metadata": {}}
"""How a field says that there is nothing."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is asked; None: it stays as it is."""

    name: str | None = None
    deployments: list[str] | None = None
    active: bool | None = None
    expires_at: str | None = None
    images: Mapping[str, Any] | None = None
    requests: Mapping[str, Any] | None = None
    budget: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What is added to the notes that are there."""
    without: frozenset[str] = frozenset()
    """What is removed first: any of `expires_at`, `rate_limit`, `budget`, `metadata`."""

    def over(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields of a key that change; the API takes each field whole, so what is in them is joined here."""
        changes = {name: _EMPTY[name] for name in self.without}
        asked = {name: getattr(self, name) for name in ("name", "deployments", "active", "expires_at", "budget")}
        changes |= {name: value for name, value in asked.items() if value is not None}
        before = {**record, **changes}
        limits = {"images": self.images, "requests": self.requests}
        given = {what: limit for what, limit in limits.items() if limit is not None}
        if given:
            changes["rate_limit"] = {**(before.get("rate_limit") or {}), **given}
        if self.metadata:
            changes["metadata"] = {**(before.get("metadata") or {}), **self.metadata}
        return changes
