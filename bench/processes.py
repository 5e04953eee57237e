"""Processes under measurement: started on a core of their own, asked what they use, ended.

What they use is read from Linux's /proc (proc(5)): the CPU time of a process with all that it started, and its memory.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
PROC: Final = Path("/proc")
STOP_SECONDS: Final = 20.0
NOISE_SECONDS: Final = 1.0
MAX_OTHERS_CORES: Final = 0.1
"""With more than this kept busy by other programs, figures are not to be trusted."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MEMORY: Final = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)
_RESET_PEAK: Final = "5"
"""Written to clear_refs, this sets VmHWM back to VmRSS (proc(5))."""
_LOOPS: Final = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Which core belongs to whom."""

    gateway: int
    others: int
    """That of the upstream and the load generator."""

    @property
    def are_apart(self) -> bool:
        """Whether the measured gateway has a core to itself."""
        return self.gateway != self.others

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first and the second core that this process may use; the same one twice where there is one."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(gateway=allowed[0], others=allowed[min(1, len(allowed) - 1)])


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Have what is started within the block run on one core, as it inherits this process's."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def parse_stat(line: str) -> tuple[int, float]:
    """The parent and the CPU seconds of a process, from /proc/PID/stat.

    The command's name stands in parentheses and may hold anything, parentheses too.
    """
    fields = line[line.rindex(")") + 2 :].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS


def parse_memory(status: str) -> dict[str, int]:
    """VmRSS and VmHWM in bytes, from /proc/PID/status."""
    return {name: int(kilobytes) * 1024 for name, kilobytes in _MEMORY.findall(status)}


def find_descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """A process with all that it and its children have started, from each process's parent."""
    found = {root}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found


class ProcessTree:
    """A process and all that it has started."""

    def __init__(self, root: int) -> None:
        self.root = root

    def cpu_seconds(self) -> float:
        """The CPU time that those who live have used, in steps of 10 ms."""
        return sum(self._read_members().values())

    def resident_bytes(self) -> int:
        """The memory that they hold now. What several share counts for each."""
        return self._read_memory("VmRSS")

    def peak_bytes(self) -> int:
        """The most that they have held since the start or `reset_peak`, each at its own moment."""
        return self._read_memory("VmHWM")

    def reset_peak(self) -> None:
        """Let `peak_bytes` begin anew from what is held now."""
        for each in self._read_members():
            with contextlib.suppress(OSError):
                (PROC / str(each) / "clear_refs").write_text(_RESET_PEAK)

    def wait_for_steady_memory(self, *, seconds: float = 5.0, steady: float = 0.4) -> int:
        """The memory once it has not changed for `steady` seconds, or after `seconds`."""
        ends_at = time.monotonic() + seconds
        last, since = self.resident_bytes(), time.monotonic()
        while time.monotonic() < ends_at and time.monotonic() - since < steady:
            time.sleep(0.05)
            now = self.resident_bytes()
            if abs(now - last) > 256 * 1024:
                last, since = now, time.monotonic()
        return self.resident_bytes()

    def _read_members(self) -> dict[int, float]:
        """The CPU seconds of each process of the tree."""
        stats = {}
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    stats[int(entry.name)] = parse_stat((entry / "stat").read_text())
        members = find_descendants(self.root, {process: parent for process, (parent, _) in stats.items()})
        return {process: cpu for process, (_, cpu) in stats.items() if process in members}

    def _read_memory(self, name: str) -> int:
        total = 0
        for each in self._read_members():
            with contextlib.suppress(OSError):
                total += parse_memory((PROC / str(each) / "status").read_text()).get(name, 0)
        return total


class ProcessEnded(Exception):
    """A process ended, or did not do what it was started for; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that has been started."""

    popen: subprocess.Popen[bytes]
    tree: ProcessTree
    began_at: float
    """By time.perf_counter, just before it was started."""
    log: Path

    def check(self) -> None:
        """Raises ProcessEnded if it has ended."""
        if self.popen.poll() is not None:
            raise ProcessEnded(f"ended with status {self.popen.returncode}; it said:\n{self.read_log()}")

    def read_log(self) -> str:
        """The end of what it has said."""
        return self.log.read_text(errors="replace")[-2000:]

    def read_line(self) -> str:
        """The next line of its stdout, which must be a pipe."""
        if self.popen.stdout is None:
            raise AssertionError("stdout is no pipe")
        return self.popen.stdout.readline().decode().strip()


@contextlib.contextmanager
def run(
    command: Sequence[str | Path],
    *,
    core: int,
    log: Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> Iterator[Process]:
    """Run a command with its own process group on one core until the block ends; what it says goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said, on_core(core):
        began_at = time.perf_counter()
        popen = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=said if stdout is None else stdout,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield Process(popen=popen, tree=ProcessTree(popen.pid), began_at=began_at, log=log)
    finally:
        _stop(popen)


def _stop(popen: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(STOP_SECONDS)
            break
    if popen.stdout is not None:
        popen.stdout.close()


def make_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Nothing of this shell but what programs need to start, and `variables`."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PYENV_ROOT")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **variables}


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How quiet the machine was at one moment between two measurements."""

    loop_ms: float
    """How long the same loop in Python took on the gateway's core."""
    others_cores: float
    """How many cores other programs kept busy."""


def parse_busy_ticks(stat: str) -> int:
    """What all cores have worked, from /proc/stat: user, nice, system, idle, iowait, irq, softirq (proc(5))."""
    user, nice, system, _, _, irq, softirq = map(int, stat.split("\n", 1)[0].split()[1:8])
    return user + nice + system + irq + softirq


def measure_noise(cores: Cores) -> Noise:
    """Watch the machine for a second in which nothing of ours works."""
    before = parse_busy_ticks((PROC / "stat").read_text())
    time.sleep(NOISE_SECONDS)
    busy = parse_busy_ticks((PROC / "stat").read_text()) - before
    with on_core(cores.gateway):
        began_at = time.perf_counter()
        for _ in range(_LOOPS):
            pass
        loop_ms = (time.perf_counter() - began_at) * 1000
    return Noise(loop_ms=loop_ms, others_cores=busy / _TICKS / NOISE_SECONDS)


def describe_machine(cores: Cores) -> str:
    """The machine in words."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    pinned = "each with its own work" if cores.are_apart else "one core for all: the figures are not comparable"
    return (
        f"{os.cpu_count()} cores of an {model[1] if model else platform.machine()} ({pinned}), "
        f"{int(memory[1]) / (1 << 20) if memory else 0:.1f} GiB, {platform.system()} "
        f"{platform.release().split('-')[0]}; upstream and load generator on Python {platform.python_version()}"
    )
