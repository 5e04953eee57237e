"""One call in the ledger. What may be stored is listed here, field by field: no prompt, no picture, no key."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import orjson
from msgspec import Struct

from core.deployments.costs import Basis, Bill
from core.domain.outcome import OutcomeKind
from core.ledger.totals import Totals, usd
from core.storage.row_keys import call_key, clean, month_of, partition_of
from core.storage.tables import Row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.deployments.costs import Charge
    from core.deployments.route_plan import RoutePlan
    from core.domain.request import ImageRequest
    from core.storage.row_keys import BilledParty
    from core.storage.tables import Value
    from core.telemetry.call_log import CallRecord

NO_DEPLOYMENT: Final = "(none)"
"""The deployment of calls that never went upstream in totals: callers may name any, without end."""
_MAX_CODE_LENGTH: Final = 128
"""Upstream's error codes are passed on; they are short, but nothing guarantees that."""


class Entry(Struct, frozen=True, kw_only=True):
    """One call."""

    billed_party: BilledParty
    time: dt.datetime
    """When it came in, in UTC; it is counted on that day."""
    deployment: str
    """The one that the caller named."""
    deployment_used: str | None = None
    """The one that generated the pictures."""
    family: str | None = None
    """Of the deployment used, or else of the one that the caller named."""
    n: int | None = None
    """Pictures requested; None, as for size and quality: the request could not be read, or did not say."""
    size: str | None = None
    quality: str | None = None
    outcome: str
    """`picture`, the error's code, or `left`: the caller went away first."""
    status: int | None = None
    """The HTTP status of the answer; None if the caller had left."""
    attempts: int = 0
    """How often upstream was called."""
    latency_ms: int = 0
    first_event_ms: int | None = None
    """Milliseconds until a stream's caller was sent its first picture, partial or final."""
    event_id: str
    stream: bool = False
    bill: Bill

    @property
    def day(self) -> dt.date:
        """The day it is counted on, in UTC."""
        return self.time.astimezone(dt.UTC).date()

    @property
    def partition(self) -> str:
        """The partition of its row."""
        return partition_of(self.billed_party.name, month_of(self.day))

    def row(self) -> Row:
        """Make its row."""
        return Row(partition=self.partition, key=call_key(self.time), values=self._values())

    def totals(self) -> Mapping[str, Totals]:
        """What it adds to the totals of each deployment: the call where it was answered, money where it was spent."""
        bill = self.bill
        answered = self.deployment_used or (self.deployment if self.attempts else NO_DEPLOYMENT)
        totals = {
            answered: Totals(
                calls=1,
                failed_calls=int(self.outcome != OutcomeKind.PICTURE),
                possibly_billed_calls=int(bill.possibly_billed),
            )
        }
        unpriced = next((charge for charge in bill.charges if charge.nanos is None), None)
        if unpriced is not None:
            totals[unpriced.deployment] = totals.get(unpriced.deployment, Totals()) + Totals(unpriced_calls=1)
        for charge in bill.charges:
            totals[charge.deployment] = totals.get(charge.deployment, Totals()) + _charge_totals(charge)
        return totals

    def _values(self) -> dict[str, Value]:
        bill, tokens = self.bill, self.bill.tokens
        values: dict[str, Value | None] = {
            "time": self.time,
            "key_id": clean(self.billed_party.id),
            "admin": self.billed_party.is_admin or None,
            "deployment": self.deployment,
            "deployment_used": self.deployment_used,
            "family": self.family,
            "n": self.n,
            "size": self.size,
            "quality": self.quality,
            "outcome": clean(self.outcome, _MAX_CODE_LENGTH),
            "status": self.status,
            "attempts": self.attempts,
            "latency_ms": self.latency_ms,
            "first_event_ms": self.first_event_ms,
            "images": bill.images,
            "text_in": None if tokens is None else tokens.text_in,
            "image_in": None if tokens is None else tokens.image_in,
            "image_out": None if tokens is None else tokens.image_out,
            "text_out": None if tokens is None else tokens.text_out,
            "nanos": bill.nanos,
            "basis": str(bill.basis),
            "price_as_of": None if bill.price_as_of is None else bill.price_as_of.isoformat(),
            "possibly_billed": bill.possibly_billed,
            "charges": _charges(bill),
            "event_id": self.event_id,
            "stream": self.stream,
        }
        return {name: value for name, value in values.items() if value is not None}


