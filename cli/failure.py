"""What a command says when it cannot do what was asked."""

from __future__ import annotations


class Failure(Exception):
    """Nothing to be shown but this: what is wrong, and what to do. The command ends with status 1."""

    def __init__(self, wrong: str, cure: str = "") -> None:
        super().__init__(f"{wrong} {cure}".strip())
        self.wrong = wrong
        self.cure = cure


class ChangedMeanwhile(Failure):
    """The record is not the one that was read: somebody else has changed it since (412)."""
