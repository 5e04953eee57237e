"""The quota of one key: which calls are admitted, and what is left after."""

from __future__ import annotations

import datetime as dt

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.errors import BudgetExceeded, RateLimited
from core.domain.limits import BudgetWindow
from core.limits.limit_status import RateStatus
from core.limits.quota import MAX_EXPIRED, MAX_IN_FLIGHT, RESERVATIONS_PER_VALUE, Quota, UnknownVersion
from core.limits.reservations import Reservation, Settlement
from core.storage.table_rules import MAX_BYTES
from tests.limits.asking import LEASE, NOW, ask, make_limits, moment, reserved, settlement

MINUTE = 60_000
BUCKET = 1_000
"""Of a window of one minute."""
MAX_BYTES_OF_A_ROW = 1 << 20
"""Azure Table Storage docs, "understanding the Table service data model"."""
MORE_THAN_A_WINDOW = 70
"""In sixtieths."""


def images_left(quota: Quota, now: int = NOW, *, images: int = 10) -> int:
    limits = make_limits(images=images)
    quota.advance(now, limits)
    status = quota.status(now, limits).images
    assert status is not None
    return status.remaining


def nanos_left(quota: Quota, now: int = NOW, *, nanos: int = 100, window: BudgetWindow = BudgetWindow.MONTH) -> int:
    limits = make_limits(nanos=nanos, window=window)
    quota.advance(now, limits)
    status = quota.status(now, limits).budget
    assert status is not None
    return status.remaining_nanos


def test_a_call_counts_from_its_reservation_on() -> None:
    """What a call asks for is taken before it goes upstream: one request, its pictures, and what it may cost."""
    quota = Quota()
    limits = make_limits(requests=5, images=10, nanos=100)
    reserved(quota, ask(limits, images=4, nanos=30))
    status = quota.status(NOW, limits)
    reset = (MINUTE + BUCKET) / 1000
    assert RateStatus(limit=5, remaining=4, reset_seconds=reset) == status.requests
    assert RateStatus(limit=10, remaining=6, reset_seconds=reset) == status.images
    assert status.budget is not None
    assert (0, 30, 70) == (
        status.budget.spent_nanos,
        status.budget.reserved_nanos,
        status.budget.remaining_nanos,
    )
    assert status.in_flight == 1


def test_two_calls_at_the_last_cent() -> None:
    """Where there is money for one call, the second is not let through while the first is in flight."""
    quota = Quota()
    limits = make_limits(nanos=10)
    reserved(quota, ask(limits, nanos=10))
    assert isinstance(quota.admit(NOW, ask(limits, nanos=10)), BudgetExceeded)


def test_what_was_not_drawn_is_given_back() -> None:
    """A settlement keeps the pictures that were drawn and what they cost, and gives back the rest."""
    quota = Quota()
    asked = ask(make_limits(images=10, nanos=100), images=4, nanos=40)
    reservation = reserved(quota, asked)
    assert quota.settle(settlement(asked, reservation, images=1, nanos=12), perhaps_done=False)
    assert (9, 88) == (images_left(quota), nanos_left(quota))


def test_a_request_stays_counted() -> None:
    """A call that drew nothing was a request all the same."""
    quota = Quota()
    limits = make_limits(requests=1)
    asked = ask(limits)
    quota.settle(settlement(asked, reserved(quota, asked), images=0), perhaps_done=False)
    assert isinstance(quota.admit(NOW, ask(limits)), RateLimited)


def test_pictures_count_from_when_the_call_was_let_through() -> None:
    """However long drawing took, pictures leave the window one window after the call was let through."""
    quota = Quota()
    asked = ask(make_limits(images=10), images=4)
    reservation = reserved(quota, asked)
    quota.settle(settlement(asked, reservation), perhaps_done=False)
    freed = NOW + BUCKET + MINUTE
    assert (6, 10) == (images_left(quota, freed - 1), images_left(quota, freed))


def test_a_call_in_flight_leaves_the_window_like_one_that_has_ended() -> None:
    """A call that takes longer than the window does not hold its pictures for longer."""
    quota = Quota()
    reserved(quota, ask(make_limits(images=10), images=4))
    freed = NOW + BUCKET + MINUTE
    assert (6, 10) == (images_left(quota, freed - 1), images_left(quota, freed))