def make_entry(
    record: CallRecord,
    *,
    billed_party: BilledParty,
    ended_at: dt.datetime,
    request: ImageRequest | None,
    plan: RoutePlan | None,
    bill: Bill,
    first_event_ms: int | None,
) -> Entry:
    """Make the entry of a call that has ended, from its line in the log and what else is known of it.

    `ended_at` is the wall clock, in UTC. `request` and `plan` are None where the call did not come so far.
    """
    return Entry(
        billed_party=billed_party,
        time=ended_at - dt.timedelta(milliseconds=record.latency_ms),
        deployment=record.deployment,
        deployment_used=record.deployment_used,
        family=_family(plan, record.deployment_used),
        n=None if request is None else request.images,
        size=None if request is None else request.size,
        quality=None if request is None else request.quality,
        outcome=record.outcome,
        status=record.status,
        attempts=record.attempts,
        latency_ms=record.latency_ms,
        first_event_ms=first_event_ms,
        event_id=record.event_id,
        stream=record.stream,
        bill=bill,
    )


def as_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Write the row of a call as JSON: every field, unknown ones as null, money in US dollars."""
    nanos, charges, time = values.get("nanos"), values.get("charges"), values.get("time")
    return {
        "time": time.isoformat(timespec="milliseconds") if isinstance(time, dt.datetime) else None,
        "admin": values.get("admin", False),
        **{name: values.get(name) for name in _SHOWN},
        "cost_usd": usd(nanos) if isinstance(nanos, int) else None,
        "charges": [
            {**charge, "cost_usd": None if charge["nanos"] is None else usd(charge["nanos"])}
            for charge in (orjson.loads(charges) if isinstance(charges, str) else [])
        ],
    }


_SHOWN: Final = (
    *("key_id", "event_id", "deployment", "deployment_used", "family", "n", "size", "quality", "stream"),
    *("outcome", "status", "attempts", "latency_ms", "first_event_ms"),
    *("images", "text_in", "image_in", "image_out", "text_out", "nanos", "basis", "price_as_of", "possibly_billed"),
)


def _family(plan: RoutePlan | None, deployment_used: str | None) -> str | None:
    if plan is None:
        return None
    names = {step.deployment.name: step.deployment for step in plan.steps}
    family = names.get(deployment_used or "", plan.steps[0].deployment).family
    return None if family is None else family.name


def _charge_totals(charge: Charge) -> Totals:
    nanos = charge.nanos or 0
    tokens = charge.tokens
    return Totals(
        images=charge.images,
        possible_images=charge.possible_images,
        nanos=nanos,
        estimated_nanos=nanos if charge.basis is Basis.ESTIMATE and not charge.possibly_billed else 0,
        possible_nanos=nanos if charge.possibly_billed else 0,
        text_in=0 if tokens is None else tokens.text_in,
        image_in=0 if tokens is None else tokens.image_in,
        image_out=0 if tokens is None else tokens.image_out,
        text_out=0 if tokens is None else tokens.text_out,
    )


def _charges(bill: Bill) -> str | None:
    """The charges of a call with more than one, so that rows and totals can be compared."""
    if len(bill.charges) <= 1:
        return None
    return orjson.dumps(
        [
            {"deployment": charge.deployment, "nanos": charge.nanos, "basis": charge.basis, "images": charge.images}
            for charge in bill.charges
        ]
    ).decode()
