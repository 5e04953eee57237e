"""Azurite, Microsoft's emulator of Azure Storage (npm), in a process of its own with all it keeps in memory.

`make` installs it into `.cache/azurite` where there is npm.
"""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSTALLED: Final = Path(__file__).parent.parent / ".cache" / "azurite" / "node_modules" / ".bin" / "azurite"
READY_SECONDS: Final = 30.0
SECONDS_TO_END: Final = 10.0

_ACCOUNT: Final = "devstoreaccount1"
_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, and no secret (Azure Storage docs, "well-known storage account and key")."""
_SERVICES: Final = ("Blob", "Queue", "Table")
WELL_KNOWN: Final = (
    f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
    f"BlobEndpoint=http://127.0.0.1:10000/{_ACCOUNT};"
    f"QueueEndpoint=http://127.0.0.1:10001/{_ACCOUNT};"
    f"TableEndpoint=http://127.0.0.1:10002/{_ACCOUNT}"
)
"""What `UseDevelopmentStorage=true` stands for: Azurite on the ports that it takes if nobody says otherwise."""
_LISTENS: Final = re.compile(r"Azurite (\w+) service is successfully listening at (http://\S+)")
_OPTIONS: Final = (
    "--inMemoryPersistence",
    "--silent",
    "--disableTelemetry",
    "--skipApiVersionCheck",  # the SDKs are often newer than it
    *(f"--{service.lower()}{option}" for service in _SERVICES for option in ("Host=127.0.0.1", "Port=0")),
)


@dataclass(frozen=True, kw_only=True)
class Azurite:
    """A running Azurite."""

    process: subprocess.Popen[str]
    connection_string: str
    """As `AzureWebJobsStorage` takes it."""

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def start(executable: Path = INSTALLED) -> Azurite:
    """Start Azurite on free ports of 127.0.0.1 and wait until it listens. Raises OSError where it is not installed."""
    process = subprocess.Popen(  # noqa: S603 -- what make has installed
        [str(executable), *_OPTIONS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for whoever started it, and may still want to write something down
    )
    too_long = threading.Timer(READY_SECONDS, process.kill)
    too_long.start()
    try:
        endpoints = _endpoints(process)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    finally:
        too_long.cancel()
    addresses = ";".join(f"{service}Endpoint={url}/{_ACCOUNT}" for service, url in endpoints.items())
    return Azurite(
        process=process,
        connection_string=f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};{addresses}",
    )


def _endpoints(process: subprocess.Popen[str]) -> dict[str, str]:
    said, found = [], dict[str, str]()
    for line in process.stdout or ():
        said.append(line)
        if listens := _LISTENS.search(line):
            found[listens[1]] = listens[2]
        if len(found) == len(_SERVICES):
            return found
    raise RuntimeError(f"Azurite did not start: {''.join(said).strip() or 'it said nothing'}")