def test_money_is_spent_on_the_day_of_the_reservation() -> None:
    """A call that began before midnight is charged to the day that has ended, and to the month that has not."""
    quota = Quota()
    before, after = moment("2026-11-22T23:59:50"), moment("2026-11-23T00:00:10")
    asked = ask(make_limits(nanos=100), nanos=40)
    reservation = reserved(quota, asked, before)
    assert nanos_left(quota, after, window=BudgetWindow.DAY) == 100
    quota.settle(settlement(asked, reservation, nanos=30), perhaps_done=False)
    left = {window: nanos_left(quota, after, window=window) for window in BudgetWindow}
    assert {BudgetWindow.DAY: 100, BudgetWindow.WEEK: 100, BudgetWindow.MONTH: 70, BudgetWindow.TOTAL: 70} == left


@pytest.mark.parametrize(
    ("window", "last", "first"),
    [
        (BudgetWindow.DAY, "2026-11-24T23:59:59.999", "2026-11-25T00:00"),
        (BudgetWindow.WEEK, "2026-11-22T23:59:59.999", "2026-11-23T00:00"),
        (BudgetWindow.MONTH, "2026-11-30T23:59:59.999", "2026-12-01T00:00"),
    ],
)
def test_a_budget_is_whole_again_when_its_window_turns(window: BudgetWindow, last: str, first: str) -> None:
    """In the last millisecond nothing is left; in the next one everything is."""
    quota = Quota()
    limits = make_limits(nanos=10, window=window)
    asked = ask(limits, nanos=10)
    quota.settle(settlement(asked, reserved(quota, asked, moment(last)), nanos=10), perhaps_done=False)
    denial = quota.admit(moment(last), ask(limits, nanos=1))
    assert isinstance(denial, BudgetExceeded)
    assert f"it renews at {dt.datetime.fromisoformat(first):%Y-%m-%dT%H:%M:%SZ}" in denial.message
    reserved(quota, ask(limits, nanos=10), moment(first))


def test_a_total_is_never_whole_again() -> None:
    """A budget for a key's whole life says so."""
    quota = Quota()
    limits = make_limits(nanos=10, window=BudgetWindow.TOTAL)
    asked = ask(limits, nanos=10)
    quota.settle(settlement(asked, reserved(quota, asked), nanos=10), perhaps_done=False)
    denial = quota.admit(moment("2036-01-01T00:00"), ask(limits, nanos=1))
    assert isinstance(denial, BudgetExceeded)
    assert "does not renew" in denial.message


def test_a_window_that_is_changed_counts_at_once() -> None:
    """Money is counted for all windows, whichever the budget has."""
    quota = Quota()
    asked = ask(make_limits(nanos=100, window=BudgetWindow.DAY), nanos=40)
    quota.settle(settlement(asked, reserved(quota, asked), nanos=40), perhaps_done=False)
    assert dict.fromkeys(BudgetWindow, 60) == {window: nanos_left(quota, window=window) for window in BudgetWindow}


def test_a_call_may_cost_more_than_was_expected() -> None:
    """Then the next one is not let through, however cheap it is."""
    quota = Quota()
    limits = make_limits(nanos=10)
    asked = ask(limits, nanos=10)
    quota.settle(settlement(asked, reserved(quota, asked), nanos=11), perhaps_done=False)
    assert nanos_left(quota, nanos=10) == -1
    assert isinstance(quota.admit(NOW, ask(limits, nanos=0)), BudgetExceeded)


def test_more_pictures_than_the_limit_never_pass() -> None:
    """A call for more than the whole limit is told that waiting does not help, and no SDK tries again."""
    denial = Quota().admit(NOW, ask(make_limits(images=3), images=4))
    assert isinstance(denial, RateLimited)
    assert ("n", False, {}) == (denial.param, denial.retry_safe, denial.headers)
    assert denial.message == (
        "This key may generate at most 3 pictures in 1 minute, and this call asks for 4;"
        " that can never pass, and waiting will not help"
    )


def test_a_denial_names_the_limit_and_the_time() -> None:
    """Seconds are rounded up, milliseconds are exact; and nothing is counted."""
    quota = Quota()
    limits = make_limits(requests=1, seconds=7_200)
    reserved(quota, ask(limits))
    denial = quota.admit(NOW + 1, ask(limits))
    assert isinstance(denial, RateLimited)
    wait = 7_200_000 + 120_000 - 1
    assert {"retry-after": "7320", "retry-after-ms": str(wait)} == denial.headers
    assert denial.message == "This key may make at most 1 request in 2 hours; try again in 7,320 s"
    assert denial.retry_safe
    status = quota.status(NOW + 1, limits)
    assert status.in_flight == 1


def test_the_longest_wait_counts() -> None:
    """Where requests and pictures are used up, the caller is told the time after which both are free."""
    quota = Quota()
    both = make_limits(requests=1, images=4)
    reserved(quota, ask(both, images=4))
    reserved(quota, ask(make_limits(images=10), images=0), NOW + 5 * BUCKET)
    denial = quota.admit(NOW + 5 * BUCKET, ask(both, images=1))
    assert isinstance(denial, RateLimited)
    assert denial.headers["retry-after"] == "56"


