"""From a call that has ended to its entry in the ledger."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from core.deployments.catalogue import Deployment
from core.deployments.costs import NO_COST, Basis, Bill
from core.deployments.families import FAMILIES
from core.deployments.parameters import map_parameters
from core.deployments.route_plan import PlanStep, RoutePlan
from core.domain.tokens import Tokens
from core.ledger.entry import Entry, as_json, make_entry
from core.storage.row_keys import BilledParty
from core.telemetry.call_log import CallRecord
from tests.deployments.asking import asked, target
from tests.limits.keeping import NOON, TEAM_A, charge, entry

PROMPT = "canary-of-a-prompt"


def plan(**deployments: str | None) -> RoutePlan:
    """A plan over deployments of these families."""
    return RoutePlan(
        steps=tuple(
            PlanStep(
                fallback_index=index,
                deployment=Deployment(name=name, family=FAMILIES.get(family or ""), targets=(target(name),)),
                body=map_parameters(asked(), FAMILIES.get(family or "")),
            )
            for index, (name, family) in enumerate(deployments.items())
        )
    )


def ended(record: dict[str, Any] | None = None, **known: Any) -> Entry:
    """The entry of a call that ended at noon."""
    given: dict[str, Any] = {"event_id": "event-1", "deployment": "a", **(record or {})}
    parts: dict[str, Any] = {"request": None, "plan": None, "bill": NO_COST, "first_event_ms": None, **known}
    return make_entry(CallRecord(**given), billed_party=TEAM_A, ended_at=NOON, **parts)


def test_a_picture() -> None:
    """All that is known of a call that drew is in its entry."""
    bill = Bill(charges=(charge(),))
    found = ended(
        {
            "deployment_used": "b",
            "stream": True,
            "outcome": "picture",
            "attempts": 2,
            "status": 200,
            "latency_ms": 61_500,
        },
        request=asked(prompt=PROMPT, n=3, size="1024x1536", quality="hd", stream=True, user="canary-of-a-user"),
        plan=plan(a="dall-e-3", b="gpt-image-2"),
        bill=bill,
        first_event_ms=20_000,
    )
    assert (
        Entry(
            billed_party=TEAM_A,
            time=NOON - dt.timedelta(seconds=61.5),
            deployment="a",
            deployment_used="b",
            family="gpt-image-2",
            n=3,
            size="1024x1536",
            quality="hd",
            outcome="picture",
            status=200,
            attempts=2,
            latency_ms=61_500,
            first_event_ms=20_000,
            event_id="event-1",
            stream=True,
            bill=bill,
        )
        == found
    )
    assert "canary" not in str(found.row()) + str(found)


def test_a_request_that_could_not_be_read() -> None:
    """A call that was refused before it was understood has an entry without what was not understood."""
    found = ended({"outcome": "invalid_json", "status": 400})
    assert (None, None, None, None, None) == (found.family, found.n, found.size, found.quality, found.deployment_used)
    assert {"n", "size", "quality", "family", "deployment_used", "first_event_ms"}.isdisjoint(found.row().values)


@pytest.mark.parametrize(
    ("used", "family"), [(None, "dall-e-3"), ("a", "dall-e-3"), ("b", None), ("c", "gpt-image-2")], ids=str
)
def test_family(used: str | None, family: str | None) -> None:
    """The family is that of the deployment that drew; where none did, of the one asked for."""
    found = ended({"deployment_used": used}, plan=plan(a="dall-e-3", b=None, c="gpt-image-2"))
    assert family == found.family


def test_a_caller_who_left() -> None:
    """A caller who left saw no status; what was in flight is on the bill."""
    bill = Bill(charges=(charge(9, possibly_billed=True, images=0, possible_images=1, basis=Basis.ESTIMATE),))
    values = ended({"latency_ms": 5}, bill=bill).row().values
    assert ("left", 9, True, "estimate") == (
        values["outcome"],
        values["nanos"],
        values["possibly_billed"],
        values["basis"],
    )
    assert "status" not in values


def test_as_json() -> None:
    """A call as JSON has every field; what is not known is null, and a cost that is not known is not 0."""
    unknown = charge(None, basis=Basis.UNKNOWN, tokens=None, deployment="b")
    found = as_json(entry(TEAM_A, charge(40_000_000), unknown, status=200).row().values)
    assert {
        "time": "2026-10-05T12:00:00.000+00:00",
        "key_id": "team-a",
        "admin": False,
        "event_id": "event-1",
        "deployment": "gpt-image-2",
        "deployment_used": "gpt-image-2",
        "family": None,
        "n": None,
        "size": None,
        "quality": None,
        "stream": False,
        "outcome": "picture",
        "status": 200,
        "attempts": 1,
        "latency_ms": 0,
        "first_event_ms": None,
        "images": 2,
        "text_in": 5,
        "image_in": 0,
        "image_out": 9,
        "text_out": 0,
        "nanos": None,
        "basis": "unknown",
        "price_as_of": None,
        "possibly_billed": False,
        "cost_usd": None,
        "charges": [
            {"deployment": "gpt-image-2", "nanos": 40_000_000, "basis": "usage", "images": 1, "cost_usd": 0.04},
            {"deployment": "b", "nanos": None, "basis": "unknown", "images": 1, "cost_usd": None},
        ],
    } == found


def test_a_call_that_cost_nothing() -> None:
    """A failure that is not billed costs 0, for certain."""
    found = as_json(entry(TEAM_A, outcome="content_filter", bill=NO_COST).row().values)
    assert (0.0, "not_billed", False, []) == (
        found["cost_usd"],
        found["basis"],
        found["possibly_billed"],
        found["charges"],
    )


def test_what_upstream_said_is_cut() -> None:
    """An error's code may be upstream's own text; of one that is none only the beginning is kept."""
    row = entry(outcome="x" * 100_000, bill=NO_COST).row()
    assert "x" * 128 == row.values["outcome"]


def test_when_a_price_is_from() -> None:
    """A call says when the oldest price of its bill was looked up."""
    dates = [dt.date(2026, 11, 1), dt.date(2025, 3, 1)]
    row = entry(TEAM_A, *(charge(1, price_as_of=date) for date in dates)).row()
    assert "2025-03-01" == row.values["price_as_of"]


def test_places() -> None:
    """A call is kept under its payer and month, and by its time; an admin's id is none of a key."""
    row = entry(time=dt.datetime(2026, 10, 5, 12, 0, 0, 123_000, tzinfo=dt.UTC)).row()
    assert ("team-a~2026-10", "c~1791201600123~") == (row.partition, row.key[:16])
    assert "admin~team-a~2026-10" == entry(BilledParty(id="team-a", is_admin=True)).row().partition


