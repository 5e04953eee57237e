"""What passes between a call and the quota of its key, as values.

Times are whole milliseconds of Unix time; money is in billionths of a US dollar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from core.domain.errors import BudgetExceeded, RateLimited
    from core.domain.limits import Limits, Rate
    from core.limits.limit_status import LimitStatus


class ReservationRequest(Struct, frozen=True, kw_only=True):
    """What a call wants to reserve."""

    id: str
    """Of the reservation; unique."""
    limits: Limits
    images: int
    nanos: int
    """The most that the call may cost."""
    lease: int
    """Milliseconds after which an unsettled reservation expires."""


class Reservation(Struct, frozen=True, kw_only=True):
    """What one call in flight has reserved."""

    at: int
    """When it was admitted."""
    day: int
    """The day whose budget it is charged to."""
    lease_ends: int
    images: int
    nanos: int


class Granted(Struct, frozen=True, kw_only=True):
    """A call was admitted."""

    reservation: Reservation
    status: LimitStatus


class Denied(Struct, frozen=True, kw_only=True):
    """A call was not admitted."""

    error: RateLimited | BudgetExceeded
    status: LimitStatus


class Settlement(Struct, frozen=True, kw_only=True):
    """What one call came to. With the defaults, what was reserved is released."""

    id: str
    """Of its reservation."""
    at: int = 0
    """When it was admitted."""
    day: int = 0
    """The day whose budget it is charged to."""
    images: int = 0
    """Pictures that were generated, or may have been."""
    nanos: int = 0
    images_rate: Rate | None = None
    """The key's limit on pictures when the call was admitted."""
