"""Serves an ASGI application on loopback with uvicorn, in the caller's own event loop.

uvicorn's `Server.serve` installs signal handlers and sleeps in its main loop, which a test does not want. This
starts and stops the same server directly, and does not wait for connections that hang.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

_STOP_SECONDS = 1.0
_QUIET = {"log_config": None, "access_log": False, "ws": "none", "lifespan": "auto"}


@asynccontextmanager
async def serving(app: ASGIApp, **uvicorn_options: Any) -> AsyncIterator[str]:
    """Serve an application on a free port of 127.0.0.1; yield its base URL, without a slash at its end."""
    config = uvicorn.Config(app, **{**_QUIET, **uvicorn_options})
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # With proto 0, as `socket.create_server` makes it, asyncio would not set TCP_NODELAY on what is accepted.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    await server.startup(sockets=[listener])
    await server.on_tick(0)  # sets the headers that every answer has
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await _stop(server)


async def _stop(server: uvicorn.Server) -> None:
    for listening in server.servers:
        listening.close()
    while server.server_state.connections:  # each goes in the loop's next round
        for connection in tuple(server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
    tasks = tuple(server.server_state.tasks)
    if tasks:
        _, hanging = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    await server.lifespan.shutdown()
