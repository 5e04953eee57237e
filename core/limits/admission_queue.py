"""The desk of one key in one process: whoever wants something of its account waits here, and is served with the others.

Each round reads the account once, serves everybody who waits, the oldest first, and writes it once, guarded by its
ETag. So a busy key does not race with itself, and a lone call costs two round trips. Where another process was faster,
the round is held again after a short random wait. Nobody is told anything before it is written.

After a write that did not surely succeed, the next read tells: a reservation that is there was made, and a settlement
whose reservation is gone was kept (`Account.settle`).

The desk works only while somebody waits. Calls wait a bounded time; settlements until they are kept.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from core.domain.errors import LimitsUnavailable
from core.limits.reservations import Denied, Granted, Reservation, Settlement
from core.storage.tables import Changed, Exists, StoreUnavailable
from core.telemetry.call_log import write_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.domain.errors import BudgetExceeded, RateLimited
    from core.domain.limits import Limits
    from core.limits.limit_status import LimitStatus
    from core.limits.quota import Quota
    from core.limits.quota_store import QuotaStore
    from core.limits.reservations import ReservationRequest

MAX_RACES: Final = 50
"""How often a call may lose to another process before it is turned away."""
MAX_FAILURES: Final = 3
"""How often the store may fail a call before it is turned away."""
PATIENCE_SECONDS: Final = 10.0
"""How long a call waits at most, whatever the store does."""
FIRST_RACE_SECONDS: Final = 0.01
MAX_RACE_SECONDS: Final = 0.1
"""Bounds of the wait after another process was faster: about the time of a round, and of ten of them."""
FIRST_FAILURE_SECONDS: Final = 0.5
MAX_FAILURE_SECONDS: Final = 1.0
"""Bounds of the wait after the store has failed, while a call waits."""
MAX_REST_SECONDS: Final = 30.0  # the same while only settlements wait
MAX_SETTLEMENTS: Final = 1000
"""How many settlements of one key wait while the store cannot be reached."""

_MOST_DOUBLINGS: Final = 10

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Waiting(Struct, eq=False, kw_only=True):
    """A call that waits to be let through. Its answer is cancelled where the caller no longer waits."""

    ask: ReservationRequest
    answer: asyncio.Future[Granted | Denied | LimitsUnavailable]
    races: int = 0
    failures: int = 0
    perhaps_reserved: bool = False


class _Settling(Struct, eq=False, kw_only=True):
    """A settlement that is to be kept."""

    settlement: Settlement
    perhaps_done: bool = False


class _Asking(Struct, eq=False, kw_only=True):
    """Somebody who wants to know how the key stands; None: that cannot be known now."""

    limits: Limits
    answer: asyncio.Future[LimitStatus | None]


class AdmissionQueue:
    """Serves those who want something of one key's account."""

    def __init__(
        self,
        counters: QuotaStore,
        *,
        now: Callable[[], int],
        wait: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
        patience: float = PATIENCE_SECONDS,
        at_rest: Callable[[], None] = lambda: None,
        give_back: Callable[[Settlement], None] | None = None,
    ) -> None:
        """`now` is Unix time in ms; `wait` lets seconds go by; `chance` gives a number from 0 up to 1.

        `patience` is how long a call waits at most. `at_rest` is called when nobody waits any more. `give_back` settles
        what a caller had reserved who left in that very moment; by then another desk may be the key's.
        """
        self._counters = counters
        self._now = now
        self._wait = wait
        self._chance = chance
        self._patience = patience
        self._at_rest = at_rest
        self._give_back = give_back or self.settle
        self._waiting: list[_Waiting] = []
        self._settling: list[_Settling] = []
        self._asking: list[_Asking] = []
        self._somebody_came = asyncio.Event()
        self.work: asyncio.Task[None] | None = None
        """What goes on here, until nobody waits."""
        self.lost = 0
        """How many settlements could not be kept."""

    async def admit(self, ask: ReservationRequest) -> Granted | Denied:
        """Reserve for a call. Raises LimitsUnavailable.

        A caller who is cancelled meanwhile has reserved nothing, or it is given back.
        """
        waiting = _Waiting(ask=ask, answer=asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._begin()
        try:
            await asyncio.wait({waiting.answer}, timeout=self._patience)
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        if not waiting.answer.done():
            self._leave(waiting)
            raise LimitsUnavailable
        answer = waiting.answer.result()
        if isinstance(answer, LimitsUnavailable):
            raise answer
        return answer

    def settle(self, settlement: Settlement, *, perhaps_done: bool = False) -> None:
        """Put what a call came to in the place of its reservation, as soon as that can be done.

        `perhaps_done`: another process may have settled it before.
        """
        if len(self._settling) >= MAX_SETTLEMENTS:
            self._lose(1)
            return
        self._settling.append(_Settling(settlement=settlement, perhaps_done=perhaps_done))
        self._begin()

    async def status(self, limits: Limits) -> LimitStatus | None:
        """How the key stands; None: that cannot be known now."""
        asking = _Asking(limits=limits, answer=asyncio.get_running_loop().create_future())
        self._asking.append(asking)
        self._begin()
        await asyncio.wait({asking.answer}, timeout=self._patience)
        return asking.answer.result() if asking.answer.done() else None

    def hurry(self) -> None:
        """Try at once what was to be tried later."""
        self._somebody_came.set()

    def _begin(self) -> None:
        self._somebody_came.set()
        if self.work is None or self.work.done():
            self.work = asyncio.create_task(self._serve())
            self.work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Task[None]) -> None:
        """Let nobody wait where nobody serves, also after a fault of ours."""
        if self.work is not work:
            return
        if not work.cancelled() and (fault := work.exception()) is not None:
            write_fault(fault, event_id="")
        if self._settling:
            self._lose(len(self._settling))
            self._settling.clear()
        for waiting in self._waiting:
            _tell(waiting.answer, LimitsUnavailable())
        self._waiting.clear()
        self._tell_nothing()
        self._at_rest()

    def _lose(self, count: int) -> None:
        self.lost += count
        _log.error(
            "Settlements lost: %d. What these calls drew and cost is not counted against their key, and what they"
            " reserved is given back when its lease is over",
            count,
        )

    def _leave(self, waiting: _Waiting) -> None:
        """Note that a caller no longer waits, and give back what has perhaps been reserved just now."""
        if not waiting.answer.done():
            waiting.answer.cancel()  # the next round sees it
        elif isinstance(waiting.answer.result(), Granted):
            self._give_back(Settlement(id=waiting.ask.id))

    async def _serve(self) -> None:
        races = failures = 0
        while self._waiting or self._settling or self._asking:
            self._somebody_came.clear()
            try:
                await self._round()
            except (Changed, Exists):
                races += 1
                self._turn_away(races=1)
                await self._wait(self._pause(FIRST_RACE_SECONDS, races, MAX_RACE_SECONDS))
            except StoreUnavailable:
                failures += 1
                self._turn_away(failures=1)
                await self._rest(failures)
            else:
                races = failures = 0

    async def _round(self) -> None:
        kept = await self._counters.read()
        account, now = kept.account, self._now()
        self._tell_standing(account, now)
        self._dismiss([each for each in self._waiting if each.answer.done()])
        waiting, settling = tuple(self._waiting), tuple(self._settling)
        changed = False
        for settled in settling:
            changed |= account.settle(settled.settlement, perhaps_done=settled.perhaps_done)
        answers: list[Reservation | RateLimited | BudgetExceeded] = []
        for each in waiting:
            held = account.reservation(each.ask.id)
            answers.append(held or account.admit(now, each.ask))
            changed |= held is None and isinstance(answers[-1], Reservation)
        if changed:
            for settled in settling:
                settled.perhaps_done = True
            for each in waiting:
                each.perhaps_reserved = True
            await self._counters.write(kept)
        self._waiting = self._waiting[len(waiting) :]
        self._settling = self._settling[len(settling) :]
        for each, answer in zip(waiting, answers, strict=True):
            self._answer(each, answer, account.status(now, each.ask.limits))

    def _answer(
        self, waiting: _Waiting, answer: Reservation | RateLimited | BudgetExceeded, status: LimitStatus
    ) -> None:
        """Give someone the answer; what was reserved for someone who has left is given back."""
        if not isinstance(answer, Reservation):
            _tell(waiting.answer, Denied(error=answer, status=status))
        elif waiting.answer.done():
            self._settling.append(_Settling(settlement=Settlement(id=waiting.ask.id)))
        else:
            waiting.answer.set_result(Granted(reservation=answer, status=status))

    def _tell_standing(self, account: Quota, now: int) -> None:
        for asking in self._asking:
            account.advance(now, asking.limits)
            _tell(asking.answer, account.status(now, asking.limits))
        self._asking.clear()

    def _tell_nothing(self) -> None:
        for asking in self._asking:
            _tell(asking.answer, None)
        self._asking.clear()

    def _turn_away(self, *, races: int = 0, failures: int = 0) -> None:
        """Count what went wrong for those who wait, and let go who has waited for too long."""
        for each in self._waiting:
            each.races += races
            each.failures += failures
        over = [each for each in self._waiting if each.races >= MAX_RACES or each.failures >= MAX_FAILURES]
        for each in over:
            _tell(each.answer, LimitsUnavailable())
        self._dismiss(over)

    def _dismiss(self, leaving: list[_Waiting]) -> None:
        """Serve no longer who is not let through; what was perhaps reserved is given back."""
        self._waiting = [each for each in self._waiting if each not in leaving]
        for each in leaving:
            if each.perhaps_reserved:
                self._settling.append(_Settling(settlement=Settlement(id=each.ask.id)))

    def _pause(self, first: float, times: int, longest: float) -> float:
        """A random wait, in seconds, whose bound doubles with each time after the first."""
        return self._chance() * min(longest, first * 2.0 ** min(times - 1, _MOST_DOUBLINGS))

    async def _rest(self, failures: int) -> None:
        """Wait for the store to be well again; if only settlements wait, for long, but not when somebody comes."""
        self._tell_nothing()
        if self._waiting:
            await self._wait(self._pause(FIRST_FAILURE_SECONDS, failures, MAX_FAILURE_SECONDS))
        if self._waiting or not self._settling:
            return
        rest = asyncio.ensure_future(self._wait(self._pause(FIRST_FAILURE_SECONDS, failures, MAX_REST_SECONDS)))
        called = asyncio.ensure_future(self._somebody_came.wait())
        try:
            await asyncio.wait({rest, called}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            rest.cancel()
            called.cancel()


def _tell(answer: asyncio.Future[_T], value: _T) -> None:
    """Answer whoever still waits."""
    if not answer.done():
        answer.set_result(value)
