"""The command line for a running gateway. It uses the gateway's HTTP API and imports nothing of the gateway's code."""

from typing import Final

__version__: Final = "0.1.0"
