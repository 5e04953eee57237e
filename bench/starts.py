"""Starts of Microsoft's worker, each in a process of its own (bench.cold_start), and an upstream for their first call.

What is measured, for the bench, the package and the tests:

* *worker import*: the CPU time (user and system) of a fresh process under Microsoft's worker library, less that of an
  empty interpreter, from its first line until it has imported the library and the app, has checked the settings and
  indexed the functions, and the server that the worker starts for the app answers. Byte code is there.
* *first answer*: the CPU time of the same process from there until a call with a virtual key has its JSON answer from
  an upstream on loopback. Upstream is plain http; with https a TLS context is added, about 10 ms.
* *floor*: the worker import of `smallest_app`, which no app can do without.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
SMALLEST_APP: Final = ROOT / "bench" / "smallest_app"
START_SECONDS: Final = 60.0
KEY: Final = "sk-bf-the-key-of-the-first-caller"
NO_UPSTREAM: Final = "http://127.0.0.1:1"
"""For starts without a call."""

_BODY: Final = b'{"model": "gpt-image-1", "prompt": "A lighthouse at dawn"}'
_REQUEST: Final = (
    b"POST /openai/openai/deployments/gpt-image-1/images/generations HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    b"authorization: Bearer %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
) % (KEY.encode(), len(_BODY), _BODY)


class StartFailed(Exception):
    """The worker did not start with this app, or gave no answer; the message is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a process had used and imported up to a moment."""

    cpu_ms: float
    modules: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start."""

    functions: tuple[str, ...]
    """The names that the worker found, sorted."""
    listening: Moment
    answered: Moment | None
    """None where nothing was asked."""
    said: str
    """What the process wrote to stderr."""


def find_worker_library() -> Path:
    """Where Microsoft's worker library is installed. Raises StartFailed where it is not."""
    found = importlib.util.find_spec("azure_functions_runtime")
    if found is None or found.origin is None:
        raise StartFailed(
            "azure-functions-runtime is not installed: Microsoft's worker is a library from Python 3.13 on"
        )
    return Path(found.origin).parent


def make_settings(upstream: str) -> dict[str, str]:
    """The app's settings: one resource, one virtual key."""
    record = {"id": "first", "key_sha256": hashlib.sha256(KEY.encode()).hexdigest(), "deployments": ["*"]}
    return {
        "AZURE_OPENAI_ENDPOINT": upstream,
        "AZURE_OPENAI_API_KEY": "emulator-key",
        "GATEWAY_VIRTUAL_KEYS": json.dumps([record]),
    }


def start(
    app: Path,
    *,
    upstream: str | None = None,
    options: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Start:
    """Start the worker with an app and, given an upstream, have its first call answered. Raises StartFailed.

    `options` are the interpreter's; `variables` are added to an environment that is otherwise empty.
    """
    find_worker_library()
    with tempfile.TemporaryDirectory() as directory:
        request = Path(directory) / "request"
        request.write_bytes(_REQUEST)
        asked = [] if upstream is None else [str(request)]
        process = subprocess.run(
            [sys.executable, *options, "-P", str(ROOT / "bench" / "cold_start.py"), str(app), *asked],
            env={**_make_environment(), **make_settings(upstream or NO_UPSTREAM), **(variables or {})},
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    if process.returncode != 0:
        raise StartFailed(process.stderr)
    report = json.loads(process.stdout)
    if upstream is not None and " 200 " not in report["answer"]:
        raise StartFailed(f"The first answer is {report['answer']}\n{process.stderr}")
    return Start(
        functions=tuple(report["functions"]),
        listening=_read_moment(report["listening"]),
        answered=_read_moment(report["answered"]) if "answered" in report else None,
        said=process.stderr,
    )


def _make_environment() -> dict[str, str]:
    """Nothing of this shell but what Python needs, so that byte code is written and no setting is inherited."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    return {**kept, "FUNCTIONS_WORKER_RUNTIME": "python"}


def _read_moment(report: Mapping[str, Any]) -> Moment:
    return Moment(cpu_ms=report["cpu_ms"], modules=frozenset(report["modules"]) - {"__main__"})


@contextlib.contextmanager
def run_emulator() -> Iterator[str]:
    """Run the emulator without its delay until the block ends; give its URL."""
    command = [sys.executable, "-m", "emulator", "--port", "0", "--delay", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise AssertionError("stdout was asked for as a pipe")
        try:
            yield next(word for word in process.stdout.readline().split() if word.startswith("http://"))
        finally:
            process.terminate()
