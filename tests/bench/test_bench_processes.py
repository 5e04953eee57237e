"""What processes cost, as Linux tells it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from bench.machine import Ticks, ranges
from bench.processes import Cores, DiedError, Stat, Tree, clean_environment, descendants, memory_of, running

if TYPE_CHECKING:
    from pathlib import Path

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TICKS = os.sysconf("SC_CLK_TCK")


def test_a_command_may_have_any_name() -> None:
    """Parent and CPU time are found behind a command's name with spaces and parentheses in it."""
    line = f"42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 {3 * TICKS} {2 * TICKS} 0 0 20 0 1 0 1 2 3"
    assert Stat(parent=7, cpu_seconds=5.0) == Stat.of(line)


def test_a_tree_has_grandchildren() -> None:
    """All that came of a process counts, and nothing else."""
    assert {2, 3, 4, 6} == descendants(2, {1: 0, 2: 1, 3: 2, 4: 3, 5: 1, 6: 2})


def test_memory_is_told_in_bytes() -> None:
    """Resident memory and its peak are read from a process's status; one that is ending has none."""
    assert {"VmHWM": 2048, "VmRSS": 1024} == memory_of("Name:\tx\nVmHWM:\t     2 kB\nVmRSS:\t     1 kB\n")
    assert memory_of("Name:\tx\nState:\tZ (zombie)\n") == {}


@pytest.mark.parametrize(("text", "expected"), [("0\n", {0}), ("0-2,5\n", {0, 1, 2, 5})])
def test_lists_of_processors_are_read(text: str, expected: set[int]) -> None:
    """The kernel's lists name single processors and ranges."""
    assert expected == ranges(text)


def test_waiting_is_not_busy() -> None:
    """What processors do is their work and their interrupts; idling and waiting are not, and what is stolen is told."""
    assert Ticks(busy=1 + 2 + 4 + 32 + 64, stolen=128) == Ticks.of("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 1 2\n")


def test_only_what_programs_need_is_inherited() -> None:
    """Nothing of this shell's settings reaches what is measured."""
    assert {"PATH", "HOME", "LANG", "TMPDIR", "PYENV_ROOT", "ASKED"} >= set(clean_environment({"ASKED": "1"}))


def test_one_core_is_not_apart() -> None:
    """Where gateway and load share a core, the figures do not count."""
    assert [False, True] == [Cores(gateway=0, others=0).are_apart, Cores(gateway=0, others=1).are_apart]


@LINUX
def test_a_tree_is_measured_while_it_lives(tmp_path: Path) -> None:
    """A running process has memory and a peak that can be forgotten; it is gone when the block ends."""
    script = "import sys; x = bytearray(50_000_000); del x; print('there', flush=True); sys.stdin.read()"
    core = Cores.of_this_machine().gateway
    command = [sys.executable, "-c", f"{script}; import signal; signal.pause()"]
    with running(command, core=core, log=tmp_path / "log") as started:
        while "there" not in started.said():
            started.check()
        tree = started.tree
        assert tree.peak_bytes() > tree.resident_bytes() + 40_000_000
        tree.forget_peak()
        assert tree.peak_bytes() < tree.resident_bytes() + 10_000_000
        assert tree.cpu_seconds() >= 0
    assert Tree(tree.root).resident_bytes() == 0


@LINUX
def test_an_early_end_is_told(tmp_path: Path) -> None:
    """A process that ends by itself is an error that holds what it said."""
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with running(command, core=Cores.of_this_machine().gateway, log=tmp_path / "log") as started:
        started.process.wait()
        with pytest.raises(DiedError, match="status 1; it said:\nno such thing"):
            started.check()
