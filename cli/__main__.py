"""`python -m cli`."""

import sys
from io import TextIOWrapper

from cli.app import app


def main() -> None:
    """Run a command. Characters that the terminal's encoding lacks are replaced."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(prog_name="python -m cli")


if __name__ == "__main__":
    main()
