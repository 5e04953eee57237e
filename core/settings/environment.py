"""Reading single settings: text, numbers, switches, addresses. An empty setting is not set."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from core.domain.loopback import is_loopback
from core.domain.settings_error import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_SECONDS: Final = 3600.0

_PREFIX: Final = "GATEWAY_"
_WHOLE: Final = re.compile(r"[0-9]{1,9}")
_URL: Final = re.compile(r"[!$-\[\]-~]+")
"""Visible ASCII without quotes, fragments and backslashes."""
_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+")
_T = TypeVar("_T")


class Environment:
    """The process's environment, which in Azure Functions has the app settings.

    Errors are collected, so that all that is wrong is told at once. A setting that is wrong counts as its default until
    then.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._known: set[str] = set()
        self.errors: list[SettingsError] = []

    def text(self, name: str) -> str | None:
        """A setting's text; None if it is not set or blank."""
        self._known.add(name)
        return self._variables.get(name, "").strip() or None

    def collect(self, read: Callable[[], _T], default: _T) -> _T:
        """Read something; if that raises a SettingsError, note it, and give the default."""
        try:
            return read()
        except SettingsError as error:
            self.errors.append(error)
            return default

    def seconds(self, name: str, default: float, *, zero_allowed: bool = False) -> float:
        """A time in seconds, above 0, or 0 where that means never."""
        text = self.text(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if 0 < value <= MAX_SECONDS or (zero_allowed and value == 0):
            return value
        least = "0 or more" if zero_allowed else "more than 0"
        cure = f"give seconds, {least} and at most {MAX_SECONDS:.0f}"
        self.errors.append(SettingsError(name, "is not a number in its range", cure))
        return default

    def whole(self, name: str, default: int, *, maximum: int, minimum: int = 0) -> int:
        """A whole number."""
        text = self.text(name)
        if text is None:
            return default
        if _WHOLE.fullmatch(text) and minimum <= int(text) <= maximum:
            return int(text)
        cure = f"give a whole number from {minimum} to {maximum}"
        self.errors.append(SettingsError(name, "is not a number in its range", cure))
        return default

    def choice(self, name: str, *names: str) -> str:
        """One of some names, the first where it is not set."""
        text = self.text(name) or names[0]
        if text not in names:
            cure = f"give one of {', '.join(names)}, or leave it out"
            self.errors.append(SettingsError(name, "is none that is known", cure))
            return names[0]
        return text

    def flag(self, name: str) -> bool:
        """A switch, off if it is not set."""
        text = (self.text(name) or "false").lower()
        if text not in {"true", "false"}:
            self.errors.append(SettingsError(name, "is neither true nor false", "give true or false"))
        return text == "true"

    def unknown(self, *, known_elsewhere: frozenset[str]) -> list[SettingsError]:
        """The settings of the gateway that nothing has asked for, each with the one that was probably meant."""
        known = sorted(name for name in self._known | known_elsewhere if name.startswith(_PREFIX))
        return [
            SettingsError(name, "is not a setting", _suggestion(name, known))
            for name in sorted(self._variables)
            if name.startswith(_PREFIX) and name not in known
        ]


def _suggestion(name: str, known: list[str]) -> str:
    names = [each.removeprefix(_PREFIX) for each in known]
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), names, n=1)
    return f"did you mean {_PREFIX}{near[0]}?" if near else "remove it, or look its name up in the README"


def endpoint(setting: str, text: str) -> str:
    """Check the address of a host that the gateway will call; give it without a trailing slash."""
    return url(setting, text, cure="give https://HOST without a path, such as https://NAME.openai.azure.com").rstrip(
        "/"
    )


def url(setting: str, text: str, *, cure: str = "give https://HOST/PATH", path_allowed: bool = False) -> str:
    """Check a URL that the gateway will call: https, or http on this machine. It is returned unchanged."""
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
