"""Targets that failed are left alone for a while, so that calls neither wait for them nor make it worse.

Whose fault it is decides who suffers (contract §5). What one caller alone can bring about, a picture that takes longer
than the gateway waits, or a body that makes upstream answer 500, counts for that caller's key: five in a row leave the
target alone for this key. For everybody it is left alone when two keys have failed with no answer between. What only
the target can bring about (not reached, no token, blocked, throttled) counts for all at once.

The values are frozen and `after_call` is a pure function; `CircuitBreaker` keeps them for one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from core.domain.outcome import GATEWAY_REASONS, Failure, OutcomeKind, UpstreamError
from core.routing.retry_rules import COOL_OFFS, FAILURES_IN_A_ROW, MAX_COOL_OFF_SECONDS, PER_KEY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from core.deployments.catalogue import Target
    from core.domain.outcome import Outcome

PROBE_SECONDS: Final = 30.0
"""A probe that has not ended after this long no longer keeps others away: drawing may take minutes."""
MAX_PROBES: Final = 2
"""How many keys may probe a target at the same time, one call each: with one, its probe would close it to others."""
MAX_TARGETS: Final = 1000
"""How many targets are remembered. Without a catalogue, callers choose the names."""
MAX_KEYS: Final = 10_000
"""How many keys' failures are remembered, over all targets."""
MAX_CODE_CHARACTERS: Final = 64

_K = TypeVar("_K", bound="Hashable")
_V = TypeVar("_V")


class KeyHealth(Struct, frozen=True, kw_only=True):
    """What is known of a target for one key."""

    failures: int = 0
    """How many in a row: since the key's last call that the target answered."""
    cools_until: float = 0.0
    """Before this moment the key's calls pass it over."""
    cause: Failure | None = None
    """What for; None: it was never left alone since it last answered."""


class TargetHealth(Struct, frozen=True, kw_only=True):
    """What is known of a target for everybody."""

    failures: int = 0
    """How many in a row, whoever called."""
    failed_keys: tuple[str, ...] = ()
    """Two keys at most that have failed in this row."""
    own_failures: int = 0
    """How many of the row only the target can have brought about."""
    cools_until: float = 0.0
    cause: Failure | None = None
    probes: tuple[tuple[str, float], ...] = ()
    """The keys that try out whether it is well again, and until when each of them counts."""


class Availability(Struct, frozen=True, kw_only=True):
    """Whether the calls of one key may ask a target."""

    cools_until: float = 0.0
    """Before this moment they pass it over."""
    cause: Failure | None = None
    """What it is, or was last, left alone for; None: nothing since it last answered."""
    probed_until: float = 0.0
    """Until this moment other calls try out whether it is well again."""

    def is_open(self, now: float) -> bool:
        """Whether it may be asked."""
        return now >= self.cools_until and now >= self.probed_until


HEALTHY: Final = TargetHealth()
HEALTHY_FOR_KEY: Final = KeyHealth()


def after_call(
    target: TargetHealth, own: KeyHealth, key: str, outcome: Outcome, now: float
) -> tuple[TargetHealth, KeyHealth]:
    """What is known of a target, for everybody and for the key that called, once a call has ended."""
    target = without_probe(target, key)
    if not isinstance(outcome, Failure):
        return _answered(target, own, now)
    if outcome.reason in GATEWAY_REASONS:
        return target, own
    row = COOL_OFFS.get(outcome.reason)
    if row is None:
        return _answered(target, own, now)
    cause = _for_others(outcome)
    if row.stated:  # quota that is used up is no failure, and the call after it is no probe
        wait = row.seconds if outcome.retry_after is None else min(outcome.retry_after, MAX_COOL_OFF_SECONDS)
        return _close(target, cause, now + wait), own
    target = replace(
        target,
        failures=target.failures + 1,
        failed_keys=tuple(dict.fromkeys((*target.failed_keys, key)))[:2],
        own_failures=target.own_failures + (not row.per_key),
    )
    own = replace(own, failures=own.failures + 1)
    is_shared = len(target.failed_keys) > 1 and (target.failures >= FAILURES_IN_A_ROW or _is_ill(target.cause))
    if (not row.per_key and target.own_failures >= row.after) or is_shared:
        target = _close(replace(target, failed_keys=(), failures=0), cause, now + row.seconds)
    elif own.failures >= FAILURES_IN_A_ROW or _is_ill(own.cause) or _is_ill(target.cause):
        own = replace(own, cools_until=now + PER_KEY_SECONDS, cause=cause)
    return target, own