@pytest.mark.parametrize(
    ("attempts", "used", "expected"), [(0, None, "(none)"), (1, None, "asked"), (1, "other", "other")]
)
def test_where_a_call_counts(attempts: int, used: str | None, expected: str) -> None:
    """A call counts where it was answered, or failed; one that never went upstream belongs to no deployment."""
    found = entry(deployment="asked", deployment_used=used, attempts=attempts, bill=NO_COST)
    assert [expected] == list(found.totals())


def test_sums_of_a_call() -> None:
    """A call counts where it was answered, and each charge where it was spent, with tokens and pictures."""
    charges = (
        charge(3, deployment="a", tokens=None, basis=Basis.ESTIMATE, possibly_billed=True, images=0, possible_images=2),
        charge(4, deployment="b", tokens=Tokens(text_in=1, image_in=2, image_out=3, text_out=4)),
    )
    totals = entry(TEAM_A, *charges, deployment="a", deployment_used="b").totals()
    assert {
        "a": {"possible_images": 2, "nanos": 3, "possible_nanos": 3},
        "b": {
            "calls": 1,
            "images": 1,
            "text_in": 1,
            "image_in": 2,
            "image_out": 3,
            "text_out": 4,
            "nanos": 4,
            "possibly_billed_calls": 1,
        },
    } == {deployment: each.values() for deployment, each in totals.items()}
