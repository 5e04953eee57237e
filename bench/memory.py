"""How much memory a picture in flight takes in the gateway: measured, and as a formula.

Two moments are held still: when all but the end of an answer has come from upstream, and when the whole answer is there
but its caller has stopped reading. Each case gets a gateway that has just been started. What the system keeps in its
socket buffers is not the process's memory and not counted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.arithmetic import MIB, base64_length
from bench.canned import Kind
from bench.measuring import Asked, FaultsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measuring import Served

MB: Final = 1_000_000
HOLD_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02
CALL_CHARACTERS: Final = 4 * 1024
"""Pictures so small that a call's own memory is all that shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is in flight."""

    picture_bytes: int
    images: int
    callers: int
    stream: bool
    unread: bool
    """Whether callers have stopped reading; else upstream has not sent the end."""

    @property
    def kind(self) -> Kind:
        """The deployment that answers so."""
        return Kind(characters=base64_length(self.picture_bytes), hold=not self.unread)

    @property
    def base64_mb(self) -> float:
        """The base64 in flight, in MB."""
        return self.callers * self.images * self.kind.characters / MB

    @property
    def asked(self) -> Asked:
        """How it is asked for: once by each caller."""
        return Asked(
            kind=self.kind,
            callers=self.callers,
            seconds=0,
            images=self.images,
            partials=0 if self.stream else None,
            unread=self.unread,
        )


def _cases() -> tuple[Case, ...]:
    found = [Case(picture_bytes=CALL_CHARACTERS // 4 * 3, images=1, callers=256, stream=False, unread=False)]
    for size, callers in ((4 * MB, 16), (33 * MB, 4)):
        for unread in (False, True):
            found += [
                Case(picture_bytes=size, images=1, callers=callers, stream=stream, unread=unread)
                for stream in (False, True)
            ]
            found += [
                Case(picture_bytes=size, images=images, callers=max(1, callers // images), stream=False, unread=unread)
                for images in (4, 10)
            ]
    return tuple(found)


CASES: Final = _cases()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a case takes, in MB over the idle gateway."""

    case: Case
    held_mb: float
    """While it is held still."""
    peak_mb: float
    """The most, from the first byte to the last."""

    @property
    def factor(self) -> float:
        """The most memory for each byte of base64 in flight."""
        return self.peak_mb / self.case.base64_mb


def measure_case(served: Served, case: Case) -> Held:
    """Measure one case in a gateway that has just been started. Raises FaultsError."""
    served.measure(Asked(kind=Kind(characters=CALL_CHARACTERS), callers=8, seconds=0.5))
    idle = served.tree.settled_bytes()
    served.tree.forget_peak()
    with served.asking(case.asked) as asking:
        if not case.unread:
            _await_held(served, case.callers)
        held = served.tree.settled_bytes(seconds=20, quiet=0.6)
        if case.unread:
            asking.let_read()
        else:
            served.behind.release()
        asking.end()
    return Held(case=case, held_mb=(held - idle) / MB, peak_mb=(served.tree.peak_bytes() - idle) / MB)


def _await_held(served: Served, callers: int) -> None:
    ends_at = time.monotonic() + HOLD_SECONDS
    while served.behind.state()["held"] < callers:
        if time.monotonic() > ends_at:
            raise FaultsError(f"only {served.behind.state()['held']} of {callers} answers are on their way")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Memory = idle + `call_mb` for each call + `factor` x 4/3 x the MB of all pictures in flight."""

    idle_mb: float
    call_mb: float
    factor: float

    def at(self, *, calls: int, picture_mb: float) -> float:
        """The memory with so many calls in flight, each with so many MB of pictures, in MB."""
        return self.idle_mb + calls * (self.call_mb + self.factor * 4 / 3 * picture_mb)


def formula(measured: Sequence[Held], idle_mib: float) -> Formula:
    """The formula that no measured case exceeds. Raises ValueError where a small or a large case is missing."""
    small = [held for held in measured if held.case.kind.characters <= CALL_CHARACTERS]
    large = [held for held in measured if held.case.kind.characters > CALL_CHARACTERS]
    if not small or not large:
        raise ValueError("a formula needs calls with small pictures and with large ones")
    call = max(held.peak_mb / held.case.callers for held in small)
    factor = max((held.peak_mb - call * held.case.callers) / held.case.base64_mb for held in large)
    return Formula(idle_mb=idle_mib * MIB / MB, call_mb=call, factor=factor)
