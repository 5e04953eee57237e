"""The error of a setting: it stops the start."""

from __future__ import annotations


class SettingsError(Exception):
    """A setting is wrong. The message names it, says what is wrong, and what to do; it shows no secret."""

    def __init__(self, setting: str, wrong: str, cure: str) -> None:
        super().__init__(f"{setting} {wrong}: {cure}")
        self.setting = setting
