"""Where the gateway is and who is asking: `GATEWAY_URL`, and `GATEWAY_ADMIN_TOKEN` or `GATEWAY_KEY`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cli.failure import Failure
from core.contract.loopback import is_loopback
from core.contract.secret import Secret
from core.environment import Environment, SettingsError, url

if TYPE_CHECKING:
    from collections.abc import Mapping

URL: Final = "GATEWAY_URL"
TOKEN: Final = "GATEWAY_ADMIN_TOKEN"  # noqa: S105 -- a setting's name
KEY: Final = "GATEWAY_KEY"
DEFAULT_URL: Final = "http://127.0.0.1:7071"
MINT: Final = f"export {TOKEN}=$(python -m cli token --role admin)"
"""How a token is had."""

_IN_A_HEADER: Final = re.compile(r"[!-~]+")
"""Visible ASCII. An HTTP library would put any other value into its error."""


@dataclass(frozen=True, slots=True)
class Access:
    """A gateway's address, without a slash at its end, and the token it is asked with."""

    url: str
    token: Secret
    variable: str = TOKEN
    """Where the token was found."""

    @property
    def is_local(self) -> bool:
        """Whether the gateway is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


def read_access(variables: Mapping[str, str]) -> Access:
    """Read the address and the admin's token from the environment. Raises Failure; it never shows the token."""
    env = Environment(variables)
    address, token = _address(env), env.text(TOKEN)
    if token is None:
        raise Failure(
            f"{TOKEN} is not set.", f"Where the gateway's GATEWAY_JWT_… settings are at hand, mint one:\n  {MINT}"
        )
    return Access(address, _secret(TOKEN, token, f"Mint one:\n  {MINT}"))


def read_caller(variables: Mapping[str, str]) -> Access:
    """Read the address and the credential of whoever draws: a key, or else an admin's token. Raises Failure."""
    env = Environment(variables)
    address, key = _address(env), env.text(KEY)
    if key is not None:
        return Access(address, _secret(KEY, key, "Copy it whole, as it was handed out."), KEY)
    if env.text(TOKEN) is None:
        raise Failure(f"{KEY} is not set.", f"Set it to your virtual key; an admin sets {TOKEN}:\n  {MINT}")
    return read_access(variables)


def _address(env: Environment) -> str:
    try:
        return url(URL, env.text(URL) or DEFAULT_URL, cure="give https://HOST").rstrip("/")
    except SettingsError as error:
        raise Failure(f"{error}.") from None


def _secret(variable: str, text: str, cure: str) -> Secret:
    if not _IN_A_HEADER.fullmatch(text):
        what = "key" if variable == KEY else "token"
        raise Failure(f"{variable} has spaces, line breaks or other characters in it that no {what} has.", cure)
    return Secret(text)
