"""`python -m bench.load JSON`: callers who ask, read and check the answer, and ask again on a connection that is kept.

A process of its own, so that it can be kept off the gateway's core. The argument is a Load, what it prints a Result,
both as JSON. Every answer is checked: small ones and streams to the last character, large ones on each connection the
first so, the others by their length.
"""

# ruff: noqa: RUF001 -- the text is for people: a multiplication sign is one

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Final

import httptools
import msgspec

from bench.answers import COMPLETED_EVENT, AnswerKind, make_image

WARM_SECONDS: Final = 0.3
RECEIVE_BYTES: Final = 1 << 18
MAX_FAULTS: Final = 20
"""A run with more faults than this ends at once."""
MIN_LARGE_BYTES: Final = 256 * 1024
"""Answers from this length on are not all checked to the last character."""
TOLERANCE_BYTES: Final = 256
"""How much the lengths of answers to the same request may differ: they tell ids and times."""


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """What callers ask for, and how often."""

    kind: AnswerKind
    callers: int = 1
    seconds: float = 1.0
    """How long calls are counted, after WARM_SECONDS in which they are not; 0: each caller asks once."""
    apart_seconds: float = 0.0
    """How much later each caller begins than the one before."""
    images: int = 1
    partials: int | None = None
    """With a number, for a stream with so many partial images."""
    unread: bool = False
    """Whether callers stop reading when an answer begins, until a line comes on stdin."""

    def describe(self) -> str:
        """In words, as far as memory depends on it."""
        what = "JSON" if self.partials is None else "stream"
        images = f" with n={self.images}" if self.images > 1 else ""
        size = f"{self.kind.characters * 3 / 4 / 1e6:.2g} MB"
        return f"{self.callers} × {what}{images}, {size}, {'caller does not read' if self.unread else 'upstream sends'}"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The calls, and how a gateway is asked for them."""

    port: int
    path: str
    headers: dict[str, str]
    body: str
    calls: Calls

    @property
    def images(self) -> int:
        """How many images an answer holds, partial ones included."""
        return self.calls.images if self.calls.partials is None else self.calls.partials + 1

    def make_request(self) -> bytes:
        """The request as it is sent."""
        body = self.body.encode()
        lines = [f"POST {self.path} HTTP/1.1", f"host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a Load."""

    calls: int
    """Those that ended well while they were counted."""
    all_calls: int
    """With those before and after."""
    seconds: float
    """How long they were counted."""
    bytes: int
    """Of the bodies of `calls`."""
    latency_ms: float
    """The median; 0 without a call."""
    first_event_ms: float
    """The median of the time until the first event of a stream is complete; 0 without a stream."""
    faults: dict[str, int]
    cpu_seconds: float
    """What this process used."""


class BadAnswer(Exception):
    """An answer is not what it should be; the message says in which way."""


