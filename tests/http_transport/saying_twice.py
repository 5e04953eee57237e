"""A server that says every answer, and some microseconds later, unasked, another one. Its first line is its URL."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress


def serve(line: socket.socket, gap: float) -> None:
    """Answer each request with its path."""
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), line, line.makefile("rb") as lines:
        while first := lines.readline():
            while lines.readline().strip():
                pass
            lines.read(9)
            path = first.split()[1]
            line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))
            end = time.perf_counter() + gap
            while time.perf_counter() < end:
                pass
            line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nWRONG")


def main() -> None:
    """Serve until somebody ends it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            line, _ = server.accept()
            threading.Thread(target=serve, args=(line, int(sys.argv[1]) / 1_000_000), daemon=True).start()


if __name__ == "__main__":
    main()
