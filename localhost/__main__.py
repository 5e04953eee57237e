"""`python -m localhost [--port 7071] [--host 127.0.0.1]`, in the directory of a Functions app."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from localhost.host import Host, Server, StartError, apply_local_settings, load, route_prefix


def bound(host: str, port: int) -> socket.socket:
    """Take the port without listening yet: callers are refused until the app is there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay (40 ms for a short answer) off only where the protocol is given by name.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def serve(host: str, port: int) -> None:
    directory = Path.cwd()
    listener = bound(host, port)
    apply_local_settings(directory)
    module = load(directory)
    app = Host(module.app, route_prefix(directory), os.environ)
    for name in app.not_served:
        print(f"Not served here, as its trigger is not HTTP: {name}", file=sys.stderr, flush=True)

    def announce() -> None:
        address = f"[{host}]" if ":" in host else host
        number = listener.getsockname()[1]
        print(f"Functions host on http://{address}:{number} ({len(app)} functions)", flush=True)

    own = {name: getattr(module, name, None) for name in ("end_calls", "check_start", "flush")}
    Server(app, announce, **own).run(sockets=[listener])


def main() -> int:
    parser = argparse.ArgumentParser(prog="localhost", description="Serves the Functions app in this directory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7071, choices=range(65536), metavar="PORT")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        serve(options.host, options.port)
    except StartError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
