"""Where the gateway is and who is asking: `GATEWAY_URL` and `GATEWAY_ADMIN_TOKEN` of the environment."""

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

    @property
    def is_local(self) -> bool:
        """Whether the gateway is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


def read_access(variables: Mapping[str, str]) -> Access:
    """Read both from the environment. Raises Failure; it never shows the token."""
    env = Environment(variables)
    try:
        address = url(URL, env.text(URL) or DEFAULT_URL, cure="give https://HOST")
    except SettingsError as error:
        raise Failure(f"{error}.") from None
    token = env.text(TOKEN)
    if token is None:
        raise Failure(
            f"{TOKEN} is not set.", f"Where the gateway's GATEWAY_JWT_… settings are at hand, mint one:\n  {MINT}"
        )
    if not _IN_A_HEADER.fullmatch(token):
        raise Failure(
            f"{TOKEN} has spaces, line breaks or other characters in it that no token has.", f"Mint one:\n  {MINT}"
        )
    return Access(address.rstrip("/"), Secret(token))
