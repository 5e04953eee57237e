"""A record of all calls, from which a test knows what Azure would have received."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

SECRET_HEADERS = frozenset({"api-key", "authorization", "cookie", "x-identity-header"})
"""Headers whose names are kept and whose values are not."""

Kind = Literal["deployment", "v1", "identity"]
Auth = Literal["key", "bearer", "wrong", "none"]
State = Literal["open", "answered", "left"]


@dataclass(kw_only=True, eq=False)
class Call:
    """One call; its fields are set as they become known."""

    number: int
    kind: Kind
    method: str
    deployment: str
    connection: int
    """The same number means the same TCP connection."""
    headers: tuple[tuple[str, str], ...]
    api_version: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    model: str | None = None
    fault: str | None = None
    """The fault that this call met, if any."""
    body: Any = None
    """The parsed JSON as it was sent; None if it was not JSON."""
    auth: Auth = "none"
    status: int | None = None
    """None until a response begins."""
    state: State = "open"
    """`left`: the client disconnected before the response was complete."""

    def header(self, name: str) -> str | None:
        """Return the header's value; a secret's is `***`."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def to_json(self) -> dict[str, Any]:
        """Return the call for `GET /emulator/calls`: everything but the prompt."""
        body = self.body
        if isinstance(body, dict):
            body = {key: value for key, value in body.items() if key != "prompt"}
        return {**vars(self), "body": body}


class Calls:
    """The latest calls, oldest first, and how many there were to each deployment."""

    def __init__(self, max_calls: int = 2_000) -> None:
        self._kept: deque[Call] = deque(maxlen=max_calls)
        self._counts: Counter[str] = Counter()
        self._fault_counts: Counter[tuple[str, str]] = Counter()
        self._open: set[Call] = set()
        self._numbers = count(1)
        self._waiting: list[asyncio.Future[None]] = []

    def __iter__(self) -> Iterator[Call]:
        """Iterate over the calls that are still recorded, oldest first."""
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        """Count every call since the last `clear`."""
        return self._counts.total()

    @property
    def open_now(self) -> int:
        """How many calls are not yet answered."""
        return len(self._open)

    @property
    def last(self) -> Call:
        """The latest call."""
        return self._kept[-1]

    def to(self, deployment: str) -> list[Call]:
        """Return the recorded calls to the deployment of exactly this name, oldest first."""
        return [call for call in self._kept if call.deployment == deployment]

    def count(self, deployment: str) -> int:
        """Count all calls to the deployment of exactly this name, also those no longer recorded."""
        return self._counts[deployment]

    def of_kind(self, kind: Kind) -> list[Call]:
        """Return the recorded calls to one kind of path; `identity` are those for a token."""
        return [call for call in self._kept if call.kind == kind]

    def clear(self) -> None:
        """Forget all calls, and how often each fault was met; open calls go on."""
        self._kept.clear()
        self._counts.clear()
        self._fault_counts.clear()
        self._notify()

    async def until(self, is_true: "Callable[[Calls], bool]") -> None:
        """Wait until something is true of the record, e.g. `until(lambda calls: not calls.open_now)`."""
        while not is_true(self):
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    def begin(self, **known: Any) -> Call:
        """Record a new call."""
        call = Call(number=next(self._numbers), **known)
        self._kept.append(call)
        self._counts[call.deployment] += 1
        self._open.add(call)
        self._notify()
        return call

    def end(self, call: Call, state: State) -> None:
        """Record how a call ended."""
        call.state = state
        self._open.discard(call)
        self._notify()

    def meets_fault(self, deployment: str, fault: str, times: int | None) -> bool:
        """Count a call that has a fault, and return whether it meets it: only the first `times` calls do."""
        self._fault_counts[deployment, fault] += 1
        return times is None or self._fault_counts[deployment, fault] <= times

    def _notify(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)
