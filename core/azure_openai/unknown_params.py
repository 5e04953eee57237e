"""Which parameters a target does not know, as it has said: names are free, so that half of the clients send some.

Only parameters that the gateway can do without are left out: it delivers `response_format` itself, and `style` is a
wish (contract §3). Others are left out by the catalogue's `drop` alone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from core.domain.outcome import Failure

if TYPE_CHECKING:
    from core.azure_openai.client import AttemptRequest
    from core.domain.outcome import Outcome

MAX_TARGETS: Final = 1000
"""How many targets are remembered; without a catalogue any name is one."""

_NOT_NEEDED: Final = frozenset({"response_format", "style"})
_CODE: Final = "unknown_parameter"
_DROPPED: Final = "x-gateway-dropped-params"


class UnknownParams:
    """Remembers them for each target. One for each process."""

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()

    def leave_out(self, ask: AttemptRequest) -> AttemptRequest:
        """Give the request without what its target does not know."""
        unknown = self._left_out(ask)
        if not unknown:
            return ask
        fields = {name: value for name, value in ask.body.fields.items() if name not in unknown}
        return replace(ask, body=replace(ask.body, fields=fields))

    def learn(self, ask: AttemptRequest, outcome: Outcome) -> bool:
        """Learn from an outcome. True: the target can be asked again without what it did not know."""
        if not isinstance(outcome, Failure) or ask.body.has_family or outcome.error.code != _CODE:
            return False
        param = outcome.error.param or ""
        if param not in _NOT_NEEDED or param not in ask.body.fields or param in self._left_out(ask):
            return False
        target = ask.target.identity
        self._of[target] = self._of.get(target, frozenset()) | {param}
        self._of.move_to_end(target)
        if len(self._of) > MAX_TARGETS:
            self._of.popitem(last=False)
        return True

    def note(self, ask: AttemptRequest, outcome: Outcome) -> Outcome:
        """Name in an outcome what was left out, for the header of its answer."""
        left_out = self._left_out(ask)
        if not left_out:
            return outcome
        return replace(outcome, relayed={**outcome.relayed, _DROPPED: ", ".join(sorted(left_out))})

    def _left_out(self, ask: AttemptRequest) -> frozenset[str]:
        return self._of.get(ask.target.identity, frozenset()) & ask.body.fields.keys()
