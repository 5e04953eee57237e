"""Processes under measurement: started on a core of their own, asked what they cost, ended.

What a process costs is read from Linux's /proc (proc(5)): the CPU time of a whole tree, and its resident memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
PROC: Final = Path("/proc")
STOP_SECONDS: Final = 20.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KB: Final = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)
_RESET_PEAK: Final = "5"
"""Written to clear_refs, this sets VmHWM back to VmRSS (proc(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Which core belongs to whom."""

    gateway: int
    others: int

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


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of /proc/PID/stat, as far as it counts here."""

    parent: int
    cpu_seconds: float

    @classmethod
    def of(cls, line: str) -> Stat:
        """Read the line. The command's name stands in parentheses and may hold anything, parentheses too."""
        fields = line[line.rindex(")") + 2 :].split()
        return cls(parent=int(fields[1]), cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS)


def _stats() -> dict[int, Stat]:
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = Stat.of((entry / "stat").read_text())
    return found


def descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """A process with all that came of it, from each process's parent."""
    tree = {root}
    while more := {process for process, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree


class Tree:
    """A process and all that it has started."""

    def __init__(self, root: int) -> None:
        self.root = root

    def cpu_seconds(self) -> float:
        """The CPU time that those who live have used, in steps of 10 ms."""
        stats = _stats()
        return sum(stats[each].cpu_seconds for each in self._members(stats) if each in stats)

    def resident_bytes(self) -> int:
        """The memory that they hold now. What several share counts for each."""
        return self._memory("VmRSS")

    def peak_bytes(self) -> int:
        """The most that they have held since the start or `forget_peak`, each at its own moment."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        """Let `peak_bytes` begin anew from what is held now."""
        for each in self._members(_stats()):
            with contextlib.suppress(OSError):
                (PROC / str(each) / "clear_refs").write_text(_RESET_PEAK)

    def settled_bytes(self, *, seconds: float = 5.0, quiet: float = 0.4) -> int:
        """The memory once it has stood still for `quiet` seconds, or after `seconds`."""
        ends_at = time.monotonic() + seconds
        last, since = self.resident_bytes(), time.monotonic()
        while time.monotonic() < ends_at and time.monotonic() - since < quiet:
            time.sleep(0.05)
            now = self.resident_bytes()
            if abs(now - last) > 256 * 1024:
                last, since = now, time.monotonic()
        return self.resident_bytes()

    def _members(self, stats: Mapping[int, Stat]) -> set[int]:
        return descendants(self.root, {process: stat.parent for process, stat in stats.items()})

    def _memory(self, what: str) -> int:
        total = 0
        for each in self._members(_stats()):
            with contextlib.suppress(OSError):
                total += memory_of((PROC / str(each) / "status").read_text()).get(what, 0)
        return total


def memory_of(status: str) -> dict[str, int]:
    """VmRSS and VmHWM, in bytes, from the text of /proc/PID/status; a process that is ending has none."""
    return {name: int(kilobytes) * 1024 for name, kilobytes in _KB.findall(status)}


class DiedError(Exception):
    """A process ended, or did not do what it was started for; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that has been started."""

    process: subprocess.Popen[bytes]
    tree: Tree
    began_at: float
    """By time.perf_counter, just before it was started."""
    log: Path

    def check(self) -> None:
        """Raises DiedError if it has ended."""
        if self.process.poll() is not None:
            raise DiedError(f"ended with status {self.process.returncode}; it said:\n{self.said()}")

    def said(self) -> str:
        """The end of what it has said."""
        return self.log.read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    core: int,
    log: Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> Iterator[Running]:
    """Run a command with its own process group on one core until the block ends; what it says goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said, on_core(core):
        began_at = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=said if stdout is None else stdout,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield Running(process=process, tree=Tree(process.pid), began_at=began_at, log=log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            break
    if process.stdout is not None:
        process.stdout.close()


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of this shell but what programs need to start, and `more`."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PYENV_ROOT")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **more}


def first_line(pipe: IO[bytes] | None) -> str:
    """The first line that a process says."""
    if pipe is None:
        raise AssertionError("stdout was asked for as a pipe")
    return pipe.readline().decode().strip()
