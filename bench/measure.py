"""One measurement: a gateway runs on its core, callers on the other ask it, and what it used is read off."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from bench import install, processes
from bench.answers import AnswerKind
from bench.figures import MB, SMALL_CHARACTERS, MemoryUse, base64_length
from bench.load import WARM_SECONDS, Calls, Load, Result
from bench.processes import ROOT, Cores, Process, ProcessEnded, ProcessTree, on_core

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.gateways import Gateway

START_SECONDS: Final = 90.0
POLL_SECONDS: Final = 0.005
ANSWER_SECONDS: Final = 60.0
"""How long calls may go on once time is over."""
HOLD_SECONDS: Final = 30.0
LOGS: Final = install.CACHE / "logs"


class CallsFailed(Exception):
    """Calls went wrong: what was measured does not count."""


def make_load(gateway: Gateway, port: int, calls: Calls) -> Load:
    """The calls, as the load generator is told."""
    request = gateway.make_request(calls.kind, images=calls.images, partials=calls.partials)
    return Load(port=port, path=request.path, headers=request.headers, body=request.body, calls=calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of it, and what it cost."""

    result: Result
    cpu_seconds: float
    """Of the gateway's processes, over all calls."""
    others_cores: float
    """How busy the core was on which upstream and load generator work."""


WARM_UP: Final = Calls(kind=AnswerKind(characters=SMALL_CHARACTERS), callers=16, seconds=1.5)