def test_what_no_waiting_mends_is_said_first() -> None:
    """More than the limit comes before the budget, the budget before a wait."""
    quota = Quota()
    limits = make_limits(requests=1, images=3, nanos=10)
    reserved(quota, ask(limits, nanos=10))
    never = quota.admit(NOW, ask(limits, images=4, nanos=1))
    assert isinstance(never, RateLimited)
    assert not never.retry_safe
    assert isinstance(quota.admit(NOW, ask(limits, nanos=1)), BudgetExceeded)


def test_a_lease_that_is_over_gives_back() -> None:
    """What a process reserved and did not settle is free again at the end of the lease, and not a moment before."""
    quota = Quota()
    limits = make_limits(images=4, nanos=10, seconds=3_600)
    reserved(quota, ask(limits, images=4, nanos=10))
    early = quota.admit(NOW + LEASE - 1, ask(limits, images=4, nanos=10))
    assert isinstance(early, BudgetExceeded)
    reserved(quota, ask(limits, images=4, nanos=10), NOW + LEASE)


def test_a_call_that_is_settled_after_its_lease_is_charged_once() -> None:
    """Its reservation was given back meanwhile; it is charged all the same, and only the first time."""
    quota = Quota()
    limits = make_limits(images=10, nanos=100, seconds=3_600)
    asked = ask(limits, images=4, nanos=40)
    reservation = reserved(quota, asked)
    quota.advance(NOW + LEASE, limits)
    late = settlement(asked, reservation, nanos=40)
    assert quota.settle(late, perhaps_done=True)
    assert not quota.settle(late, perhaps_done=True)
    status = quota.status(NOW + LEASE, limits)
    assert status.images is not None
    assert (6, 60) == (status.images.remaining, nanos_left(quota, NOW + LEASE))


def test_a_settlement_that_was_kept_is_not_made_again() -> None:
    """After a write whose fate was unknown, a reservation that is gone shows that it was made."""
    quota = Quota()
    asked = ask(make_limits(images=10, nanos=100), images=4, nanos=40)
    made = settlement(asked, reserved(quota, asked), nanos=40)
    quota.settle(made, perhaps_done=False)
    assert not quota.settle(made, perhaps_done=True)
    assert (6, 60) == (images_left(quota), nanos_left(quota))


def test_a_settlement_without_a_reservation_is_charged() -> None:
    """Where the counters were deleted meanwhile, what was spent is spent."""
    asked = ask(make_limits(images=10), images=4)
    made = settlement(asked, reserved(Quota(), asked), nanos=40)
    quota = Quota()
    assert quota.settle(made, perhaps_done=False)
    assert (6, 60) == (images_left(quota), nanos_left(quota))


def test_giving_back_what_is_not_there_changes_nothing() -> None:
    """A call that left before it was let through has nothing to settle."""
    quota = Quota()
    assert not quota.settle(Settlement(id="nobody"), perhaps_done=False)
    assert Quota().dump() == quota.dump()


def test_as_many_calls_in_flight_as_can_be_kept() -> None:
    """Beyond that a call is told to wait, in words; and the fullest quota fits into one row."""
    quota = Quota()
    limits = make_limits(requests=10**9, images=10**9, nanos=10**16, seconds=86_400 * 31)
    for number in range(MORE_THAN_A_WINDOW):
        asked = ask(limits)
        at = NOW + number * 86_400 * 31 * 1000 // 60
        quota.settle(settlement(asked, reserved(quota, asked, at), nanos=10**13), perhaps_done=False)
    for _ in range(MAX_EXPIRED + 1):
        reserved(quota, ask(limits, images=10, nanos=10**12), at)
    for _ in range(MAX_IN_FLIGHT):
        reserved(quota, ask(limits, images=10, nanos=10**12), at + LEASE)
    denial = quota.admit(at + LEASE, ask(limits))
    assert isinstance(denial, RateLimited)
    assert denial.message == "This key has 5,000 calls in flight, which is the maximum; try again when some have ended"
    assert denial.headers["retry-after"] == "5"
    stored = quota.dump()
    assert 10 == len(stored)
    assert max(map(len, stored)) < MAX_BYTES
    assert sum(map(len, stored)) < MAX_BYTES_OF_A_ROW
    assert stored == Quota.load(stored).dump()


