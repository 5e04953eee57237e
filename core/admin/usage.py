"""What keys have used: what one has left of its limits now, and what was generated and paid on some days."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.admin.parsing import make_cursor, read_cursor
from core.admin.usage_views import BudgetUse, KeyUsage, RateUse, UsagePage
from core.auth.limits_json import usd, window_text
from core.domain.errors import InvalidRequest
from core.domain.json_input import shown
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
