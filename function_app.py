"""The Functions app: one HTTP trigger for every path, the queue triggers, and the error of a wrong start.

What the host routes by decides nothing here: every path and method goes to the route table (`core/routes.py`).
"""

from __future__ import annotations

import gc

gc.disable()  # until all is imported and built: what that makes stays, and looking at it takes 10 ms of a cold start

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import azure.functions as func

from adapters.bootstrap import compose, list_warnings
from adapters.functions.http import answer
from adapters.functions.web_extension import Request, Response  # noqa: TC001 -- the worker looks annotations up
from core.domain.settings_error import SettingsError
from core.routes import Router
from core.settings.settings import read_settings
from core.storage.tables import StoreUnavailable
from core.telemetry.call_log import write_to_the_console

if TYPE_CHECKING:
    from adapters.bootstrap import App

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""A method that no function takes is the host's own empty 404."""
FLUSH_SECONDS: Final = 2.0
"""How long the end of the process waits for the store."""
_log = logging.getLogger(__name__)


def use(built: App | None) -> None:
    """Answer with these services from now on; None: the settings are wrong."""
    global _built, _router  # noqa: PLW0603 -- the one state of a process
    _built = built
    _router = Router(None if built is None else built.services, openapi=Path(__file__).with_name("openapi.json"))


def _start() -> tuple[App | None, str]:
    """Build everything, or say what is wrong with the settings: an app that fails to import is no app at all."""
    try:
        settings = read_settings(os.environ)
        built = compose(settings)
    except SettingsError as error:
        _log.critical("The gateway is misconfigured. %s", error)
        return None, f"The gateway is misconfigured. {error}"
    for line in list_warnings(settings):
        _log.warning("%s", line)
    return built, ""


if os.environ.get("FUNCTIONS_WORKER_RUNTIME"):
    write_to_the_console()
_built: App | None
_router: Router
_started, startup_error = _start()
use(_started)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.function_name("http")
@app.route("{*path}", methods=METHODS)
async def http(req: Request) -> Response:
    """Answer every request over HTTP."""
    return await answer(req, _router, None if _built is None else _built.gateway.clock())


def _working() -> App:
    if _built is None:
        raise AssertionError("queues are listened to only where the settings are right")
    return _built


if _built is not None and _built.takes_messages:  # without storage a queue trigger would keep the host from starting
    from adapters.functions.queue_triggers import queue_functions

    app.register_functions(queue_functions(lambda: _working().job_runner, lambda: _working().queue_consumer()))


def end_calls() -> None:
    """End the calls in flight: whoever hosts this app says so when the process ends and they have had their time."""
    if _built is not None:
        _built.gateway.end_calls()


async def flush() -> None:
    """Keep what the calls came to: whoever hosts this app waits for it when the process ends and no call is left."""
    if _built is not None:
        await _built.gateway.flush(FLUSH_SECONDS)


async def check_start() -> str:
    """What is wrong with the settings that only the store can tell; empty: nothing, or that cannot be known now.

    For a host that can still refuse to start. In Azure it shows with the first call.
    """
    if _built is None:
        return startup_error
    try:
        clash = await _built.key_ring.find_clash()
    except StoreUnavailable as unavailable:
        _log.warning("The store cannot be reached at the start: %s", unavailable)
        return ""
    return "" if clash is None else f"The gateway is misconfigured. {clash}"


gc.enable()
gc.freeze()  # and need not be looked at later, either
