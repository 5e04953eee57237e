"""What keys have used: how one stands with its limits now, and what was drawn and paid on some days."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.admin.parsing import cursor_of, read_cursor
from core.admin.usage_views import BudgetUse, KeyUsage, RateUse, UsagePage
from core.auth.limits_json import usd, window_text
from core.domain.errors import InvalidRequest
from core.domain.request import shown
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


class _Holder(Struct, frozen=True):
    """Whose limits are asked for."""

    id: str
    allowance: Limits


class Usage:
    """Reports for operators. Every method raises InvalidRequest (400), LimitsUnavailable (503) and StoreUnavailable."""

    def __init__(self, governor: Limiter, reports: UsageReports) -> None:
        self._governor = governor
        self._reports = reports

    async def of_all(self, query: Mapping[str, str], *, today: dt.date, limit: int) -> UsagePage:
        """Report on all callers."""
        return UsagePage.model_validate(await self._report(query, today=today, limit=limit, default=GroupBy.KEY))

    async def of_key(
        self, key_id: str, allowance: Limits, query: Mapping[str, str], *, today: dt.date, limit: int
    ) -> KeyUsage:
        """Report on one key, and how it stands with its limits."""
        standing = await self._governor.usage(_Holder(key_id, allowance)) if allowance.is_limited else LimitStatus()
        report = await self._report(query, today=today, limit=limit, default=GroupBy.DAY, payer=BilledParty(id=key_id))
        limits: dict[str, Any] = {
            "in_flight": standing.in_flight,
            "requests": _rate_use(allowance.requests, standing.requests),
            "images": _rate_use(allowance.images, standing.images),
            "budget": _budget_use(standing.budget),
        }
        return KeyUsage.model_validate({"id": key_id, **limits, **report})

    async def _report(
        self,
        query: Mapping[str, str],
        *,
        today: dt.date,
        limit: int,
        default: GroupBy,
        payer: BilledParty | None = None,
    ) -> dict[str, Any]:
        report: Report = await self._reports.report(
            _days(query, today),
            group_by=_group_by(query.get("group_by"), default),
            payer=payer,
            limit=limit,
            cursor=read_cursor(query["cursor"]) if "cursor" in query else None,
        )
        following = report.next_cursor
        return {**report.as_json(), "next_cursor": None if following is None else cursor_of(following)}


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


def _rate_use(rate: Rate | None, standing: RateStatus | None) -> RateUse | None:
    if rate is None or standing is None:
        return None
    return RateUse(
        limit=standing.limit,
        window=window_text(rate.window_seconds),
        remaining=standing.remaining,
        reset_seconds=standing.reset_seconds,
    )


def _budget_use(standing: BudgetStatus | None) -> BudgetUse | None:
    if standing is None:
        return None
    return BudgetUse(
        usd=usd(standing.budget.nanos),
        window=standing.budget.window,
        spent_usd=usd(standing.spent_nanos),
        reserved_usd=usd(standing.reserved_nanos),
        remaining_usd=usd(standing.remaining_nanos),
        renews_at=standing.renews_at,
    )
