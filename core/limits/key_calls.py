"""How many calls of one key are being drawn in this instance: nobody takes all its connections (contract §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.domain.errors import CallerError, wait_headers

if TYPE_CHECKING:
    from collections.abc import Callable


RETRY_SECONDS: Final = 2.0
"""When a caller may come again: a picture takes 10 s or more, and of so many one ends soon."""


class KeyBusy(CallerError):
    """429: so many calls of one key are being drawn already."""

    status = 429
    type = "rate_limit_error"
    code = "key_busy"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} calls of this key are being drawn at the moment, the most there may be; ask again soon",
            headers=wait_headers(RETRY_SECONDS),
        )


class KeyCalls:
    """Counts the calls of each key. One for each process."""

    def __init__(self, most: int) -> None:
        """`most` is how many calls of one key are drawn at once."""
        self._most = most
        self._counts: dict[str, int] = {}

    def check(self, scope: str) -> None:
        """Raise KeyBusy where one more call would be too many; `scope` names the key (`Caller.scope`)."""
        if self._counts.get(scope, 0) >= self._most:
            raise KeyBusy(self._most)

    def take(self, scope: str) -> Callable[[], None]:
        """Count a call until the function that is returned is called, once. Raises KeyBusy."""
        self.check(scope)
        self._counts[scope] = self._counts.get(scope, 0) + 1

        def leave() -> None:
            self._counts[scope] -= 1
            if not self._counts[scope]:
                del self._counts[scope]

        return leave