class Answer:
    """Reads one answer from what a connection receives."""

    def __init__(self, *, keep: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._keep = keep
        self._event_start = 0
        self.body = bytearray()
        """Empty unless it is kept."""
        self.length = 0
        self.first_event_at: float | None = None
        self.is_complete = False
        self.keeps_connection = False
        """Whether the connection may be used again, once the answer is complete."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._parser.get_status_code()

    def feed(self, data: memoryview) -> None:
        """Take what came. Raises BadAnswer where it is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise BadAnswer(f"no HTTP: {error}") from None

    def on_body(self, part: bytes) -> None:
        """Take a part of the body (httptools)."""
        self.length += len(part)
        if self._keep:
            self.body += part
            if self.first_event_at is None and b"\n" in part and self._has_event():
                self.first_event_at = time.perf_counter()

    def on_message_complete(self) -> None:
        """End (httptools)."""
        self.is_complete, self.keeps_connection = True, self._parser.should_keep_alive()

    def _has_event(self) -> bool:
        """Whether an event is complete; comments are none."""
        while (end := self.body.find(b"\n\n", self._event_start)) >= 0:
            if not self.body.startswith(b":", self._event_start):
                return True
            self._event_start = end + 2
        return False


@dataclass(slots=True)
class Check:
    """Whether the answers to one request are what they should be."""

    load: Load
    length: int | None = None
    """The length of the last answer that was checked to its last character."""

    def needs_body(self) -> bool:
        """Whether the next answer is to be checked to its last character."""
        return self.load.calls.partials is not None or self.length is None or self.length < MIN_LARGE_BYTES

    def check(self, answer: Answer) -> None:
        """Raises BadAnswer."""
        if answer.status != 200:
            raise BadAnswer(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
        if self.needs_body():
            self._check_body(answer.body)
            self.length = answer.length
        elif self.length is not None and abs(answer.length - self.length) > TOLERANCE_BYTES:
            raise BadAnswer(f"a body of {answer.length} bytes in place of {self.length}")

    def _check_body(self, body: bytearray) -> None:
        found = body.count(b'"%b"' % make_image(self.load.calls.kind.characters))
        if found != self.load.images:
            raise BadAnswer(f"{found} images in place of {self.load.images}")
        if self.load.calls.partials is not None and COMPLETED_EVENT.encode() not in body:
            raise BadAnswer("a stream without its completed event")


class Session:
    """What all callers share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.count_from = time.perf_counter() + (WARM_SECONDS if load.calls.seconds else 0)
        self.may_read = threading.Event()
        self.latencies: list[float] = []
        self.first_events: list[float] = []
        self.bytes = 0
        self.all_calls = 0
        self.faults: Counter[str] = Counter()

    def goes_on(self) -> bool:
        """Whether callers ask again."""
        return time.perf_counter() < self.count_from + self.load.calls.seconds and self.faults.total() <= MAX_FAULTS

    def record(self, began_at: float, answer: Answer) -> None:
        """Count a call that ended well."""
        now = time.perf_counter()
        self.all_calls += 1
        if self.load.calls.seconds and not self.count_from <= now <= self.count_from + self.load.calls.seconds:
            return
        self.latencies.append((now - began_at) * 1000)
        self.bytes += answer.length
        if answer.first_event_at is not None:
            self.first_events.append((answer.first_event_at - began_at) * 1000)


def run_caller(session: Session, number: int) -> None:
    """One caller, on as many connections as it needs."""
    time.sleep(session.load.calls.apart_seconds * number)
    is_first = True
    while is_first or session.goes_on():
        is_first = False
        try:
            with socket.create_connection(("127.0.0.1", session.load.port)) as connection:
                _ask_repeatedly(session, connection)
        except (BadAnswer, OSError) as fault:
            session.faults[f"{type(fault).__name__}: {fault}"] += 1


def _ask_repeatedly(session: Session, connection: socket.socket) -> None:
    """Ask on a connection until time is over. Raises BadAnswer, OSError."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request, check = session.load.make_request(), Check(session.load)
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    while True:
        answer = Answer(keep=check.needs_body())
        began_at = time.perf_counter()
        connection.sendall(request)
        while not answer.is_complete:
            received = connection.recv_into(buffer)
            if received == 0:
                raise BadAnswer("the connection was closed")
            answer.feed(buffer[:received])
            if not session.may_read.is_set():
                session.may_read.wait()
        check.check(answer)
        session.record(began_at, answer)
        if not answer.keeps_connection or not session.goes_on():
            return


def run(load: Load) -> Result:
    """Carry out a Load, each caller in a thread of its own."""
    make_image(load.calls.kind.characters)
    began_at, cpu_at = time.perf_counter(), time.process_time()
    session = Session(load)
    callers = [threading.Thread(target=run_caller, args=(session, number)) for number in range(load.calls.callers)]
    for caller in callers:
        caller.start()
    if load.calls.unread:
        sys.stdin.readline()
    session.may_read.set()
    for caller in callers:
        caller.join()
    return Result(
        calls=len(session.latencies),
        all_calls=session.all_calls,
        seconds=load.calls.seconds or time.perf_counter() - began_at,
        bytes=session.bytes,
        latency_ms=median(session.latencies or [0.0]),
        first_event_ms=median(session.first_events or [0.0]),
        faults=dict(session.faults),
        cpu_seconds=time.process_time() - cpu_at,
    )


if __name__ == "__main__":
    print(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=Load))).decode())
