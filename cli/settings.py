"""Where the gateway is and which credential to send: `GATEWAY_URL`, `GATEWAY_ADMIN_TOKEN` and `GATEWAY_KEY`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cli.errors import CommandError
from cli.output import token_command

if TYPE_CHECKING:
    from collections.abc import Mapping

URL: Final = "GATEWAY_URL"
TOKEN: Final = "GATEWAY_ADMIN_TOKEN"  # noqa: S105 -- the name of a variable
KEY: Final = "GATEWAY_KEY"
DEFAULT_URL: Final = "http://127.0.0.1:7071"

_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")
"""What may stand in a header. An HTTP library would repeat any other value in its error."""
_URL: Final = re.compile(r"[!$-\[\]-~]+")
"""Visible ASCII without quotes, fragments and backslashes."""
_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """The gateway's address, without a slash at its end, and the credential to send."""

    url: str
    credential: str = field(repr=False)
    variable: str = TOKEN
    """The variable that has the credential."""

    @property
    def is_admin(self) -> bool:
        """Whether the credential is an admin token, not a virtual key."""
        return self.variable == TOKEN

    @property
    def is_local(self) -> bool:
        """Whether the gateway runs on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


def read_settings(variables: Mapping[str, str], *, admin: bool) -> Settings:
    """Read the address and the credential: an admin token, or a virtual key where `admin` is false and there is one.

    Raises CommandError, which never shows the credential.
    """
    key, token = read_text(variables, KEY), read_text(variables, TOKEN)
    variable, credential = (KEY, key) if key is not None and not admin else (TOKEN, token)
    if credential is None:
        create = f"Create a token where the gateway's GATEWAY_JWT_… settings are available:\n  {token_command()}"
        if admin:
            raise CommandError(f"{TOKEN} is not set.", create)
        raise CommandError(f"{KEY} is not set.", f"Set it to your virtual key, or as an admin set {TOKEN}. {create}")
    if not _VISIBLE_ASCII.fullmatch(credential):
        raise CommandError(
            f"{variable} has spaces, line breaks or other characters that no key or token has.", "Copy it again."
        )
    return Settings(read_url(variables), credential, variable)


def read_text(variables: Mapping[str, str], name: str) -> str | None:
    """Read a variable; None where it is not set or blank."""
    return variables.get(name, "").strip() or None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_url(variables: Mapping[str, str]) -> str:
    """Read the gateway's address: https, or http on this machine. Errors do not repeat it; it may hold a password."""
    text = read_text(variables, URL) or DEFAULT_URL
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _url_error("is not a URL") from None
    if not _HOST.fullmatch(host) or parts.username is not None or not _URL.fullmatch(text):
        raise _url_error("is not a plain URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise _url_error("is not https (http is allowed on this machine only)")
    if parts.path not in {"", "/"} or "?" in text:
        raise _url_error("has a path or a query")
    return text.rstrip("/")


def _url_error(problem: str) -> CommandError:
    return CommandError(f"{URL} {problem}.", "Set it to the gateway's own address, such as https://HOST.")
