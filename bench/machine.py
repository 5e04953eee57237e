"""What a run was made on, and how quiet it was there."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.processes import Cores, on_core

_MODEL: Final = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)
_MEMORY: Final = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
STAT: Final = Path("/proc/stat")
LOOK_SECONDS: Final = 1.0
NOISY_CORES: Final = 0.1
"""With more than this kept busy by others, figures are not to be trusted."""
_WORK: Final = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, as it tells of itself."""

    processor: str
    cores: int
    threads_of_one_core: bool
    """Whether the two that were used share one core's units (SMT)."""
    memory_gib: float
    system: str
    python: str
    """The one of the upstream and the load generator."""

    @classmethod
    def this(cls, cores: Cores) -> Machine:
        """Read it from /proc and /sys."""
        model = _MODEL.search(Path("/proc/cpuinfo").read_text())
        memory = _MEMORY.search(Path("/proc/meminfo").read_text())
        return cls(
            processor=model[1] if model else platform.machine(),
            cores=os.cpu_count() or 1,
            threads_of_one_core=cores.are_apart and cores.others in siblings(cores.gateway),
            memory_gib=round(int(memory[1]) / (1 << 20), 1) if memory else 0.0,
            system=f"{platform.system()} {platform.release().split('-')[0]}",
            python=platform.python_version(),
        )


def siblings(core: int) -> set[int]:
    """The logical processors that share a core with this one, itself included."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return ranges(path.read_text())
    except OSError:
        return {core}


def ranges(text: str) -> set[int]:
    """The numbers of a list such as `0-1,4` (cpuset(7), "List format")."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """How quiet the machine was at one moment between two measurements."""

    work_ms: float
    """How long the same work took on the gateway's core: a loop in Python."""
    others_cores: float
    """How many cores something else kept busy."""
    stolen_seconds: float
    """The CPU time that the machine's host has taken away since the machine's start (proc(5), steal)."""


def look(cores: Cores) -> Quiet:
    """Look once, for a second, while nothing of ours works."""
    before = Ticks.of(STAT.read_text())
    time.sleep(LOOK_SECONDS)
    after = Ticks.of(STAT.read_text())
    with on_core(cores.gateway):
        began_at = time.perf_counter()
        total = 0
        for number in range(_WORK):
            total += number & 7
        work_ms = (time.perf_counter() - began_at) * 1000
    return Quiet(
        work_ms=work_ms,
        others_cores=(after.busy - before.busy) / os.sysconf("SC_CLK_TCK") / LOOK_SECONDS,
        stolen_seconds=after.stolen / os.sysconf("SC_CLK_TCK"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What all processors have done since the start of the machine, in ticks."""

    busy: int
    stolen: int

    @classmethod
    def of(cls, text: str) -> Ticks:
        """Read the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5))."""
        user, nice, system, _, _, irq, softirq, steal = map(int, text.split("\n", 1)[0].split()[1:9])
        return cls(busy=user + nice + system + irq + softirq, stolen=steal)
