"""Reading single settings: text, numbers, switches, endpoints. Empty counts as not set."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from core.domain.loopback import is_loopback
from core.domain.settings_error import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SECONDS: Final = 3600.0

_WHOLE: Final = re.compile(r"[0-9]{1,9}")
_URL: Final = re.compile(r"[!$-\[\]-~]+")
"""Visible ASCII without quotes, fragments and backslashes."""
_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+")


class Environment:
    """The process's environment, which in Azure Functions holds the app settings."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str | None:
        """A setting's text; None where it is not set or blank."""
        return self._variables.get(name, "").strip() or None

    def seconds(self, name: str, default: float, *, zero_allowed: bool = False) -> float:
        """A time in seconds, above 0; or 0, where that switches something off."""
        text = self.text(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if value == 0 and zero_allowed:
            return 0.0
        if not 0 < value <= MAX_SECONDS:
            raise SettingsError(name, f"is {text!r}", f"give seconds, more than 0 and at most {MAX_SECONDS:.0f}")
        return value

    def whole(self, name: str, default: int, *, most: int, least: int = 0) -> int:
        """A whole number from `least` to `most`."""
        text = self.text(name)
        if text is None:
            return default
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise SettingsError(name, f"is {text!r}", f"give a whole number from {least} to {most}")
        return int(text)

    def flag(self, name: str) -> bool:
        """A switch, off where it is not set."""
        text = (self.text(name) or "false").lower()
        if text not in {"true", "false"}:
            raise SettingsError(name, f"is {text!r}", "give true or false")
        return text == "true"


def endpoint(setting: str, text: str) -> str:
    """Check the address of a host that the gateway will call; give it without a trailing slash."""
    return url(setting, text, cure="give https://HOST without a path, such as https://NAME.openai.azure.com").rstrip(
        "/"
    )


def url(setting: str, text: str, *, cure: str = "give https://HOST/PATH", path_allowed: bool = False) -> str:
    """Check a URL that the gateway will call: https, or http on this machine. It stays as it was given."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingsError(setting, "is not a URL", cure) from None
    if not host or not _HOST.fullmatch(host) or parts.username is not None or not _URL.fullmatch(text):
        raise SettingsError(setting, "is not a plain URL", cure)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise SettingsError(setting, "is not https", f"{cure} (http only on loopback)")
    if not path_allowed and (parts.path not in {"", "/"} or "?" in text):
        raise SettingsError(setting, "has a path or query", cure)
    return text
