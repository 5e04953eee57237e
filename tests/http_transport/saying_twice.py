"""A server that says every answer, and some microseconds later, unasked, another one. Its first line is its URL.

The others are the answers whose second one came later than it may: a machine that is busy stops a process for longer.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress


def serve(line: socket.socket, gap: float, longest: float) -> None:
    """Answer each request with its path."""
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), line, line.makefile("rb") as lines:
        while first := lines.readline():
            while lines.readline().strip():
                pass
            path = first.split()[1]
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path)
            began_at = time.perf_counter()
            line.sendall(answer)
            said_at = time.perf_counter()
            while time.perf_counter() < said_at + gap:
                pass
            line.sendall(answer)
            if time.perf_counter() > began_at + longest:
                sys.stdout.write(f"{path.decode()}\n")
                sys.stdout.flush()


def main() -> None:
    """Serve until somebody ends it. The arguments are the gap and the longest that is allowed, in microseconds."""
    gap, longest = (int(text) / 1_000_000 for text in sys.argv[1:])
    with socket.create_server(("127.0.0.1", 0)) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            line, _ = server.accept()
            threading.Thread(target=serve, args=(line, gap, longest), daemon=True).start()


if __name__ == "__main__":
    main()
