"""What a call costs: estimated before it, billed after it. Pure functions over the plan and what its attempts drew.

The rules, in their order:

* a picture with a price for each: that price;
* a picture with `usage`: its tokens at their prices;
* a picture without `usage`: the family's token table, as an estimate;
* an attempt that may be billed without a picture (`AMBIGUOUS`, or begun and not seen to its end): its estimate,
  marked as possibly billed;
* any other failure: nothing. Azure bills no call that it turned away;
* no price, or no table where one is needed: unknown, which is None and never 0.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from core.deployments.prices import PARTIAL_TOKENS, ImagePrice, TokenPrice
from core.domain.limits import NANOS
from core.domain.outcome import OutcomeKind
from core.domain.tokens import Tokens

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from core.deployments.route_plan import PlanStep, RoutePlan
    from core.domain.tokens import AttemptUsage


class Basis(StrEnum):
    """What a cost rests on, from the surest to the least."""

    NOT_BILLED = "not_billed"
    """Nothing was drawn: the cost is 0, for certain."""
    USAGE = "usage"
    """The tokens that Azure counted."""
    PER_IMAGE = "per_image"
    """A price for each picture that came."""
    ESTIMATE = "estimate"
    """The family's token table, or an attempt that may not have been billed at all."""
    UNKNOWN = "unknown"
    """There is no price, or no count of tokens: the cost is None."""


_FROM_THE_SUREST: Final = tuple(Basis)


class Charge(Struct, frozen=True, kw_only=True):
    """What one deployment is charged in one call. Money in billionths of a US dollar."""

    deployment: str
    nanos: int | None
    """None: unknown."""
    basis: Basis
    images: int = 0
    """Pictures that came."""
    possible_images: int = 0
    """Pictures that may have been drawn, and did not come."""
    possibly_billed: bool = False
    tokens: Tokens | None = None
    """As Azure counted them; None where it did not."""
    price_as_of: dt.date | None = None
    """When the price was looked up, where that is known."""


class Bill(Struct, frozen=True, kw_only=True):
    """What one whole call costs."""

    charges: tuple[Charge, ...] = ()
    """One for each attempt that is billed, or may be; none: the call costs nothing."""

    @property
    def nanos(self) -> int | None:
        """The cost in billionths of a US dollar; None where any part of it is unknown."""
        return _sum([charge.nanos for charge in self.charges])

    @property
    def usd(self) -> float | None:
        """The cost in US dollars; None where any part of it is unknown."""
        return None if self.nanos is None else self.nanos / NANOS

    @property
    def basis(self) -> Basis:
        """What the cost rests on: the least sure of its parts."""
        return max((charge.basis for charge in self.charges), key=_FROM_THE_SUREST.index, default=Basis.NOT_BILLED)

    @property
    def images(self) -> int:
        """Pictures that came."""
        return sum(charge.images for charge in self.charges)

    @property
    def counted_images(self) -> int:
        """Pictures that count against a key's limit: those that came, and those that may have been drawn."""
        return sum(charge.images + charge.possible_images for charge in self.charges)

    @property
    def possibly_billed(self) -> bool:
        """Whether an attempt without a picture is in it, which Azure may bill or not."""
        return any(charge.possibly_billed for charge in self.charges)

    @property
    def price_as_of(self) -> dt.date | None:
        """When the oldest of the prices was looked up, where that is known."""
        return min((charge.price_as_of for charge in self.charges if charge.price_as_of is not None), default=None)

    @property
    def tokens(self) -> Tokens | None:
        """All tokens that Azure counted; None: it counted none."""
        counted = [charge.tokens for charge in self.charges if charge.tokens is not None]
        return sum(counted, Tokens()) if counted else None


NO_COST: Final = Bill()
"""The bill of a call that never went upstream."""


class Consumption(Protocol):
    """What is read of a generation's journal."""

    @property
    def consumed(self) -> Sequence[AttemptUsage]:
        """What each attempt drew, or may have drawn."""
        ...


def estimate(step: PlanStep, images: int) -> int | None:
    """What so many pictures of a step of the plan cost, in billionths of a US dollar; None: nobody knows.

    At the size, quality and partial images that are sent. The prompt's tokens are not in it: they are known only to
    the model, and settled by what it counts.
    """
    price = step.deployment.price
    if price is None:
        return None
    if isinstance(price, ImagePrice):
        return images * price.cost(step.body.fields.get("quality"), step.body.fields.get("size"))
    tokens = _estimated_tokens(step, images)
    return None if tokens is None else price.cost(tokens)


def make_bill(plan: RoutePlan | None, log: Consumption) -> Bill:
    """The bill of a call, complete or broken off, from what its attempts drew. `plan` None: it never came to one."""
    if plan is None:
        return NO_COST
    charges = [_charge(plan.steps[consumed.step], consumed) for consumed in log.consumed]
    return Bill(charges=tuple(charge for charge in charges if charge is not None))


def _charge(step: PlanStep, consumed: AttemptUsage) -> Charge | None:
    if consumed.is_uncertain:
        asked = int(step.body.fields.get("n") or 1)
        nanos = estimate(step, asked)
        basis = Basis.UNKNOWN if nanos is None else Basis.ESTIMATE
    elif consumed.kind is OutcomeKind.PICTURE:
        asked = 0
        nanos, basis = _cost_of_pictures(step, consumed)
    else:
        return None
    price = step.deployment.price
    return Charge(
        deployment=step.deployment.name,
        nanos=nanos,
        basis=basis,
        images=consumed.images,
        possible_images=asked,
        possibly_billed=consumed.is_uncertain,
        tokens=consumed.tokens,
        price_as_of=None if price is None else price.as_of,
    )


def _cost_of_pictures(step: PlanStep, consumed: AttemptUsage) -> tuple[int | None, Basis]:
    price = step.deployment.price
    if consumed.tokens is not None and isinstance(price, TokenPrice):
        return price.cost(consumed.tokens), Basis.USAGE
    nanos = estimate(step, consumed.images)
    if nanos is None:
        return None, Basis.UNKNOWN
    return nanos, Basis.PER_IMAGE if isinstance(price, ImagePrice) else Basis.ESTIMATE


def _estimated_tokens(step: PlanStep, images: int) -> Tokens | None:
    table = None if step.deployment.family is None else step.deployment.family.token_table
    if table is None:
        return None
    picture = table.tokens(step.body.fields.get("quality"), step.body.fields.get("size"))
    partials = int(step.body.fields.get("partial_images") or 0)
    return Tokens(image_out=images * picture + partials * PARTIAL_TOKENS)


def _sum(parts: Sequence[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
