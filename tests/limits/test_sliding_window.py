"""The sliding window, compared with an exact log of what happened when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.limits import Rate
from core.limits.sliding_window import BUCKETS, SlidingWindow, milliseconds

BEGIN = 1_763_800_000_000

rates = st.builds(Rate, limit=st.integers(1, 30), window_seconds=st.sampled_from([1, 7, 60, 3600, 86_400]))
shares = st.floats(0, 0.7)
"""Gaps between events, as shares of a window."""
events = st.lists(st.tuples(shares, st.integers(1, 10)), max_size=80)

Log = list[tuple[int, int]]


def drawn(window: SlidingWindow, rate: Rate, steps: list[tuple[float, int]], *, tidy: bool = False) -> Log:
    """Count what the limit lets through, one after the other, and say when it happened, exactly."""
    log: Log = []
    now = BEGIN
    for share, count in steps:
        now += round(share * milliseconds(rate))
        if tidy:
            window.forget(now, rate)
        if window.wait(now, count, rate) == 0:
            window.add(now, count, rate)
            log.append((now, count))
    return log


def within(log: Log, now: int, milliseconds_back: float) -> int:
    """How much happened in the time up to a moment, both ends included."""
    return sum(count for at, count in log if now - milliseconds_back <= at <= now)


@given(rates, events, st.booleans())
def test_no_stretch_of_time_has_more_than_the_limit(rate: Rate, steps: list[tuple[float, int]], tidy: bool) -> None:
    """In any stretch as long as the window, as many events lie as the limit says, at most."""
    log = drawn(SlidingWindow(), rate, steps, tidy=tidy)
    assert all(within(log, at, milliseconds(rate)) <= rate.limit for at, _ in log)


@given(rates, events, shares)
def test_what_was_used_is_freed_at_most_a_sixtieth_of_a_window_late(
    rate: Rate, steps: list[tuple[float, int]], later: float
) -> None:
    """What counts at a moment is all that happened within one window, and nothing from before 61/60 of one."""
    window = SlidingWindow()
    log = drawn(window, rate, steps)
    length = milliseconds(rate)
    now = (log[-1][0] if log else BEGIN) + round(later * 2 * length)
    assert within(log, now, length) <= window.used(now, rate) <= within(log, now, length * (1 + 1 / BUCKETS))


@given(rates, events, st.integers(1, 30))
def test_a_wait_is_as_long_as_it_must_be(rate: Rate, steps: list[tuple[float, int]], count: int) -> None:
    """After the wait there is room, a millisecond earlier there is none; beyond the limit there never is."""
    window = SlidingWindow()
    log = drawn(window, rate, steps)
    now = log[-1][0] if log else BEGIN
    wait = window.wait(now, count, rate)
    if count > rate.limit:
        assert wait is None
        return
    assert wait is not None
    assert window.used(now + wait, rate) + count <= rate.limit
    if wait > 0:
        assert window.used(now + wait - 1, rate) + count > rate.limit


@given(rates, events)
def test_the_window_is_empty_when_it_says_so(rate: Rate, steps: list[tuple[float, int]]) -> None:
    """At the end of `empty_in` nothing counts any more; a millisecond earlier something does."""
    window = SlidingWindow()
    log = drawn(window, rate, steps)
    now = log[-1][0] if log else BEGIN
    empty_in = window.empty_in(now, rate)
    assert window.used(now + empty_in, rate) == 0
    if empty_in > 0:
        assert window.used(now + empty_in - 1, rate) > 0


@given(rates, events, shares)
def test_forgetting_changes_nothing_that_can_be_seen(rate: Rate, steps: list[tuple[float, int]], later: float) -> None:
    """What has left the window did not count before it was dropped either."""
    window = SlidingWindow()
    log = drawn(window, rate, steps)
    now = log[-1][0] if log else BEGIN
    tidied = window.copy()
    tidied.forget(now, rate)
    then = now + round(later * milliseconds(rate))
    assert window.used(then, rate) == tidied.used(then, rate)


@given(rates, events)
def test_the_list_stays_short(rate: Rate, steps: list[tuple[float, int]]) -> None:
    """However much happens, one window's worth of buckets is kept."""
    window = SlidingWindow()
    drawn(window, replace(rate, limit=10_000), [(share / 10, count) for share, count in steps * 4], tidy=True)
    assert len(window.counts) <= milliseconds(rate) // (milliseconds(rate) // BUCKETS) + 2


@given(rates, st.sampled_from([1, 7, 60, 3600, 86_400]), events)
def test_a_window_may_change_its_length(rate: Rate, seconds: int, steps: list[tuple[float, int]]) -> None:
    """What happened within the old window and within the new one still counts; nothing counts for a bucket too long."""
    window = SlidingWindow()
    log = drawn(window, rate, steps)
    now = log[-1][0] if log else BEGIN
    changed = replace(rate, window_seconds=seconds)
    window.forget(now, changed)
    shorter = min(milliseconds(rate), milliseconds(changed))
    bucket = (milliseconds(rate) + milliseconds(changed)) // BUCKETS
    used = window.used(now, changed)
    assert within(log, now, shorter) <= used <= within(log, now, milliseconds(changed) + bucket)


@given(
    st.lists(st.tuples(shares, st.integers(1, 10), st.integers(0, 200)), max_size=80),
    st.integers(1, 30),
)
def test_clocks_that_differ_cost_no_more_than_they_differ(steps: list[tuple[float, int, int]], limit: int) -> None:
    """With clocks that differ by 200 ms at most, no stretch that is 200 ms shorter has more than the limit."""
    rate = Rate(limit=limit, window_seconds=60)
    window = SlidingWindow()
    log: Log = []
    now = BEGIN
    for share, count, ahead in steps:
        now += round(share * milliseconds(rate))
        window.forget(now + ahead, rate)
        if window.wait(now + ahead, count, rate) == 0:
            window.add(now + ahead, count, rate)
            log.append((now, count))
    assert all(within(log, at, milliseconds(rate) - 200) <= limit for at, _ in log)


def test_what_is_counted_is_kept_as_pairs() -> None:
    """A window is made again of what it gives to keep; the same bucket may come twice."""
    rate = Rate(limit=10, window_seconds=60)
    window = SlidingWindow()
    window.add(5_000, 3, rate)
    window.add(5_999, 1, rate)
    window.add(4_999, 2, rate)
    assert [(5_000, 2), (6_000, 4)] == window.counts
    assert window.counts == SlidingWindow([*window.counts]).counts
    assert [(6_000, 3)] == SlidingWindow([(6_000, 1), (6_000, 2)]).counts


@pytest.mark.parametrize(("count", "milliseconds_to_wait"), [(6, 0), (7, 61_000 - 10), (10, 62_000 - 10), (11, None)])
def test_waiting_for_room(count: int, milliseconds_to_wait: int | None) -> None:
    """Room comes bucket by bucket, the oldest first, one window after each bucket's end."""
    rate = Rate(limit=10, window_seconds=60)
    window = SlidingWindow([(1_000, 3), (2_000, 1)])
    assert milliseconds_to_wait == window.wait(10, count, rate)
