"""`make mutants`: change one comparison or one and/or of the gateway at a time, and see whether a test notices.

It draws a sample of such changes (mutants) with a fixed seed. For each it runs only the tests that reach the changed
line, and stops at the first that fails: the mutant is killed. Which tests reach which line is recorded once for a state
of the code (coverage's contexts), in .cache/mutants.

It is a tool of our own because mutmut chooses tests by function and draws no sample, and cosmic-ray runs the same tests
for every mutant.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from coverage import CoverageData

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROJECT: Final = Path(__file__).parents[1]
CODE: Final = ("core", "adapters")
NOT_RECORDED: Final = ("bench", "chaos", "cli", "clients", "cold_start", "emulator", "localhost", "worker")
"""Folders of tests that are about other programs, or run the gateway in other processes."""
OVER_HTTP: Final = ("tests/http/", "tests/faults/")
SWAPS: Final[dict[type[ast.AST], tuple[str, str]]] = {
    ast.And: (r"\band\b", "or"),
    ast.Or: (r"\bor\b", "and"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: (r"\bis\b", "is not"),
    ast.IsNot: (r"\bis\s+not\b", "is"),
    ast.In: (r"\bin\b", "not in"),
    ast.NotIn: (r"\bnot\s+in\b", "in"),
}
"""How an operator is found in the source, and what stands there instead."""
ENV: Final = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "COLUMNS": "1000"}
PYTEST: Final = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of an operator."""

    file: str
    lines: range
    """Of the expression up to the operator, from 1."""
    start: int
    """Of the operator in the file, in bytes."""
    end: int
    becomes: str

    def __str__(self) -> str:
        """Say where it is, and what it changes."""
        source = (PROJECT / self.file).read_bytes()
        line = source[source.rfind(b"\n", 0, self.start) + 1 : source.find(b"\n", self.start)].decode().strip()
        return f"{self.file}:{self.lines[-1]}  {source[self.start : self.end].decode()} → {self.becomes}  | {line}"


def find_mutants(file: str, source: bytes) -> Iterator[Mutant]:
    """Find every comparison and every and/or of a file."""
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.BoolOp(op=op, values=values):
                joints = [(op, left, right) for left, right in pairwise(values)]
            case ast.Compare(left=first, ops=ops, comparators=others):
                joints = list(zip(ops, [first, *others], others, strict=False))
            case _:
                continue
        for operator, left, right in joints:
            begin = lines[left.end_lineno - 1] + left.end_col_offset
            between = source[begin : lines[right.lineno - 1] + right.col_offset].decode()
            pattern, becomes = SWAPS[type(operator)]
            found = re.search(pattern, re.sub(r"#[^\n]*", lambda comment: " " * len(comment[0].encode()), between))
            if found is None:
                raise ValueError(f"{file}: no {pattern} in {between!r}")
            start = begin + found.start()
            reached = range(node.lineno, source.count(b"\n", 0, start) + 2)
            yield Mutant(file=file, lines=reached, start=start, end=start + len(found[0]), becomes=becomes)


class Record:
    """Which tests reach which lines."""

    def __init__(self, folder: Path) -> None:
        self._data = CoverageData(str(folder / "coverage"))
        self._data.read()
        said = (folder / "said.txt").read_text()
        self._failed = {name.partition(" - ")[0] for name in re.findall(r"^(?:FAILED|ERROR) (.+)$", said, re.MULTILINE)}

    def tests_of(self, mutant: Mutant) -> list[list[str]]:
        """Give the tests that reach a mutant: those of its folder, then other unit tests, then those over HTTP."""
        by_line = self._data.contexts_by_lineno(str(PROJECT / mutant.file))
        contexts = {context for line in mutant.lines for context in by_line.get(line, ()) if context}
        own = f"tests/{Path(mutant.file).parent.name}/"
        groups: list[list[str]] = [[], [], []]
        for test in sorted({context.rpartition("|")[0] for context in contexts} - self._failed):
            groups[0 if test.startswith(own) else 2 if test.startswith(OVER_HTTP) else 1].append(test)
        return [group for group in groups if group]


