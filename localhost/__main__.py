"""`python -m localhost [--port 7071] [--host 127.0.0.1]`, in the directory of a Functions app."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localhost.host import Host, Server, load
from localhost.queue_options import QueueOptions
from localhost.queue_triggers import QueueFunction, connection_string
from localhost.settings import StartError, apply_local_settings, read_json, route_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localhost.functions import Function
    from localhost.queues import Queues


def bound(host: str, port: int) -> socket.socket:
    """Take the port without listening yet: callers are refused until the app is there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay (40 ms for a short answer) off only where the protocol is given by name.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere it would let others in, too
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def serve(host: str, port: int) -> None:
    """Serve the app of the current directory until told to end. Raises StartError."""
    directory = Path.cwd()
    listener = bound(host, port)
    apply_local_settings(directory)
    module = load(directory)
    app = Host(module.app, route_prefix(directory), os.environ)
    polled = _polled(app.others)

    def announce() -> None:
        address = f"[{host}]" if ":" in host else host
        number = listener.getsockname()[1]
        print(f"Functions host on http://{address}:{number} ({len(app) + len(polled)} functions)", flush=True)

    own = {name: getattr(module, name, None) for name in ("end_calls", "check_start", "flush")}
    Server(app, announce, **own, queues=_queues(polled, directory)).run(sockets=[listener])


def _polled(functions: Iterable[Function]) -> list[tuple[QueueFunction, str]]:
    """Those that a queue starts, each with its connection string; the others are named. Raises StartError."""
    polled: list[tuple[QueueFunction, str]] = []
    for function in functions:
        queued = QueueFunction.of(function)
        if queued is None:
            _say(f"Not served here, as its trigger is neither HTTP nor a queue: {function.name}")
        elif (where := connection_string(queued, os.environ)) is None:
            _say(
                f"Not served here, as {queued.connection}__… is for an identity, which this machine does not have: "
                f"{queued.name} (set {queued.connection} to a connection string, such as UseDevelopmentStorage=true)"
            )
        else:
            polled.append((queued, where))
    return polled


def _queues(polled: list[tuple[QueueFunction, str]], directory: Path) -> Queues | None:
    if not polled:
        return None
    from localhost.queues import Queues  # noqa: PLC0415 -- Azure's library takes a quarter of a second

    return Queues.of(polled, QueueOptions.read(read_json(directory / "host.json")))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="localhost", description="Serves the Functions app in this directory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7071, choices=range(65536), metavar="PORT")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        serve(options.host, options.port)
    except StartError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
