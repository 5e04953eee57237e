"""What may have been paid for is not bought again by a repeat: blind retries of clients that send no idempotency key.

A repeat has the same key, deployment, api-version and body. It gets, at no cost,

- the generation of a caller who left (contract §5, rule 1): it lingers for a while, and one repeat becomes its reader;
- the error of a call that may have been billed (rule 2), again and again, until its time is over.

Identical requests at the same time, or after a success, are as many pictures. With storage both hold across instances:
a row says what lingers, and what failed. A store that cannot be reached holds nobody up.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import orjson
from msgspec import Struct

from core.domain.errors import CallerError, GatewayFault, UpstreamFailure, wait_headers
from core.storage.tables import Changed, Delete, Put, Row, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.domain.errors import GatewayError
    from core.storage.tables import Table

TABLE: Final = "GatewayRepeats"
MAX_LINGERING: Final = 32
MAX_LINGERING_BYTES: Final = 128 << 20
"""How many generations linger in one instance, and how large their finished pictures are together."""
MAX_REPEATED_SECONDS: Final = 300.0
"""How long an error is repeated at most, however often it is asked for."""
MAX_ERRORS: Final = 5000
MAX_ERRORS_PER_CALLER: Final = 500
"""How many errors are held in one instance, about 1 KB each; the oldest go first."""
STORE_SECONDS: Final = 2.0
"""How long a call waits for the row of its repeats. Without an answer it goes on without."""

_LINGERING: Final = "lingering"
_FAILED: Final = "failed"


class GenerationInProgress(CallerError):
    """409: an identical request is being generated in another instance, for a caller who has left."""

    status = 409
    type = "conflict_error"
    code = "generation_in_progress"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "An identical request, whose caller has left, is still being generated; ask again for its outcome. To have"
            " another picture at once, send Idempotency-Retry: accept-duplicate",
            headers=wait_headers(max(1.0, seconds)),
        )


class Left(GatewayFault):
    """504: what is held of a generation that was ended because its caller had left."""

    status = 504
    type = "upstream_error"
    code = "upstream_timeout"
    retry_safe = False

    def __init__(self) -> None:
        super().__init__("The caller of this request left before its picture was there, and it may have been billed")


class RepeatKey(Struct, frozen=True):
    """Names identical requests."""

    caller: str
    """Whose they are."""
    fingerprint: str
    """A hash of deployment, api-version and body."""

    @property
    def row(self) -> Row:
        """Where it is stored."""
        return Row(partition=hashlib.sha256(self.caller.encode()).hexdigest(), key=self.fingerprint)


class Resumable(Protocol):
    """A generation that goes on without its caller."""

    @property
    def held_bytes(self) -> int:
        """The size of its finished picture, in bytes."""
        ...

    @property
    def is_lingering(self) -> bool:
        """Whether it can be picked up."""
        ...

    def pick_up(self) -> bool:
        """Become its reader. False: somebody else has, or its time is over."""
        ...

    def give_way(self) -> None:
        """End lingering now."""
        ...


_R = TypeVar("_R", bound=Resumable)


class _HeldError(Struct):
    """An error that is repeated."""

    body: dict[str, Any]
    since: dt.datetime
    until: dt.datetime

    def extend(self, now: dt.datetime, seconds: float) -> None:
        longest = self.since + dt.timedelta(seconds=MAX_REPEATED_SECONDS)
        self.until = min(longest, now + dt.timedelta(seconds=seconds))

    def as_error(self, now: dt.datetime) -> UpstreamFailure:
        seconds = (self.until - now).total_seconds()
        message = (
            f"{self.body['message']}. This is the answer to an earlier identical request, which may have been billed;"
            f" nothing was asked again. A new picture can be asked for in {seconds:.0f} s, from"
            f" {self.until:%H:%M:%S} UTC on, or at once with the header Idempotency-Retry: accept-duplicate"
        )
        return UpstreamFailure(
            **{**self.body, "message": message}, retry_safe=False, headers={"x-gateway-repeated": "true"}
        )


class Repeats(Generic[_R]):
    """Holds what repeats get. One for each process."""

    def __init__(
        self, table: Table | None, *, now: Callable[[], dt.datetime], linger_seconds: float, repeat_seconds: float
    ) -> None:
        """`table` is given where other instances share it; `now` is the wall clock, in UTC. 0 seconds: not at all."""
        self._table = table
        self._now = now
        self.linger_seconds = linger_seconds
        self.repeat_seconds = repeat_seconds
        self._lingering: OrderedDict[_R, RepeatKey] = OrderedDict()
        self._errors: OrderedDict[RepeatKey, _HeldError] = OrderedDict()
        self._writes: dict[RepeatKey, asyncio.Task[None]] = {}

    @property
    def is_off(self) -> bool:
        """Whether nothing is held for repeats."""
        return self.linger_seconds <= 0 and self.repeat_seconds <= 0

    async def find(self, key: RepeatKey) -> _R | None:
        """Give the generation that a request picks up; None: it is no repeat.

        Raises UpstreamFailure, the error that is repeated, or GenerationInProgress.
        """
        if self.is_off:
            return None
        own = [task for task, of in self._lingering.items() if of == key]
        for task in own:
            if task.pick_up():
                del self._lingering[task]
                if len(own) == 1:
                    self._write(key, None)
                return task
        if own:  # one is just being let go, and its error is not held yet
            raise GenerationInProgress(1.0)
        now = self._now()
        held = self._errors.get(key) or await self._read(key, now)
        if held is None:
            return None
        if held.until <= now:
            self._errors.pop(key, None)
            return None
        held.extend(now, self.repeat_seconds)
        self._hold(key, held)
        raise held.as_error(now)

    def note(self, key: RepeatKey, error: GatewayError) -> None:
        """Hold the error of a call that may have been billed."""
        if self.repeat_seconds <= 0:
            return
        now = self._now()
        body = {
            "message": error.message.rstrip("."),
            "status": error.status,
            "code": error.code,
            "type": error.type,
            "param": error.param,
            "details": error.details(),
            "is_bifrost_error": error.is_bifrost_error,
        }
        held = _HeldError(body=body, since=now, until=now)
        held.extend(now, self.repeat_seconds)
        self._hold(key, held)

    async def forget(self, key: RepeatKey) -> None:
        """Hold nothing any more: the caller would rather pay twice than wait."""
        self._errors.pop(key, None)
        self._write(key, None)
        await self.flush(key)

    async def flush(self, key: RepeatKey) -> None:
        """Wait until what is held of a request is stored, for a bounded time."""
        if (write := self._writes.get(key)) is not None:
            await asyncio.wait({write}, timeout=STORE_SECONDS)

    # -- generations whose caller has left --

    def add(self, key: RepeatKey, task: _R) -> float:
        """Take in a generation, and give the seconds for which it may go on."""
        if self.linger_seconds > 0:
            self._lingering[task] = key
            self.trim()
            until = self._now() + dt.timedelta(seconds=self.linger_seconds)
            self._write(key, {"state": _LINGERING, "until": until})
        return self.linger_seconds

    def trim(self) -> None:
        """Let the oldest go where too many linger, or their pictures are too large together."""
        waiting = [task for task in self._lingering if task.is_lingering]
        held_bytes = sum(task.held_bytes for task in waiting)
        while len(waiting) > MAX_LINGERING or held_bytes > MAX_LINGERING_BYTES:
            oldest = waiting.pop(0)
            held_bytes -= oldest.held_bytes
            oldest.give_way()

    def remove(self, key: RepeatKey, task: _R, error: GatewayError | None) -> None:
        """A generation lingers no more. `error` is held, if its outcome may have been billed and nobody got it."""
        self._lingering.pop(task, None)
        if error is None:
            self._write(key, None)
        else:
            self.note(key, error)

    # -- the store --

    def _hold(self, key: RepeatKey, held: _HeldError) -> None:
        self._errors[key] = held
        self._errors.move_to_end(key)
        own = [each for each in self._errors if each.caller == key.caller]
        if len(own) > MAX_ERRORS_PER_CALLER:
            del self._errors[own[0]]
        while len(self._errors) > MAX_ERRORS:
            self._errors.popitem(last=False)
        self._write(
            key,
            {"state": _FAILED, "error": orjson.dumps(held.body), "since": held.since, "until": held.until},
        )

    async def _read(self, key: RepeatKey, now: dt.datetime) -> _HeldError | None:
        """What another instance holds. Raises GenerationInProgress."""
        if self._table is None:
            return None
        try:
            async with asyncio.timeout(STORE_SECONDS):
                row = await self._table.get(key.row.partition, key.row.key)
        except (StoreUnavailable, TimeoutError):
            return None
        values = {} if row is None else row.values
        until = values.get("until")
        if not isinstance(until, dt.datetime) or until <= now:
            return None
        if values.get("state") == _LINGERING:
            if key in self._writes:
                return None  # it is this instance's own, and has just been picked up
            raise GenerationInProgress((until - now).total_seconds())
        body, since = values.get("error"), values.get("since")
        if not isinstance(body, bytes) or not isinstance(since, dt.datetime):
            return None
        return _HeldError(body=orjson.loads(body), since=since, until=until)

    def _write(self, key: RepeatKey, values: dict[str, Any] | None) -> None:
        """Store what is held, or that nothing is, after what was written before for the same request."""
        if self._table is None:
            return
        row = Row(partition=key.row.partition, key=key.row.key, values=values or {})
        change = Delete(row=row) if values is None else Put(row=row)
        write = asyncio.ensure_future(self._after(self._writes.get(key), self._table.change(change)))
        self._writes[key] = write
        write.add_done_callback(lambda done: self._written(key, done))

    @staticmethod
    async def _after(before: asyncio.Task[None] | None, change: Coroutine[Any, Any, Any]) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            await change
        except (StoreUnavailable, Changed):
            return  # repeats in other instances are not known there

    def _written(self, key: RepeatKey, write: asyncio.Task[None]) -> None:
        if self._writes.get(key) is write:
            del self._writes[key]
