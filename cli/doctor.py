"""`doctor`: check the address, the connection, the gateway's health and version, the clock and the credentials."""

import datetime as dt
import math
import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import httpx2
import typer

from cli import __version__, output
from cli import options as opt
from cli.client import KEYS_PATH, GatewayClient
from cli.errors import CommandError, error_from_response
from cli.output import Column, format_time
from cli.settings import KEY, TOKEN, Settings, read_settings, read_text, read_url

MAX_CLOCK_DIFFERENCE_SECONDS: Final = 30
"""The gateway accepts tokens whose times are wrong by up to 60 seconds."""
NOT_CHECKED: Final = "Not checked, because the gateway does not report it: storage, Azure deployments and roles."


STYLES: Final = {"ok": "green", "failed": "bold red", "skipped": "dim"}


class Check(NamedTuple):
    """One check, its result (`ok`, `failed` or `skipped`), and what to do if it has failed."""

    name: str
    result: str
    detail: str
    hint: str = ""


def doctor(*, as_json: opt.AsJson = False) -> None:
    """Check the connection, the gateway, the clock and the credentials.

    Ends with status 1 if a check has failed. It costs nothing: no image is generated.
    """
    checks = list(_checks())
    if as_json:
        output.show_json([check._asdict() for check in checks])
    else:
        columns = (Column("Check", wraps=False), Column("Result", wraps=False, styles=STYLES), Column("Details"))
        output.show_table(columns, [dict(zip(("Check", "Result", "Details"), check, strict=False)) for check in checks])
        output.note(*(line for check in checks for line in check.hint.splitlines()), NOT_CHECKED)
    if any(check.result == "failed" for check in checks):
        raise typer.Exit(1)


def _checks() -> Iterator[Check]:
    try:
        with GatewayClient(Settings(read_url(os.environ), "")) as client:
            started = time.monotonic()
            health = client.send("GET", "/health")
            milliseconds = (time.monotonic() - started) * 1000
            yield Check("Address", "ok", f"{client.settings.url} answers in {milliseconds:.0f} ms")
            yield _health(health, client.settings)
            yield _clock(health, dt.datetime.now(dt.UTC))
            yield _version(client.get("/openapi.json"))
    except CommandError as error:
        yield Check("Address", "failed", error.problem, error.hint)
        return
    yield _credential("Key", KEY, "/jobs/doctor", admin=False)
    yield _credential("Admin token", TOKEN, f"{KEYS_PATH}?limit=1", admin=True)


def _health(response: httpx2.Response, settings: Settings) -> Check:
    try:
        status = response.json()["status"]
    except (ValueError, KeyError, TypeError):
        error = error_from_response(response, settings)
        return Check("Health", "failed", error.problem, error.hint)
    if status == "ok":
        return Check("Health", "ok", "the gateway's settings are valid")
    hint = "The first lines of its log name the setting that is wrong."
    return Check("Health", "failed", f"the gateway says {output.printable(str(status))}", hint)


def _clock(response: httpx2.Response, now: dt.datetime) -> Check:
    """Compare this machine's clock with the response's Date header, which has whole seconds."""
    try:
        difference = abs((now - parsedate_to_datetime(response.headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return Check("Clock", "skipped", "the response has no valid Date header")
    if difference <= MAX_CLOCK_DIFFERENCE_SECONDS:
        return Check("Clock", "ok", f"within {math.ceil(difference)} s of the gateway's")
    hint = "Set this machine's clock: the gateway may reject tokens that are created here."
    return Check("Clock", "failed", f"differs from the gateway's by {difference:.0f} s", hint)


def _version(description: dict[str, Any]) -> Check:
    info = description.get("info")
    version = output.printable(str(info.get("version"))) if isinstance(info, dict) else "not known"
    if version == __version__:
        return Check("Version", "ok", f"{version}, like this command line")
    hint = "Use the command line of the gateway's version: commands may not fit its API."
    return Check("Version", "failed", f"the gateway has {version}, this command line {__version__}", hint)


def _credential(name: str, variable: str, path: str, *, admin: bool) -> Check:
    """Ask for something that is free: a job that does not exist, or the list of keys."""
    if read_text(os.environ, variable) is None:
        return Check(name, "skipped", f"{variable} is not set")
    try:
        settings = read_settings(os.environ, admin=admin)
        with GatewayClient(settings) as client:
            response = client.send("GET", path)
        is_accepted = response.is_success or (response.status_code == 404 and not admin)
        if not is_accepted:
            raise error_from_response(response, settings)
    except CommandError as error:
        return Check(name, "failed", error.problem, error.hint)
    return Check(name, "ok", f"{variable} is accepted{_expiry(settings.credential)}")


def _expiry(credential: str) -> str:
    """Say until when a JWT is valid; nothing for a key."""
    import jwt  # noqa: PLC0415 -- a fifth of the start of every command, which most do not need

    try:
        expires = jwt.decode(credential, options={"verify_signature": False})["exp"]
        return f", valid until {format_time(dt.datetime.fromtimestamp(expires, dt.UTC))}"
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError):
        return ""
