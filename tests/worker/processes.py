"""Starts a host in a process of its own and waits for the line that says where it listens."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tests.waiting import HANGS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process that listens."""

    process: subprocess.Popen[bytes]
    said: str
    url: str
    stderr: BinaryIO

    def complained(self) -> str:
        """Return what the process has written to stderr so far."""
        self.stderr.seek(0)
        return self.stderr.read().decode()


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of this shell but what Python needs, and the project on its path."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **(env or {})}


@contextlib.contextmanager
def running(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run `python -m …` until the block ends."""
    with tempfile.TemporaryFile() as stderr:
        command = [sys.executable, "-m", *arguments]
        with subprocess.Popen(command, cwd=cwd, env=environment(env), stdout=subprocess.PIPE, stderr=stderr) as process:
            try:
                said = _until_ready(process)
                yield Running(process=process, said=said, url=_url(said, stderr), stderr=stderr)
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(HANGS_SECONDS)
                process.kill()


def _until_ready(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    said, deadline = b"", time.monotonic() + HANGS_SECONDS
    while b"http://" not in said or not said.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        if not readable or not (more := os.read(process.stdout.fileno(), 65536)):
            break
        said += more
    return said.decode()


def _url(said: str, stderr: BinaryIO) -> str:
    if not (found := re.search(r"http://[\d.]+:\d+", said)):
        stderr.seek(0)
        raise RuntimeError(f"the host did not start: {said}{stderr.read().decode()}")
    return found[0]
