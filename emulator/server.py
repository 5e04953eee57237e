"""Serves the emulator, for a test or for a person, with a protocol that lets it break connections."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from emulator.app import create_app
from emulator.calls import Calls
from emulator.exchange import Connection
from emulator.loopback import serving

_numbers = count(1)


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, which also puts the connection into the state of every request's scope."""

    def connection_made(self, transport: Any) -> None:
        """Give the connection a number and keep its transport."""
        self.app_state = {**self.app_state, "connection": Connection(next(_numbers), transport)}
        super().connection_made(transport)


@dataclass(frozen=True)
class Running:
    """A running emulator."""

    url: str
    """Its base URL, as an Azure OpenAI endpoint is written: without a slash at its end."""
    calls: Calls
    app: Starlette


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Running]:
    """Run an emulator in the current event loop on a free port; the options are those of `create_app`."""
    app = create_app(**options)
    async with serving(app, http=Protocol) as url:
        yield Running(url, app.state.calls, app)


class Server(uvicorn.Server):
    """A server for a person: it prints one line when it is ready, and stops at once on a signal."""

    async def startup(self, *args: Any, **kwargs: Any) -> None:
        """Start, then print the URL."""
        await super().startup(*args, **kwargs)
        port = self.servers[0].sockets[0].getsockname()[1]
        url = f"http://{self.config.host}:{port}"
        print(f"Azure OpenAI emulator on {url} (GET / says how to call it, and lists its faults)", flush=True)

    async def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """Stop, without waiting for connections that hang."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(*args, **kwargs)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM; uvicorn's own server also ends with the signal as its status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield


def run(app: Starlette, host: str, port: int) -> None:
    """Run the emulator until SIGINT or SIGTERM."""
    config = uvicorn.Config(app, host=host, port=port, http=Protocol, ws="none", log_level="warning")
    Server(config).run()
