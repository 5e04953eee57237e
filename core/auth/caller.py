"""Who calls, and which deployments they may call."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from core.domain.limits import UNLIMITED, Limits

EVERY: Final = "*"
"""In a list of deployments: all of them."""


class Caller(Struct, frozen=True, kw_only=True):
    """A caller whose credential has been checked."""

    id: str
    """The virtual key's id, or the `sub` of an admin's JWT."""
    is_admin: bool = False
    deployments: frozenset[str] = frozenset()
    """What the key's record allows; `*` stands for every deployment."""
    narrowed_to: frozenset[str] | None = None
    """What a JWT narrows that to; it never widens. `None`: no narrowing."""
    limits: Limits = UNLIMITED
    """What the key may spend; an admin's is unlimited."""

    @property
    def scope(self) -> str:
        """Its name among keys and admins: what belongs to one caller only is kept under it."""
        return f"{'admin' if self.is_admin else 'key'}:{self.id}"

    def may_call(self, deployment: str) -> bool:
        """Whether this caller may call a deployment, by the very name that is called."""
        if self.narrowed_to is not None and not _names(self.narrowed_to, deployment):
            return False
        return self.is_admin or _names(self.deployments, deployment)


def _names(allowed: frozenset[str], deployment: str) -> bool:
    return EVERY in allowed or deployment in allowed
