"""One measurement: a contender is served on its core, callers on the other ask it, and what it cost is read off."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from bench import installing
from bench.load import Load, Result, Times
from bench.processes import ROOT, Cores, DiedError, Running, Tree, first_line, on_core, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.canned import Kind
    from bench.contenders import Contender

START_SECONDS: Final = 90.0
POLL_SECONDS: Final = 0.005
LOGS: Final = installing.CACHE / "logs"


class FaultsError(Exception):
    """Calls went wrong: what was measured does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a contender is to be asked."""

    kind: Kind
    callers: int = 1
    seconds: float = 1.0
    """0: each caller asks once."""
    warm_seconds: float = 0.3
    apart_seconds: float = 0.0
    images: int = 1
    partials: int | None = None
    """With a number, for a stream with so many partial images."""
    unread: bool = False

    def load(self, contender: Contender, port: int) -> Load:
        """As the load generator is told."""
        ask = contender.ask(self.kind, images=self.images, partials=self.partials)
        return Load(
            port=port,
            path=ask.path,
            headers=ask.headers,
            body=ask.body,
            characters=self.kind.characters,
            images=self.images if self.partials is None else self.partials + 1,
            stream=self.partials is not None,
            callers=self.callers,
            seconds=self.seconds,
            warm_seconds=self.warm_seconds if self.seconds else 0.0,
            apart_seconds=self.apart_seconds,
            unread=self.unread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of it, and what it cost. `..._cores`: how many cores somebody kept busy on average."""

    result: Result
    gateway_cpu: float
    """Seconds of CPU of the contender's processes, over all calls."""
    gateway_cores: float
    upstream_cores: float
    load_cores: float

    @property
    def others_cores(self) -> float:
        """How busy the core was on which upstream and load generator work."""
        return self.upstream_cores + self.load_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The upstream's process."""

    port: int
    tree: Tree

    def state(self) -> dict[str, int]:
        """What it knows: answers begun by `json` and `stream`, and how many are `held`."""
        return self._control("GET", "/control")

    def release(self) -> None:
        """Let it send what it holds."""
        self._control("POST", "/control/release")

    def _control(self, method: str, path: str) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer: dict[str, int] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer


@contextlib.contextmanager
def upstream(cores: Cores) -> Iterator[Upstream]:
    """Run the upstream until the block ends."""
    command = [sys.executable, "-m", "bench.upstream"]
    with running(command, core=cores.others, log=LOGS / "upstream.log", stdout=subprocess.PIPE) as started:
        yield Upstream(port=int(first_line(started.process.stdout)), tree=started.tree)


class Served:
    """A contender that answers."""

    def __init__(
        self, contender: Contender, port: int, started: Running | None, behind: Upstream, cores: Cores
    ) -> None:
        self.contender = contender
        self.port = port
        self.behind = behind
        self._cores = cores
        self._started = started
        self.start_seconds: float | None = None
        """From the start of its command until the first answer begins."""

    @property
    def tree(self) -> Tree:
        """Its processes; for `direct`, the upstream's."""
        return self.behind.tree if self._started is None else self._started.tree

    def await_first_answer(self, kind: Kind) -> None:
        """Ask until there is a picture. Raises DiedError if it ends before, or takes too long."""
        if self._started is None:
            return
        request = Asked(kind=kind).load(self.contender, self.port).request()
        ends_at = self._started.began_at + START_SECONDS
        while not _answers(self.port, request):
            self._started.check()
            if time.perf_counter() > ends_at:
                raise DiedError(f"no picture within {START_SECONDS:.0f} s; it said:\n{self._started.said()}")
            time.sleep(POLL_SECONDS)
        self.start_seconds = time.perf_counter() - self._started.began_at

    def measure(self, asked: Asked) -> Measured:
        """Ask it, and read what it cost. Raises FaultsError if a single call went wrong."""
        with self.asking(asked) as asking:
            return asking.end()

    @contextlib.contextmanager
    def asking(self, asked: Asked) -> Iterator[Asking]:
        """Have it asked while the block runs."""
        spec = json.dumps(asdict(asked.load(self.contender, self.port)))
        with on_core(self._cores.others):
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.load", spec],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        with process:
            try:
                yield Asking(process, self)
            finally:
                if process.poll() is None:
                    process.kill()


class Asking:
    """Callers at work."""

    def __init__(self, process: subprocess.Popen[bytes], served: Served) -> None:
        self._process = process
        self._served = served
        self._began_at = time.perf_counter()
        self._gateway_cpu = served.tree.cpu_seconds()
        self._upstream_cpu = served.behind.tree.cpu_seconds()

    def let_read(self) -> None:
        """Let callers read who have stopped."""
        if self._process.stdin is None:
            raise AssertionError("stdin was asked for as a pipe")
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def end(self) -> Measured:
        """Wait for the callers to end. Raises FaultsError if a single call went wrong."""
        if self._process.stdout is None:
            raise AssertionError("stdout was asked for as a pipe")
        said = self._process.stdout.read()
        self._process.wait()
        seconds = time.perf_counter() - self._began_at
        gateway = self._served.tree.cpu_seconds() - self._gateway_cpu
        upstream_cpu = self._served.behind.tree.cpu_seconds() - self._upstream_cpu
        result = _result(json.loads(said))
        if result.faults or result.calls == 0:
            raise FaultsError(f"{self._served.contender.title}: {result.faults or 'no call ended in time'}")
        return Measured(
            result=result,
            gateway_cpu=gateway,
            gateway_cores=gateway / seconds,
            upstream_cores=upstream_cpu / seconds,
            load_cores=result.cpu_seconds / seconds,
        )


def _result(said: dict[str, Any]) -> Result:
    times = {name: said[name] and Times(**said[name]) for name in ("latency", "first_event")}
    return Result(**{**said, **times})


def _answers(port: int, request: bytes) -> bool:
    """Whether a call gets status 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request)
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


@contextlib.contextmanager
def served(contender: Contender, behind: Upstream, cores: Cores, kinds: Sequence[Kind]) -> Iterator[Served]:
    """Run a contender until the block ends; it has answered once when the block begins."""
    port = free_port()
    start = contender.start(port, behind.port, kinds)
    if start is None:
        yield Served(contender, behind.port, None, behind, cores)
        return
    log = LOGS / f"{contender.name}.log"
    with running(start.command, core=cores.gateway, log=log, cwd=start.cwd, env=start.env) as started:
        found = Served(contender, port, started, behind, cores)
        found.await_first_answer(kinds[0])
        yield found


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
