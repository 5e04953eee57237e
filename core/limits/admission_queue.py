"""The queue of one key in one process: calls that wait to be admitted, and settlements that wait to be stored.

Each round reads the key's quota once, serves everything that waits, the oldest first, and writes the quota once,
guarded by its ETag. So a busy key does not compete with itself, and a single call costs two round trips. If another
process was faster, the round is repeated after a short random wait. No call is answered before the quota is written.

After a write that may or may not have been stored, the next read shows which: a reservation that is there was made, and
a settlement whose reservation is gone was stored (`Quota.settle`).

A task works only while something waits. Calls wait a bounded time; settlements wait until they are stored.
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
    from collections.abc import Awaitable, Callable, Collection

    from core.domain.errors import BudgetExceeded, RateLimited
    from core.domain.limits import Limits
    from core.limits.limit_status import LimitStatus
    from core.limits.quota import Quota
    from core.limits.quota_store import QuotaStore
    from core.limits.reservations import ReservationRequest

MAX_RACES: Final = 50
"""How often a call may lose to another process before it is refused."""
MAX_FAILURES: Final = 3
"""How often the store may fail a call before it is refused."""
MAX_WAIT_SECONDS: Final = 10.0
"""How long a call waits at most, whatever the store does."""
MIN_RACE_SECONDS: Final = 0.01
MAX_RACE_SECONDS: Final = 0.1
"""Bounds of the wait after another process was faster: about the time of a round, and of ten of them."""
MIN_FAILURE_SECONDS: Final = 0.5
MAX_FAILURE_SECONDS: Final = 1.0
"""Bounds of the wait after the store has failed, while a call waits."""
MAX_SETTLEMENT_SECONDS: Final = 30.0  # the same while only settlements wait
MAX_SETTLEMENTS: Final = 1000
"""How many settlements of one key wait while the store cannot be reached."""

_MAX_DOUBLINGS: Final = 10

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class _WaitingCall(Struct, eq=False, kw_only=True):
    """A call that waits to be admitted. Its answer is cancelled if the caller no longer waits."""

    request: ReservationRequest
    answer: asyncio.Future[Granted | Denied | LimitsUnavailable]
    races: int = 0
    failures: int = 0
    perhaps_reserved: bool = False


class _WaitingSettlement(Struct, eq=False, kw_only=True):
    settlement: Settlement
    perhaps_done: bool = False


class _StatusQuery(Struct, eq=False, kw_only=True):
    """A question for the key's status; None: it cannot be found out now."""

    limits: Limits
    answer: asyncio.Future[LimitStatus | None]


