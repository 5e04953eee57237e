"""What an operator sees of what was used."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 -- pydantic reads the annotations
from typing import Annotated

from pydantic import ConfigDict, Field

from core.admin.views import View
from core.domain.limits import BudgetWindow  # noqa: TC001 -- pydantic
from core.ledger.reports import GroupBy  # noqa: TC001 -- pydantic


class RateUse(View):
    """How a key stands with its requests or images."""

    limit: int
    window: str
    remaining: int
    reset_seconds: Annotated[float, Field(description="After so long nothing counts any more, if nothing is added.")]


class BudgetUse(View):
    """How a key stands with its budget."""

    usd: float
    window: BudgetWindow
    spent_usd: float
    reserved_usd: Annotated[float, Field(description="What calls in flight may cost.")]
    remaining_usd: Annotated[float, Field(description="Below 0 where calls cost more than was expected of them.")]
    renews_at: Annotated[dt.datetime | None, Field(description="`null`: never.")]


class TokensUsed(View):
    """Tokens, as Azure counted them."""

    text_in: int
    image_in: int
    image_out: int
    text_out: int


class Sums(View):
    """What calls come to."""

    calls: int
    failed_calls: Annotated[int, Field(description="Those that were not answered with a picture.")]
    images: int
    possible_images: Annotated[int, Field(description="Those that may have been drawn, and did not come.")]
    tokens: TokensUsed
    cost_usd: Annotated[float, Field(description="All that is known to cost something.")]
    estimated_usd: Annotated[float, Field(description="The part of it that is estimated.")]
    possibly_billed_usd: Annotated[float, Field(description="The part of it that Azure may not bill at all.")]
    possibly_billed_calls: int
    unpriced_calls: Annotated[int, Field(description="Calls of which a part has no known cost.")]


class UsageLine(Sums):
    """What calls of one caller, of one deployment or on one day come to."""

    key_id: Annotated[str | None, Field(description="The key, or the `sub` of an admin; with `group_by=key`.")] = None
    admin: Annotated[bool | None, Field(description="Whether it is an admin; with `group_by=key`.")] = None
    deployment: Annotated[str | None, Field(description="With `group_by=deployment`.")] = None
    day: Annotated[dt.date | None, Field(description="In UTC; with `group_by=day`.")] = None


class UsagePage(View):
    """A page of lines, and what all lines of all pages come to."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    first: Annotated[dt.date, Field(alias="from")]
    last: Annotated[dt.date, Field(alias="to")]
    group_by: GroupBy
    usage: list[UsageLine]
    totals: Sums
    next_cursor: str | None


class KeyUsage(UsagePage):
    """How a key stands with its limits now, and what it has used on some days."""

    id: str
    in_flight: Annotated[int, Field(description="Calls with limits that have been let through and have not ended.")]
    requests: RateUse | None
    images: RateUse | None
    budget: BudgetUse | None
