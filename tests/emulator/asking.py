"""Asking the emulator as a client of Azure would."""

from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from emulator.server import Running

VERSION = "2025-04-01-preview"
PROMPT = "A lighthouse at dusk"


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    data: Any


@dataclass(frozen=True)
class Azure:
    """A running emulator, and a client of it."""

    emulator: Running
    client: httpx2.AsyncClient

    @property
    def calls(self):
        return self.emulator.calls

    async def draw(self, deployment="gpt-image-1", *, version=VERSION, headers=None, **body):
        """Ask for a picture on the deployment path."""
        path = f"/openai/deployments/{deployment}/images/generations"
        query = {"api-version": version} if version else {}
        return await self.client.post(path, params=query, headers=headers, json={"prompt": PROMPT, **body})

    async def fault(self, fault, **body):
        """Ask for a picture from a deployment that has a fault."""
        return await self.draw(f"fault-{fault}", **body)

    def opened(self, fault, **body):
        """Ask the same, and read the answer by and by."""
        path = f"/openai/deployments/fault-{fault}/images/generations?api-version={VERSION}"
        return self.client.stream("POST", path, json={"prompt": PROMPT, **body})


async def arrived(response: httpx2.Response) -> tuple[bytes, Exception | None]:
    """Read all that comes of an opened answer; give it, and what went wrong."""
    received = bytearray()
    try:
        async for piece in response.aiter_raw():
            received += piece
    except httpx2.TransportError as problem:
        return bytes(received), problem
    return bytes(received), None


def events(response: httpx2.Response) -> list[Event]:
    """Read a stream whose lines end with LF, as WHATWG HTML 9.2.6 says."""
    found = []
    for block in response.text.split("\n\n"):
        fields = [line.partition(": ") for line in block.split("\n") if line and not line.startswith(":")]
        values = {name: value for name, _, value in fields}
        if "data" in values:
            found.append(Event(values.get("event", "message"), orjson.loads(values["data"])))
    return found


def error(response: httpx2.Response) -> dict[str, Any]:
    """Give the error that Azure wraps in `error`."""
    return response.json()["error"]
