"""`token`: create a JWT that the gateway accepts, signed with the secret that the gateway has in its settings."""

import datetime as dt
import getpass
import json
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import options as opt
from cli import output
from cli.errors import CommandError
from cli.output import format_time
from cli.settings import read_text

MAX_HOURS: Final = 24 * 366
SECRET: Final = "GATEWAY_JWT_SECRET"  # noqa: S105 -- the name of a setting
MIN_SECRET_BYTES: Final = 32
"""RFC 7518 §3.2; the gateway asks for as many."""
LOCAL_SETTINGS: Final = "local.settings.json"


class Role(StrEnum):
    """What the holder of a token may do."""

    ADMIN = "admin"
    VIRTUAL_KEY = "virtual_key"


def token(
    *,
    role: Annotated[
        Role,
        typer.Option(
            metavar="ROLE",
            help="admin: may manage keys, and call every deployment without limits. virtual_key: acts for a key.",
        ),
    ],
    sub: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The holder, as reports will show it. Default: your login. With virtual_key: the key's id.",
        ),
    ] = "",
    hours: Annotated[float, typer.Option(metavar="HOURS", help="How long it is valid.")] = 1.0,
    deployments: opt.Deployments = None,
) -> None:
    """Create a token and print it, and nothing else.

    It is signed with the gateway's GATEWAY_JWT_SECRET for its GATEWAY_JWT_ISSUER and GATEWAY_JWT_AUDIENCE, which are
    read from the environment or from local.settings.json in this directory. It cannot be revoked, so keep its time
    short. --deployments limits what it may call.
    """
    if not 0 < hours <= MAX_HOURS:
        raise typer.BadParameter(f"give more than 0 and at most {MAX_HOURS}, a year", param_hint="--hours")
    if role is Role.VIRTUAL_KEY and not sub.strip():
        raise typer.BadParameter("with --role virtual_key, give the key's id", param_hint="--sub")
    names = opt.parse_names(deployments)
    now = dt.datetime.now(dt.UTC)
    expires = now + dt.timedelta(hours=hours)
    holder = sub.strip() or _login()
    claims = {
        "sub": holder,
        "role": role.value,
        "iat": int(now.timestamp()),
        "exp": int(expires.timestamp()),
        **({} if names is None else {"deployments": names}),
    }
    sys.stdout.write(f"{sign(claims, os.environ, Path.cwd())}\n")
    if sys.stderr.isatty():
        output.note(f"A token with the role {role.value} for {holder}, valid until {format_time(expires)}.")


def sign(claims: Mapping[str, Any], variables: Mapping[str, str], directory: Path) -> str:
    """Sign claims with the settings of the environment, else of local.settings.json (HS256, RFC 7519).

    Raises CommandError, which never shows the secret.
    """
    import jwt  # noqa: PLC0415 -- a fifth of the start of every command, which most do not need

    settings = {**_read_local_settings(directory / LOCAL_SETTINGS), **variables}
    secret = read_text(settings, SECRET)
    if secret is None:
        for name in ("GATEWAY_JWT_PUBLIC_KEY", "GATEWAY_JWT_JWKS_URL"):
            if read_text(settings, name) is not None:
                raise CommandError(
                    f"This gateway checks tokens with {name}, so they cannot be created here.",
                    "Ask your identity provider, which has the private key, for a token with the claim role: admin.",
                )
    secret = _require(settings, SECRET)
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise CommandError(f"{SECRET} is too short.", f"It has at least {MIN_SECRET_BYTES} bytes, as in the gateway.")
    issuer, audience = _require(settings, "GATEWAY_JWT_ISSUER"), _require(settings, "GATEWAY_JWT_AUDIENCE")
    return jwt.encode({"iss": issuer, "aud": audience, **claims}, secret, algorithm="HS256")


def _require(settings: Mapping[str, str], name: str) -> str:
    value = read_text(settings, name)
    if value is None:
        raise CommandError(f"{name} is not set.", f"Set it to the gateway's value, here or in {LOCAL_SETTINGS}.")
    return value


def _read_local_settings(path: Path) -> dict[str, str]:
    """Read the file that `func start` and `make serve` read too; it may be absent."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CommandError(f"{path.name} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise CommandError(f"{path.name} is not JSON.") from None
    values = content.get("Values") if isinstance(content, dict) else None
    if not isinstance(values, dict):
        raise CommandError(f"{path.name} has no object Values.")
    if content.get("IsEncrypted") is True:
        raise CommandError(f"{path.name} is encrypted.", "Decrypt it (func settings decrypt), or set the environment.")
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the user of a container may have no name; KeyError up to Python 3.12
        return "admin"
