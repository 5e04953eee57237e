"""What is kept of an answer under its name, and which answers free the name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from core.domain.response import HttpResponse
from core.idempotency.replay import release, replay, store_response
from core.idempotency.store import StoredResponse
from core.storage.blobs import Whole
from core.storage.tables import Changed, StoreUnavailable
from tests.idempotency.test_store import BODY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DOWN = StoreUnavailable("no answer", perhaps_done=False)


class FakeClaim:
    """A name that is held, over a store that fails as often as it is told."""

    def __init__(self, *fails: Exception) -> None:
        self.fails = list(fails)
        self.kept: tuple[int, Mapping[str, str], Sequence[Any]] | None = None
        self.is_free = False
        self.waits: list[float] = []

    async def keep(self, status: int, headers: Mapping[str, str], body: Sequence[Any]) -> None:
        self._fail()
        self.kept = status, headers, body

    async def release(self) -> None:
        self._fail()
        self.is_free = True

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def _fail(self) -> None:
        if self.fails:
            raise self.fails.pop(0)


async def ended(reply: HttpResponse, *fails: Exception) -> FakeClaim:
    """A name whose call has come to this answer."""
    claim = FakeClaim(*fails)
    await store_response(claim, reply, event_id="e1", wait=claim.wait)  # type: ignore[arg-type]
    return claim


@pytest.mark.parametrize(
    ("status", "should_retry", "is_free"),
    [
        (200, None, False),
        (400, None, False),
        (404, None, False),
        (428, None, False),
        (429, None, True),
        (430, None, False),
        (499, None, False),
        (500, None, True),
        (502, None, True),
        (503, "true", True),
        (504, None, True),
        (429, "false", False),
        (500, "false", False),
        (502, "false", False),
    ],
)
async def test_what_may_be_different_when_it_is_asked_again_frees_the_name(
    status: int, should_retry: str | None, is_free: bool
) -> None:
    """A 429 or a fault of the servers that surely bought nothing; all else is kept and given again."""
    headers = {} if should_retry is None else {"x-should-retry": should_retry}
    claim = await ended(HttpResponse(status=status, headers=headers, body=(BODY,)))
    assert (is_free, None if is_free else (status, headers, (BODY,))) == (claim.is_free, claim.kept)


async def test_headers_of_the_outcome_are_kept_and_those_of_the_call_are_not() -> None:
    """A repeat has a request id of its own, and limits as they are then."""
    of_the_outcome = {"content-type": "application/json", "x-gateway-attempts": "2", "x-request": "1", "x-rate": "2"}
    of_the_call = {"x-request-id": "e1", "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-images": "3"}
    claim = await ended(HttpResponse(status=200, headers={**of_the_outcome, **of_the_call}, body=(BODY,)))
    assert (200, of_the_outcome, (BODY,)) == claim.kept


@pytest.mark.parametrize("status", [200, 500])
async def test_a_store_that_is_out_of_reach_for_a_while_is_tried_again(status: int) -> None:
    """After half a second, two and five."""
    claim = await ended(HttpResponse(status=status, body=(BODY,)), DOWN, DOWN, DOWN)
    assert ([0.5, 2.0, 5.0], status == 500) == (claim.waits, claim.is_free)
    assert (claim.kept is None) is claim.is_free


async def test_a_store_that_stays_out_of_reach_costs_the_caller_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """That the outcome is not kept is an error in the log, with the call's id."""
    claim = await ended(HttpResponse(status=200, body=(BODY,)), DOWN, DOWN, DOWN, DOWN)
    assert ([0.5, 2.0, 5.0], None) == (claim.waits, claim.kept)
    assert [("ERROR", True)] == [(record.levelname, "e1" in record.message) for record in caplog.records]


async def test_a_name_that_somebody_took_over_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A repeat that accepts a duplicate did: nothing is tried again."""
    claim = await ended(HttpResponse(status=200, body=(BODY,)), Changed("it is another's"))
    assert ([], None) == (claim.waits, claim.kept)
    assert [("WARNING", True)] == [(record.levelname, "e1" in record.message) for record in caplog.records]


async def test_the_name_of_a_call_that_bought_nothing_is_given_back(caplog: pytest.LogCaptureFixture) -> None:
    """If it has one. Where the store is out of reach it is free when its lease is over, and the log says so."""
    caplog.set_level(logging.DEBUG)
    claim = FakeClaim()
    await release(claim, event_id="e1")  # type: ignore[arg-type]
    await release(None, event_id="e2")
    assert (True, []) == (claim.is_free, caplog.records)
    out_of_reach = FakeClaim(DOWN)
    await release(out_of_reach, event_id="e3")  # type: ignore[arg-type]
    assert ["WARNING"] == [record.levelname for record in caplog.records if "e3" in record.message]


async def test_a_replay_is_the_answer_byte_for_byte() -> None:
    """It says that it is one; where its body is in a blob, its length comes from there."""
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    small = replay(StoredResponse(status=502, headers=headers, body=BODY))
    assert (502, {**headers, "idempotent-replayed": "true"}, (BODY,)) == (small.status, small.headers, small.body)
    large = replay(StoredResponse(status=200, headers=headers, body=Whole(body=(BODY,) * 3, content_type="x/y")))
    assert {**headers, "idempotent-replayed": "true", "content-length": str(3 * len(BODY))} == large.headers
    assert not isinstance(large.body, tuple)
    assert BODY * 3 == b"".join([bytes(piece) async for piece in large.body])
    await large.body.aclose()