def test_a_quota_of_the_version_before_is_read() -> None:
    """What the version before has stored is read as it was meant, and what it can read is stored as it reads it."""
    stored = {
        "version": 1,
        "requests": [[NOW + BUCKET, 3]],
        "drawn": [[NOW + BUCKET, 2]],
        "spent": [moment("2026-11-22") // 86_400_000, 1, 2, 3, 4],
        "open": {"0" * 16: [NOW, moment("2026-11-22") // 86_400_000, NOW + LEASE, 4, 40]},
        "given_back": ["1" * 16],
    }
    quota = Quota.load([orjson.dumps(stored)])
    status = quota.status(NOW, make_limits(requests=10, images=10, nanos=100))
    assert status.requests is not None
    assert status.images is not None
    assert status.budget is not None
    assert (7, 4, 57) == (status.requests.remaining, status.images.remaining, status.budget.remaining_nanos)
    (again,) = quota.dump()
    assert {**stored, "values": 1} == orjson.loads(again)


def test_new_fields_are_ignored() -> None:
    """Two versions run side by side: what the next one adds does not keep this one from reading the rest."""
    quota = Quota()
    reserved(quota, ask(make_limits(images=10), images=4))
    (stored,) = quota.dump()
    newer = orjson.loads(stored)
    newer |= {"new": {"x": 1}, "spent": [*newer["spent"], 7]}
    newer["open"] = {key: [*fields, "new"] for key, fields in newer["open"].items()}
    assert [stored] == Quota.load([orjson.dumps(newer)]).dump()


def test_many_calls_are_no_form_of_the_version_before() -> None:
    """A quota in several values says so, so that a version that reads the first one only refuses."""
    quota = Quota()
    for _ in range(RESERVATIONS_PER_VALUE):
        reserved(quota, ask(make_limits(images=10**6)))
    assert [1] == [orjson.loads(each)["version"] for each in quota.dump()]
    reserved(quota, ask(make_limits(images=10**6)))
    first, second = quota.dump()
    assert 2 == orjson.loads(first)["version"]
    with pytest.raises(UnknownVersion):
        Quota.load([first])
    assert images_left(Quota.load([first, second]), images=10**6) == 10**6 - RESERVATIONS_PER_VALUE - 1


EMPTY = orjson.loads(Quota().dump()[0])


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'{"version": 2}',
        orjson.dumps({**EMPTY, "version": 3}),
        orjson.dumps({**EMPTY, "values": 2}),
        orjson.dumps({**EMPTY, "spent": [1]}),
        orjson.dumps({**EMPTY, "open": []}),
        orjson.dumps({**EMPTY, "open": {"x": [1]}}),
        orjson.dumps({**EMPTY, "requests": [1]}),
    ],
)
def test_what_cannot_be_read_is_not_guessed_at(stored: bytes) -> None:
    """A quota of another version, or none at all, is an error and not an unused quota."""
    with pytest.raises(UnknownVersion):
        Quota.load([stored])


def test_nothing_is_not_a_quota() -> None:
    """A row without a value is an error, too."""
    with pytest.raises(UnknownVersion):
        Quota.load([])


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "settle", "settle", "die"]),
        st.integers(0, 40_000),  # milliseconds that go by before
        st.integers(1, 5),  # pictures asked for
        st.integers(0, 20),  # what it may cost
        st.floats(0, 1),  # how much of that it comes to
    ),
    max_size=60,
)


@given(steps)
def test_no_sequence_passes_a_limit(history: list[tuple[str, int, int, int, float]]) -> None:
    """Whatever is asked, settled or never settled: pictures in a window, and money, never pass what is allowed."""
    limit, budget = 8, 60
    limits = make_limits(images=limit, nanos=budget, window=BudgetWindow.TOTAL)
    stored, now, spent = Quota().dump(), NOW, 0
    open_calls: dict[str, tuple[object, Reservation]] = {}
    log: dict[str, tuple[int, int]] = {}  # when it was let through, and how many pictures it may have drawn
    for action, gap, images, nanos, share in history:
        now += gap
        quota = Quota.load(stored)
        if action == "ask":
            asked = ask(limits, images=images, nanos=nanos)
            answer = quota.admit(now, asked)
            if isinstance(answer, Reservation):
                open_calls[asked.id] = asked, answer
                log[asked.id] = now, images
                within = sum(count for at, count in log.values() if at >= now - MINUTE)
                assert within <= limit
        elif open_calls:
            key, (asked, reservation) = open_calls.popitem()
            if action == "settle" and now < reservation.lease_ends:
                drawn, cost = round(share * reservation.images), round(share * reservation.nanos)
                quota.settle(settlement(asked, reservation, images=drawn, nanos=cost), perhaps_done=False)
                log[key] = reservation.at, drawn
                spent += cost
            else:  # it died: nothing was drawn for sure, and nobody says so
                log[key] = reservation.at, 0
        stored = quota.dump()
    assert spent <= budget