class AdmissionQueue:
    """Admits the calls of one key, and settles them."""

    def __init__(
        self,
        quotas: QuotaStore,
        *,
        now: Callable[[], int],
        wait: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        on_idle: Callable[[], None] = lambda: None,
        release: Callable[[Settlement], None] | None = None,
    ) -> None:
        """`now` is Unix time in ms; `wait` lets seconds go by; `chance` gives a number from 0 up to 1.

        `max_wait_seconds` is how long a call waits at most. `on_idle` is called when nothing waits any more. `release`
        settles what was reserved for a caller that left at that moment; by then the key may have another queue.
        """
        self._quotas = quotas
        self._now = now
        self._wait = wait
        self._chance = chance
        self._max_wait_seconds = max_wait_seconds
        self._on_idle = on_idle
        self._release = release or self.settle
        self._calls: list[_WaitingCall] = []
        self._settlements: list[_WaitingSettlement] = []
        self._queries: list[_StatusQuery] = []
        self._arrival = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        """Serves the queue until it is empty."""
        self.lost = 0
        """How many settlements could not be stored."""

    async def admit(self, request: ReservationRequest) -> Granted | Denied:
        """Reserve for a call; if it is cancelled meanwhile, nothing stays reserved. Raises LimitsUnavailable."""
        call = _WaitingCall(request=request, answer=asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._start()
        try:
            await asyncio.wait({call.answer}, timeout=self._max_wait_seconds)
        except asyncio.CancelledError:
            self._withdraw(call)
            raise
        if not call.answer.done():
            self._withdraw(call)
            raise LimitsUnavailable
        answer = call.answer.result()
        if isinstance(answer, LimitsUnavailable):
            raise answer
        return answer

    def settle(self, settlement: Settlement, *, perhaps_done: bool = False) -> None:
        """Replace a call's reservation by what the call came to, as soon as possible.

        `perhaps_done`: another process may have settled it before.
        """
        if len(self._settlements) >= MAX_SETTLEMENTS:
            self._count_lost(1)
            return
        self._settlements.append(_WaitingSettlement(settlement=settlement, perhaps_done=perhaps_done))
        self._start()

    async def status(self, limits: Limits) -> LimitStatus | None:
        """What the key has left; None: that cannot be found out now."""
        query = _StatusQuery(limits=limits, answer=asyncio.get_running_loop().create_future())
        self._queries.append(query)
        self._start()
        await asyncio.wait({query.answer}, timeout=self._max_wait_seconds)
        return query.answer.result() if query.answer.done() else None

    def retry_now(self) -> None:
        """Try again without waiting any longer."""
        self._arrival.set()

    def _start(self) -> None:
        self._arrival.set()
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())
            self.task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait when nothing is served any more, also after a bug or a cancellation."""
        if self.task is not task:
            return
        if not task.cancelled() and (fault := task.exception()) is not None:
            write_fault(fault, event_id="")
        if self._settlements:
            self._count_lost(len(self._settlements))
            self._settlements.clear()
        for call in self._calls:
            _resolve(call.answer, LimitsUnavailable())
        self._calls.clear()
        self._fail_queries()
        self._on_idle()

    def _count_lost(self, count: int) -> None:
        self.lost += count
        _log.error(
            "Settlements lost: %d. What these calls generated and cost is not counted against their key, and what they"
            " reserved is released when their leases end",
            count,
        )

    def _withdraw(self, call: _WaitingCall) -> None:
        """Note that a caller no longer waits, and release what may have been reserved just now."""
        if not call.answer.done():
            call.answer.cancel()  # the next round sees it
        elif isinstance(call.answer.result(), Granted):
            self._release(Settlement(id=call.request.id))

    async def _run(self) -> None:
        races = failures = 0
        while self._calls or self._settlements or self._queries:
            self._arrival.clear()
            try:
                await self._serve_all()
            except (Changed, Exists):
                races += 1
                self._refuse_late_calls(races=1)
                await self._wait(self._backoff(MIN_RACE_SECONDS, races, MAX_RACE_SECONDS))
            except StoreUnavailable:
                failures += 1
                self._refuse_late_calls(failures=1)
                await self._wait_for_store(failures)
            else:
                races = failures = 0

    async def _serve_all(self) -> None:
        stored = await self._quotas.read()
        quota, now = stored.quota, self._now()
        self._answer_queries(quota, now)
        self._remove([each for each in self._calls if each.answer.done()])
        calls, settlements = tuple(self._calls), tuple(self._settlements)
        changed = False
        for each in settlements:
            changed |= quota.settle(each.settlement, perhaps_done=each.perhaps_done)
        answers: list[Reservation | RateLimited | BudgetExceeded] = []
        for call in calls:
            made_before = quota.reservation(call.request.id)
            answers.append(made_before or quota.admit(now, call.request))
            changed |= made_before is None and isinstance(answers[-1], Reservation)
        if changed:
            for each in settlements:
                each.perhaps_done = True
            for call in calls:
                call.perhaps_reserved = True
            await self._quotas.write(stored)
        self._calls = self._calls[len(calls) :]
        self._settlements = self._settlements[len(settlements) :]
        for call, answer in zip(calls, answers, strict=True):
            self._answer(call, answer, quota.status(now, call.request.limits))

    def _answer(
        self, call: _WaitingCall, answer: Reservation | RateLimited | BudgetExceeded, status: LimitStatus
    ) -> None:
        """Answer a call; release what was reserved if its caller has left."""
        if not isinstance(answer, Reservation):
            _resolve(call.answer, Denied(error=answer, status=status))
        elif call.answer.done():
            self._settlements.append(_WaitingSettlement(settlement=Settlement(id=call.request.id)))
        else:
            call.answer.set_result(Granted(reservation=answer, status=status))

    def _answer_queries(self, quota: Quota, now: int) -> None:
        for query in self._queries:
            quota.advance(now, query.limits)
            _resolve(query.answer, quota.status(now, query.limits))
        self._queries.clear()

    def _fail_queries(self) -> None:
        for query in self._queries:
            _resolve(query.answer, None)
        self._queries.clear()

    def _refuse_late_calls(self, *, races: int = 0, failures: int = 0) -> None:
        """Count what went wrong for the calls that wait, and refuse those that have waited for too long."""
        for call in self._calls:
            call.races += races
            call.failures += failures
        late = [each for each in self._calls if each.races >= MAX_RACES or each.failures >= MAX_FAILURES]
        for call in late:
            _resolve(call.answer, LimitsUnavailable())
        self._remove(late)

    def _remove(self, calls: Collection[_WaitingCall]) -> None:
        """Remove calls that are not to be admitted, and release what may have been reserved for them."""
        if not calls:
            return
        removed = set(calls)
        self._calls = [each for each in self._calls if each not in removed]
        for call in calls:
            if call.perhaps_reserved:
                self._settlements.append(_WaitingSettlement(settlement=Settlement(id=call.request.id)))

    def _backoff(self, first: float, times: int, longest: float) -> float:
        """A random wait, in seconds, whose bound doubles with each time after the first."""
        return self._chance() * min(longest, first * 2.0 ** min(times - 1, _MAX_DOUBLINGS))

    async def _wait_for_store(self, failures: int) -> None:
        """Wait before the store is tried again: longer if only settlements wait, but not when a call arrives."""
        self._fail_queries()
        if self._calls:
            await self._wait(self._backoff(MIN_FAILURE_SECONDS, failures, MAX_FAILURE_SECONDS))
        if self._calls or not self._settlements:
            return
        seconds = self._backoff(MIN_FAILURE_SECONDS, failures, MAX_SETTLEMENT_SECONDS)
        waiting = {asyncio.ensure_future(self._wait(seconds)), asyncio.ensure_future(self._arrival.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()


def _resolve(answer: asyncio.Future[_T], value: _T) -> None:
    """Answer, if somebody still waits."""
    if not answer.done():
        answer.set_result(value)
