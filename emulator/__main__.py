"""`python -m emulator` serves the emulator."""

import argparse

from emulator.app import create_app
from emulator.home_page import list_faults
from emulator.server import run


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m emulator", description="An Azure OpenAI image service.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7072)
    parser.add_argument("--api-key", default="emulator-key")
    parser.add_argument("--delay", type=float, default=2.0, help="seconds that a picture takes (default: %(default)s)")
    parser.add_argument("--faults", action="store_true", help="list all faults, and end")
    options = parser.parse_args()
    if options.faults:
        print(list_faults())
        return
    run(create_app(api_key=options.api_key, delay_seconds=options.delay), options.host, options.port)


if __name__ == "__main__":
    main()
