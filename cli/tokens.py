"""`token`: a JWT that the gateway takes."""

import datetime as dt
import getpass
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import options as given
from cli import screen
from cli.answers import when
from cli.minting import read_issuer

MOST_HOURS: Final = 24 * 366


class Role(StrEnum):
    """What a token's holder may do."""

    ADMIN = "admin"
    VIRTUAL_KEY = "virtual_key"


def mint(
    *,
    role: Annotated[
        Role,
        typer.Option(
            metavar="ROLE", help="admin: manages keys, and calls without limits. virtual_key: stands for a key."
        ),
    ],
    sub: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Whose it is, as the usage will say: your login if not given. With virtual_key the key's id.",
        ),
    ] = "",
    hours: Annotated[float, typer.Option(metavar="HOURS", help="How long it counts.")] = 1.0,
    deployments: given.Deployments = None,
) -> None:
    """Mint a token and print it, and nothing else.

    It is signed with the gateway's own GATEWAY_JWT_SECRET, for its GATEWAY_JWT_ISSUER and GATEWAY_JWT_AUDIENCE, from
    the environment or from local.settings.json in this directory. --deployments narrows what it may call. It cannot be
    taken back, so let it be short-lived.
    """
    if not 0 < hours <= MOST_HOURS:
        raise typer.BadParameter(f"give more than 0 and at most {MOST_HOURS}, a year", param_hint="--hours")
    if role is Role.VIRTUAL_KEY and not sub.strip():
        raise typer.BadParameter("with --role virtual_key, give the key's id", param_hint="--sub")
    now = dt.datetime.now(dt.UTC)
    ends = now + dt.timedelta(hours=hours)
    holder = sub.strip() or _login()
    claims: dict[str, Any] = {
        "sub": holder,
        "role": role.value,
        "iat": int(now.timestamp()),
        "exp": int(ends.timestamp()),
    }
    names = given.deployments_of(deployments)
    if names is not None:
        claims["deployments"] = names
    token = read_issuer(os.environ, Path.cwd()).sign(claims)
    sys.stdout.write(f"{token}\n")
    if sys.stderr.isatty():
        screen.note(f"A token of the role {role.value} for {holder}, until {when(ends)}.")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name; KeyError up to Python 3.12
        return "admin"
