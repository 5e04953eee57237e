"""Who calls, and which deployments they may call."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from core.domain.limits import UNLIMITED, Limits

ALL_DEPLOYMENTS: Final = "*"


class Caller(Struct, frozen=True, kw_only=True):
    """A caller whose credential has been checked."""

    id: str
    """The virtual key's id, or the `sub` of an admin's JWT."""
    is_admin: bool = False
    deployments: frozenset[str] = frozenset()
    """What the key's record allows; `*` stands for every deployment."""
    narrowed_to: frozenset[str] | None = None
    """The only ones of them that the JWT allows; None: the JWT does not say."""
    limits: Limits = UNLIMITED
    """The key's limits; an admin has none."""

    @property
    def scope(self) -> str:
        """Its name among keys and admins: what belongs to one caller only is kept under it."""
        return f"{'admin' if self.is_admin else 'key'}:{self.id}"

    def may_call(self, deployment: str) -> bool:
        """Whether this caller may call a deployment, by the very name that is called."""
        if self.narrowed_to is not None and not _includes(self.narrowed_to, deployment):
            return False
        return self.is_admin or _includes(self.deployments, deployment)


def _includes(allowed: frozenset[str], deployment: str) -> bool:
    return ALL_DEPLOYMENTS in allowed or deployment in allowed