MEMORY_CASES: Final = (
    # Two moments are held still: all but the end of an answer has come from upstream, or the whole answer is there but
    # its caller has stopped reading. The first must be the one with small images.
    Calls(kind=AnswerKind(characters=SMALL_CHARACTERS, hold=True), callers=256, seconds=0),
    Calls(kind=AnswerKind(characters=base64_length(4 * MB), hold=True), callers=16, seconds=0),
    Calls(kind=AnswerKind(characters=base64_length(4 * MB)), callers=16, seconds=0, partials=0, unread=True),
    Calls(kind=AnswerKind(characters=base64_length(4 * MB), hold=True), callers=1, seconds=0, images=10),
    Calls(kind=AnswerKind(characters=base64_length(33 * MB)), callers=4, seconds=0, partials=0, unread=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningUpstream:
    """The upstream's process."""

    port: int
    tree: ProcessTree

    def count_held(self) -> int:
        """How many answers it holds back."""
        return int(self._ask("/held"))

    def release(self) -> None:
        """Let it send what it holds back."""
        self._ask("/release")

    def _ask(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()


@contextlib.contextmanager
def run_upstream(cores: Cores) -> Iterator[RunningUpstream]:
    """Run the upstream until the block ends."""
    command = [sys.executable, "-m", "bench.upstream"]
    with processes.run(command, core=cores.others, log=LOGS / "upstream.log", stdout=subprocess.PIPE) as process:
        yield RunningUpstream(port=int(process.read_line()), tree=process.tree)


class RunningGateway:
    """A gateway that answers."""

    def __init__(
        self, gateway: Gateway, port: int, process: Process | None, upstream: RunningUpstream, cores: Cores
    ) -> None:
        self.gateway = gateway
        self.port = port
        self.upstream = upstream
        self.process = process
        """None for direct calls."""
        self._cores = cores
        self.start_seconds = 0.0
        """From its command until the first answer begins."""

    @property
    def tree(self) -> ProcessTree:
        """Its processes; for direct calls, the upstream's."""
        return self.process.tree if self.process else self.upstream.tree

    def wait_for_answer(self, kind: AnswerKind) -> None:
        """Ask until there is an image. Raises ProcessEnded if it ends before, or takes too long."""
        if self.process is None:
            return
        request = make_load(self.gateway, self.port, Calls(kind=kind)).make_request()
        while not _is_answered(self.port, request):
            self.process.check()
            if time.perf_counter() > self.process.began_at + START_SECONDS:
                raise ProcessEnded(f"no image within {START_SECONDS:.0f} s; it said:\n{self.process.read_log()}")
            time.sleep(POLL_SECONDS)
        self.start_seconds = time.perf_counter() - self.process.began_at

    def measure(self, calls: Calls) -> Measured:
        """Ask it, and read what it used. Raises CallsFailed if a single call went wrong."""
        with self.begin(calls) as callers:
            return callers.finish()

    @contextlib.contextmanager
    def begin(self, calls: Calls) -> Iterator[RunningCallers]:
        """Have it asked while the block runs."""
        load = make_load(self.gateway, self.port, calls)
        with on_core(self._cores.others):
            popen = subprocess.Popen(
                [sys.executable, "-m", "bench.load", msgspec.json.encode(load).decode()],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        with popen:
            try:
                yield RunningCallers(popen, self, load)
            finally:
                popen.kill()


class RunningCallers:
    """The load generator's process."""

    def __init__(self, popen: subprocess.Popen[bytes], running: RunningGateway, load: Load) -> None:
        self._popen = popen
        self._running = running
        self._max_seconds = WARM_SECONDS + load.calls.seconds + ANSWER_SECONDS
        self._began_at = time.perf_counter()
        self._cpu = running.tree.cpu_seconds()
        self._upstream_cpu = running.upstream.tree.cpu_seconds()

    def finish(self) -> Measured:
        """Let callers read who have stopped, and wait for all. Raises CallsFailed if a single call went wrong."""
        title = self._running.gateway.title
        try:
            said, _ = self._popen.communicate(b"\n", timeout=self._max_seconds)
        except subprocess.TimeoutExpired:
            raise CallsFailed(f"{title}: no answer in time") from None
        seconds = time.perf_counter() - self._began_at
        cpu = self._running.tree.cpu_seconds() - self._cpu
        upstream_cpu = self._running.upstream.tree.cpu_seconds() - self._upstream_cpu
        result = msgspec.json.decode(said, type=Result)
        if result.faults or result.calls == 0:
            raise CallsFailed(f"{title}: {result.faults or 'no call ended in time'}")
        return Measured(result=result, cpu_seconds=cpu, others_cores=(upstream_cpu + result.cpu_seconds) / seconds)


def measure_memory(running: RunningGateway, calls: Calls) -> MemoryUse:
    """Measure a case in a gateway that has just been started. Raises CallsFailed.

    What the system keeps in its socket buffers is not counted.
    """
    running.measure(WARM_UP)
    idle = running.tree.wait_for_steady_memory()
    running.tree.reset_peak()
    with running.begin(calls) as callers:
        if calls.kind.hold:
            _wait_until_held(running.upstream, calls.callers)
        running.tree.wait_for_steady_memory(seconds=20, steady=0.6)
        if calls.kind.hold:
            running.upstream.release()
        callers.finish()
    return MemoryUse(
        title=calls.describe(),
        calls=calls.callers,
        base64_mb=calls.callers * calls.images * calls.kind.characters / MB,
        peak_mb=(running.tree.peak_bytes() - idle) / MB,
    )


def _wait_until_held(upstream: RunningUpstream, answers: int) -> None:
    ends_at = time.monotonic() + HOLD_SECONDS
    while upstream.count_held() < answers:
        if time.monotonic() > ends_at:
            raise CallsFailed(f"only {upstream.count_held()} of {answers} answers are on their way")
        time.sleep(POLL_SECONDS)


def _is_answered(port: int, request: bytes) -> bool:
    """Whether a call gets status 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request)
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


@contextlib.contextmanager
def run_gateway(
    gateway: Gateway, upstream: RunningUpstream, cores: Cores, kinds: Sequence[AnswerKind]
) -> Iterator[RunningGateway]:
    """Run a gateway until the block ends; it has answered once when the block begins. Raises ProcessEnded."""
    port = _find_free_port()
    start = gateway.prepare_start(port, upstream.port, kinds)
    if start is None:
        yield RunningGateway(gateway, upstream.port, None, upstream, cores)
        return
    log = LOGS / f"{gateway.name}.log"
    with processes.run(start.command, core=cores.gateway, log=log, cwd=start.cwd, env=start.env) as process:
        running = RunningGateway(gateway, port, process, upstream, cores)
        running.wait_for_answer(kinds[0])
        yield running


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
