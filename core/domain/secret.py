"""A value that must not be seen."""

from __future__ import annotations

from typing import NoReturn, final


@final
class Secret:
    """Holds a key or token. `repr`, `str` and formatting say nothing; `reveal()` is easy to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Hand out the value itself, where it is sent or checked."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        """Secrets are not pickled: they would leave the process in the clear."""
        raise TypeError("a Secret cannot be pickled")
