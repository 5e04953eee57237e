"""The errors of settings that are wrong: they stop the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class SettingsError(Exception):
    """A setting is wrong. The message names it, says what is wrong, and what to do; it never shows a value."""

    def __init__(self, setting: str, problem: str, cure: str) -> None:
        super().__init__(f"{setting} {problem}: {cure}")
        self.setting = setting


class SeveralSettingsErrors(SettingsError):
    """Several settings are wrong; the message has a line for each."""

    def __init__(self, errors: Sequence[SettingsError]) -> None:
        super().__init__(f"{len(errors)} settings", "are wrong", "".join(f"\n  {error}" for error in errors))
        self.errors = tuple(errors)