def _answered(target: TargetHealth, own: KeyHealth, now: float) -> tuple[TargetHealth, KeyHealth]:
    """The target answered. What another call learnt meanwhile holds all the same: this one began before."""
    return (target if now < target.cools_until else HEALTHY), (own if now < own.cools_until else HEALTHY_FOR_KEY)


def _close(target: TargetHealth, cause: Failure, until: float) -> TargetHealth:
    return replace(target, cools_until=max(until, target.cools_until), cause=cause)


def _is_ill(cause: Failure | None) -> bool:
    """Whether a target was left alone for a failure, and has not answered since."""
    return cause is not None and cause.kind is not OutcomeKind.THROTTLED


def _for_others(outcome: Failure) -> Failure:
    """What others may be told of a failure: the words and ids were for one caller, and may be long."""
    code = None if outcome.error.code is None else outcome.error.code[:MAX_CODE_CHARACTERS]
    return Failure(reason=outcome.reason, status=outcome.status, error=UpstreamError(code=code))


def with_probe(target: TargetHealth, own: KeyHealth, key: str, now: float) -> TargetHealth:
    """What is known once a call begins: the first one after a failure is a probe."""
    if not _is_ill(target.cause) and not _is_ill(own.cause):
        return target
    others = tuple(probe for probe in target.probes if probe[0] != key and probe[1] > now)
    return replace(target, probes=(*others[-MAX_PROBES:], (key, now + PROBE_SECONDS)))


def without_probe(target: TargetHealth, key: str) -> TargetHealth:
    """What is known once a key's call has ended, or was left: the next one may probe."""
    return replace(target, probes=tuple(probe for probe in target.probes if probe[0] != key))


def availability(target: TargetHealth, own: KeyHealth, key: str) -> Availability:
    """Whether the calls of a key may ask a target."""
    cools_for_all = target.cools_until >= own.cools_until
    mine = max((until for name, until in target.probes if name == key), default=0.0)
    others = sorted((until for name, until in target.probes if name != key), reverse=True)
    taken = others[MAX_PROBES - 1] if _is_ill(target.cause) and len(others) >= MAX_PROBES else 0.0
    return Availability(
        cools_until=max(target.cools_until, own.cools_until),
        cause=(target.cause if cools_for_all else own.cause) or target.cause or own.cause,
        probed_until=max(mine, taken),
    )


class CircuitBreaker:
    """The health of every target, as this process has seen it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._targets: dict[tuple[str, str], TargetHealth] = {}
        self._keys: dict[tuple[tuple[str, str], str], KeyHealth] = {}

    def of(self, target: Target, key: str) -> Availability:
        """Whether the calls of a key may ask a target."""
        return availability(*self._known(target, key), key)

    def began(self, target: Target, key: str) -> None:
        """Note that a call to a target begins."""
        health, own = self._known(target, key)
        self._keep(target, with_probe(health, own, key, self._clock()))

    def ended(self, target: Target, key: str, outcome: Outcome) -> bool:
        """Note how it ended. True: the operator must act, and has not been told of this cause yet."""
        before, own = self._known(target, key)
        health, own = after_call(before, own, key, outcome, self._clock())
        self._keep(target, health)
        _remember(self._keys, (target.identity, key), own, HEALTHY_FOR_KEY, MAX_KEYS)
        row = COOL_OFFS.get(outcome.reason) if isinstance(outcome, Failure) else None
        told = before.cause is not None and isinstance(outcome, Failure) and before.cause.reason is outcome.reason
        return row is not None and row.logged and not told

    def left(self, target: Target, key: str) -> None:
        """Note that the caller went away before it ended."""
        self._keep(target, without_probe(self._known(target, key)[0], key))

    def _known(self, target: Target, key: str) -> tuple[TargetHealth, KeyHealth]:
        own = self._keys.get((target.identity, key), HEALTHY_FOR_KEY)
        return self._targets.get(target.identity, HEALTHY), own

    def _keep(self, target: Target, health: TargetHealth) -> None:
        _remember(self._targets, target.identity, health, HEALTHY, MAX_TARGETS)


def _remember(known: dict[_K, _V], name: _K, value: _V, usual: _V, most: int) -> None:
    """Keep what is not usual of at most so many; the one that was heard of least lately is forgotten first."""
    known.pop(name, None)
    if value != usual:
        known[name] = value
        if len(known) > most:
            del known[next(iter(known))]
