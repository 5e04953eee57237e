"""What passes between a call and the account of its key, as values.

Moments are whole milliseconds of Unix time; money is in billionths of a US dollar.
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
    """Of the reservation: no other has it."""
    limits: Limits
    images: int
    nanos: int
    """What it may cost at most."""
    lease: int
    """After so many milliseconds without a word it is given back."""


class Reservation(Struct, frozen=True, kw_only=True):
    """What one call in flight holds."""

    at: int
    """When it was let through."""
    day: int
    """The day on whose money it is."""
    lease_ends: int
    """From then on it is given back by whoever comes next."""
    images: int
    nanos: int


class Granted(Struct, frozen=True, kw_only=True):
    """A call was let through."""

    reservation: Reservation
    status: LimitStatus


class Denied(Struct, frozen=True, kw_only=True):
    """A call was not let through."""

    error: RateLimited | BudgetExceeded
    status: LimitStatus


class Settlement(Struct, frozen=True, kw_only=True):
    """What one call came to. By itself it is nothing at all: what was reserved is given back."""

    id: str
    """Of its reservation."""
    at: int = 0
    """When it was let through."""
    day: int = 0
    """The day on whose money it was."""
    images: int = 0
    """Pictures drawn, or possibly drawn."""
    nanos: int = 0
    images_rate: Rate | None = None
    """The key's limit on pictures when the call was let through."""
