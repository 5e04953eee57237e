"""How much was counted in the last so many seconds: a sliding window, as a short list of counts.

An event is counted in a bucket of 1/60 of the window, under the bucket's end, and goes on counting for one window from
that end. So it counts at least as long as it truly lies in the window, and at most 1/60 of it longer: the limit is
never exceeded in any period of that length, and what was used is free again a little late at most.

Times are whole milliseconds of Unix time. If the clocks of instances differ by s seconds, all of this holds for periods
that are s seconds shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.domain.limits import Rate

BUCKETS: Final = 60
"""Buckets of one window. More would free more promptly, and take more room in a row."""


def milliseconds(rate: Rate) -> int:
    """The length of a rate's window."""
    return rate.window_seconds * 1000


class SlidingWindow:
    """Counts without a limit or a length: both belong to the key, and may change."""

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        """`counts` are pairs of a bucket's end and what was counted in it."""
        self._counts: dict[int, int] = {}
        for end, count in counts:
            self._counts[end] = self._counts.get(end, 0) + count

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Pairs of a bucket's end and its count, the oldest first."""
        return sorted(self._counts.items())

    def add(self, at: int, count: int, rate: Rate) -> None:
        """Count something that happened at a moment."""
        end = _end_of_bucket(at, rate)
        self._counts[end] = self._counts.get(end, 0) + count

    def copy(self) -> SlidingWindow:
        """Make an independent copy."""
        return SlidingWindow(self._counts.items())

    def forget(self, now: int, rate: Rate) -> None:
        """Drop what has left the window, and put the rest into buckets of its present length.

        After a window has become longer, what the shorter one had dropped is not counted again.
        """
        kept = [(end, count) for end, count in self._counts.items() if end + milliseconds(rate) > now]
        self._counts = {}
        for end, count in kept:
            self.add(end - 1, count, rate)

    def used(self, now: int, rate: Rate) -> int:
        """How much counts now."""
        return sum(count for end, count in self._counts.items() if end + milliseconds(rate) > now)

    def wait(self, now: int, count: int, rate: Rate) -> int | None:
        """In how many milliseconds `count` more will be within the limit, if nobody else comes; None: never."""
        if count > rate.limit:
            return None
        over = self.used(now, rate) + count - rate.limit
        free_at = now
        for end, counted in self.counts:
            if over <= 0:
                break
            if end + milliseconds(rate) > now:
                free_at = end + milliseconds(rate)
                over -= counted
        return free_at - now

    def empty_in(self, now: int, rate: Rate) -> int:
        """In how many milliseconds nothing will count any more."""
        return max([0, *(end + milliseconds(rate) - now for end in self._counts)])


def _end_of_bucket(at: int, rate: Rate) -> int:
    """The first moment after the bucket in which a moment lies."""
    width = milliseconds(rate) // BUCKETS
    return (at // width + 1) * width
