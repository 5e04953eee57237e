"""`python -m bench.load JSON`: callers who ask, read, check and ask again, each on a connection that is kept.

A process of its own, so that its work can be kept from the gateway's core. The argument is a Load, what it prints a
Result, both as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Final

from bench import canned
from bench.arithmetic import percentile
from bench.reading import AnswerReader, Checking, Expected, Faulty

BUFFER_BYTES: Final = 1 << 20
SLACK_SECONDS: Final = 60.0
"""How long calls may go on once time is over."""
MOST_FAULTS: Final = 20
"""A run with more faults than this ends at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to ask, how often, and by how many."""

    port: int
    path: str
    headers: dict[str, str]
    body: str
    characters: int
    """The length of each picture's base64 that is expected."""
    images: int = 1
    """How many pictures an answer holds, partial ones included."""
    stream: bool = False
    callers: int = 1
    seconds: float = 1.0
    """How long calls are counted; 0: each caller asks once."""
    warm_seconds: float = 0.0
    """How long they ask before that."""
    apart_seconds: float = 0.0
    """How much later each caller begins than the one before."""
    unread: bool = False
    """Whether callers stop reading when an answer begins, until a line comes on stdin."""

    def request(self) -> bytes:
        """The request as it is sent."""
        body = self.body.encode()
        lines = [f"POST {self.path} HTTP/1.1", f"host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long something took, in milliseconds."""

    p50: float
    p90: float
    p99: float
    least: float
    most: float

    @classmethod
    def of(cls, seconds: array[float]) -> Times | None:
        """From the single times; None where there are none."""
        if not seconds:
            return None
        ordered = sorted(value * 1000 for value in seconds)
        p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
        return cls(p50=p50, p90=p90, p99=p99, least=ordered[0], most=ordered[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a Load."""

    calls: int
    """Those that ended well while they were counted."""
    all_calls: int
    """With those before and after."""
    seconds: float
    """How long they were counted."""
    bytes: int
    """Of the bodies of `calls`."""
    latency: Times | None
    first_event: Times | None
    """Until the first event of a stream is whole."""
    faults: dict[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    """What this process took of its core."""


class Session:
    """What all callers share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.request = load.request()
        self.expected = Expected(picture=canned.picture(load.characters), images=load.images, stream=load.stream)
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        """One for all: what is in it is looked at before anybody else receives."""
        self.latencies: array[float] = array("d")
        self.first_events: array[float] = array("d")
        self.bytes = 0
        self.all_calls = 0
        self.faults: Counter[str] = Counter()
        self.callers: list[Caller] = []
        self.count_from = 0.0
        self.count_to = 0.0
        self.may_read = asyncio.Event()
        if not load.unread:
            self.may_read.set()

    def goes_on(self, now: float) -> bool:
        """Whether callers ask again."""
        return now < self.count_to and self.faults.total() <= MOST_FAULTS

    def note(self, began_at: float, now: float, first_event_at: float | None, length: int) -> None:
        """Write down a call that ended well."""
        self.all_calls += 1
        if self.load.seconds and not (self.count_from <= now <= self.count_to):
            return
        self.latencies.append(now - began_at)
        if first_event_at is not None:
            self.first_events.append(first_event_at - began_at)
        self.bytes += length

    def result(self, cpu_seconds: float, seconds: float) -> Result:
        """What came of it."""
        return Result(
            calls=len(self.latencies),
            all_calls=self.all_calls,
            seconds=self.load.seconds or seconds,
            bytes=self.bytes,
            latency=Times.of(self.latencies),
            first_event=Times.of(self.first_events),
            faults=dict(self.faults),
            cpu_seconds=cpu_seconds,
        )


class Caller(asyncio.BufferedProtocol):
    """One caller on one connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._reader = AnswerReader()
        self._body = Checking(session.expected, thorough=True)
        self._transport: asyncio.Transport | None = None
        self._began_at = 0.0
        self._first_event_at: float | None = None
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Done when this connection is done with; True: there is more to ask."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time (asyncio)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's signature
        """Where to receive (asyncio)."""
        return self._session.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read what came (asyncio)."""
        session = self._session
        if not session.may_read.is_set() and self._transport is not None:
            self._transport.pause_reading()
        try:
            is_whole = self._reader.feed(session.buffer[:nbytes], self._body)
        except Faulty as fault:
            self._fail(str(fault))
            return
        if self._first_event_at is None and self._body.events:
            self._first_event_at = time.perf_counter()
        if is_whole:
            now = time.perf_counter()
            session.note(self._began_at, now, self._first_event_at, self._body.length)
            self._next(now)

    def go_on(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note a loss (asyncio)."""
        self._transport = None
        if not self.ended.done():
            self._fail(f"connection lost: {type(exc).__name__ if exc else 'closed'}")

    def give_up(self) -> None:
        """Time is over, and this caller still has no answer."""
        self._fail("no answer in time")

    def _next(self, now: float) -> None:
        if not self._session.goes_on(now):
            self._leave(more=False)
        elif self._reader.closes:
            self._leave(more=True)
        else:
            self._body = Checking(self._session.expected, thorough=False)
            self._ask()

    def _ask(self) -> None:
        self._first_event_at = None
        self._began_at = time.perf_counter()
        if self._transport is not None:
            self._transport.write(self._session.request)

    def _fail(self, why: str) -> None:
        self._session.faults[why] += 1
        self._leave(more=self._session.goes_on(time.perf_counter()))

    def _leave(self, *, more: bool) -> None:
        if not self.ended.done():
            self.ended.set_result(more)
        if self._transport is not None:
            self._transport.abort()


async def _call(session: Session, delay: float) -> None:
    """One caller, on as many connections as it needs."""
    await asyncio.sleep(delay)
    loop = asyncio.get_running_loop()
    more = True
    while more:
        try:
            _, caller = await loop.create_connection(lambda: Caller(session), "127.0.0.1", session.load.port)
        except OSError as error:
            session.faults[f"no connection: {type(error).__name__}"] += 1
            more = session.goes_on(time.perf_counter())
            continue
        session.callers.append(caller)
        more = await caller.ended
        session.callers.remove(caller)


async def run(load: Load) -> Result:
    """Carry out a Load."""
    session = Session(load)
    began_at, cpu_at = time.perf_counter(), time.process_time()
    session.count_from = began_at + load.warm_seconds
    session.count_to = session.count_from + load.seconds
    if load.unread:
        asyncio.get_running_loop().add_reader(sys.stdin, _let_read, session)
    callers = [asyncio.create_task(_call(session, load.apart_seconds * number)) for number in range(load.callers)]
    _, late = await asyncio.wait(callers, timeout=load.warm_seconds + load.seconds + SLACK_SECONDS)
    if late:
        for caller in list(session.callers):
            caller.give_up()
        await asyncio.wait(late, timeout=1)
    now = time.perf_counter()
    return session.result(time.process_time() - cpu_at, now - began_at)


def _let_read(session: Session) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin)
    session.may_read.set()
    for caller in session.callers:
        caller.go_on()


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Load(**json.loads(sys.argv[1])))))))