def record(processes: int) -> Record:
    """Run the tests and record which reach which lines, unless that is known of this state of the code."""
    state = hashlib.sha256()
    for path in sorted(path for tree in (*CODE, "tests") for path in (PROJECT / tree).rglob("*.py")):
        state.update(str(path.relative_to(PROJECT)).encode() + path.read_bytes())
    folder = PROJECT / ".cache" / "mutants" / state.hexdigest()[:16]
    if not (folder / "said.txt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        print("Recording which tests reach which lines ...", flush=True)
        code = [f"--cov={name}" for name in CODE if (PROJECT / name).exists()]
        ignored = [f"--ignore=tests/{name}" for name in NOT_RECORDED]
        how = ("--cov-context=test", "--cov-report=", "-n", str(processes), "--dist=worksteal")
        env = {**ENV, "COVERAGE_FILE": str(folder / "coverage")}
        command = [*PYTEST, *code, *ignored, *how]
        done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
        if done.returncode > 1:
            sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
        (folder / "said.txt").write_text(done.stdout)
    return Record(folder)


def judge(mutant: Mutant, tree: Path, known: Record) -> tuple[bool, str]:
    """Say whether a mutant, made in a copy of the project, is killed, and by what."""
    path = tree / mutant.file
    source = path.read_bytes()
    path.write_bytes(source[: mutant.start] + mutant.becomes.encode() + source[mutant.end :])
    groups = known.tests_of(mutant)
    try:
        for tests in groups:
            while failed := _first_failure(tests, tree):
                if failed not in tests or _first_failure([failed], tree):
                    return True, failed
                tests.remove(failed)  # it failed by chance: it does not do so again
    finally:
        path.write_bytes(source)
    return False, f"{sum(map(len, groups))} tests pass" if groups else "no test reaches it"


def _first_failure(tests: Sequence[str], tree: Path) -> str | None:
    """Run tests and name the first that fails, or say what else went wrong; None: all pass."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.write("\n".join(tests))
        names.flush()
        command = [*PYTEST, "-x", "--hypothesis-seed=0", "--tb=no", f"@{names.name}"]
        process = subprocess.Popen(
            command, cwd=tree, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            said, _ = process.communicate(timeout=90 + len(tests) / 4)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that it ends what it has started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()
            return "a test that hangs"
    if process.returncode == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError(said[-2000:])
    if not process.returncode:
        return None
    found = re.search(r"^(?:FAILED|ERROR) (.+)$", said, re.MULTILINE)
    failed = found[1] if found else said[-200:]
    return max((test for test in tests if failed.startswith(test)), key=len, default=failed)


def main() -> None:
    """Draw a sample, judge it, and print what survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=200, help="how many mutants (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default 1)")
    parser.add_argument("--minutes", type=float, default=60, help="begin no other mutant after so long (default 60)")
    parser.add_argument("--processes", type=int, default=2, help="at a time (default 2)")
    parser.add_argument("--of", default="", help="only of files whose path matches this regular expression")
    parser.add_argument("--verbose", action="store_true", help="say what killed each")
    options = parser.parse_args()
    files = sorted(str(path.relative_to(PROJECT)) for name in CODE for path in (PROJECT / name).rglob("*.py"))
    mutants = [each for file in files for each in find_mutants(file, (PROJECT / file).read_bytes())]
    mutants = [each for each in mutants if re.search(options.of, each.file)]
    chosen = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))  # noqa: S311 -- no secret
    known = record(options.processes)
    ends_at = time.monotonic() + 60 * options.minutes
    trees: queue.Queue[Path] = queue.Queue()

    def judged(mutant: Mutant) -> bool | None:
        if time.monotonic() > ends_at:
            return None
        tree = trees.get()
        try:
            killed, by = judge(mutant, tree, known)
        finally:
            trees.put(tree)
        if options.verbose or not killed:
            print(f"{'killed  ' if killed else 'SURVIVES'}  {mutant}  [{by}]", flush=True)
        return killed

    with tempfile.TemporaryDirectory() as copies, ThreadPoolExecutor(options.processes) as pool:
        for number in range(options.processes):
            tree = Path(copies) / str(number)
            shutil.copytree(PROJECT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules", "dist"))
            (tree / ".cache").symlink_to((PROJECT / ".cache").resolve())
            trees.put(tree)
        results = [killed for killed in pool.map(judged, chosen) if killed is not None]
    print(f"{sum(results)} of {len(results)} mutants are killed ({sum(results) / max(1, len(results)):.0%})")
    print(f"{len(mutants)} in all, seed {options.seed}")


if __name__ == "__main__":
    main()
