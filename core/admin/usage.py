"""What keys have used: what one has left of its limits now, and what was generated and paid on some days."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Struct
from pydantic import ConfigDict, Field

from core.admin.parsing import make_cursor, read_cursor
from core.admin.views import View
from core.auth.limits_json import usd, window_text
from core.domain.errors import InvalidRequest
from core.domain.json_input import shown
from core.domain.limits import BudgetWindow  # noqa: TC001 -- pydantic reads the annotations
from core.ledger.reports import Days, GroupBy
from core.limits.limit_status import LimitStatus
from core.storage.row_keys import BilledParty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.domain.limits import Limits, Rate
    from core.ledger.reports import Report, UsageReports
    from core.limits.limit_status import BudgetStatus, RateStatus
    from core.limits.limiter import Limiter

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


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


class _LimitedKey(Struct, frozen=True):
    """A key whose status is asked for."""

    id: str
    limits: Limits


class Usage:
    """Reports for operators. Every method raises InvalidRequest (400), LimitsUnavailable (503) and StoreUnavailable."""

    def __init__(self, limiter: Limiter, reports: UsageReports) -> None:
        self._limiter = limiter
        self._reports = reports

    async def of_all(self, query: Mapping[str, str], *, today: dt.date, limit: int) -> UsagePage:
        """Report on all callers."""
        return UsagePage.model_validate(await self._report(query, today=today, limit=limit, default=GroupBy.KEY))

    async def of_key(
        self, key_id: str, limits: Limits, query: Mapping[str, str], *, today: dt.date, limit: int
    ) -> KeyUsage:
        """Report on one key, and what it has left of its limits."""
        status = await self._limiter.status(_LimitedKey(key_id, limits)) if limits.is_limited else LimitStatus()
        report = await self._report(
            query, today=today, limit=limit, default=GroupBy.DAY, billed_party=BilledParty(id=key_id)
        )
        left: dict[str, Any] = {
            "in_flight": status.in_flight,
            "requests": _rate_use(limits.requests, status.requests),
            "images": _rate_use(limits.images, status.images),
            "budget": _budget_use(status.budget),
        }
        return KeyUsage.model_validate({"id": key_id, **left, **report})

    async def _report(
        self,
        query: Mapping[str, str],
        *,
        today: dt.date,
        limit: int,
        default: GroupBy,
        billed_party: BilledParty | None = None,
    ) -> dict[str, Any]:
        report: Report = await self._reports.report(
            _days(query, today),
            group_by=_group_by(query.get("group_by"), default),
            billed_party=billed_party,
            limit=limit,
            cursor=read_cursor(query["cursor"]) if "cursor" in query else None,
        )
        following = report.next_cursor
        return {**report.as_json(), "next_cursor": None if following is None else make_cursor(following)}


def _days(query: Mapping[str, str], today: dt.date) -> Days:
    """The days that are asked for: by default this month, in UTC."""
    last = _day("to", query["to"]) if "to" in query else today
    first = _day("from", query["from"]) if "from" in query else last.replace(day=1)
    return Days(first=first, last=last)


def _day(name: str, text: str) -> dt.date:
    try:
        if _DATE.fullmatch(text):
            return dt.date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidRequest(f"{name} must be a date such as 2027-01-31, got {shown(text)}", param=name)


def _group_by(text: str | None, default: GroupBy) -> GroupBy:
    if text is None:
        return default
    try:
        return GroupBy(text)
    except ValueError:
        raise InvalidRequest(
            f"group_by must be one of {', '.join(GroupBy)}, got {shown(text)}", param="group_by"
        ) from None


def _rate_use(rate: Rate | None, status: RateStatus | None) -> RateUse | None:
    if rate is None or status is None:
        return None
    return RateUse(
        limit=status.limit,
        window=window_text(rate.window_seconds),
        remaining=status.remaining,
        reset_seconds=status.reset_seconds,
    )


def _budget_use(status: BudgetStatus | None) -> BudgetUse | None:
    if status is None:
        return None
    return BudgetUse(
        usd=usd(status.budget.nanos),
        window=status.budget.window,
        spent_usd=usd(status.spent_nanos),
        reserved_usd=usd(status.reserved_nanos),
        remaining_usd=usd(status.remaining_nanos),
        renews_at=status.renews_at,
    )
