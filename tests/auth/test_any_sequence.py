"""Any sequence of makes, changes, rotations, deletions, outages and calls, on two instances over one store.

Beside the gateway's own parts runs a model as plain as can be: it remembers every state that each record has had, and
when. A call may pass only if one of the states of the last GATEWAY_KEY_CACHE_SECONDS lets it pass; on the instance that
made the last change, only one since then. It must pass if all of them do and the store can be reached.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.azure_storage.tables import AzureTables
from core.admin.keys import Condition, Keys
from core.auth.authenticator import Authenticator
from core.auth.jwt import FixedKey, JwtVerifier, SigningKey
from core.auth.key_cache import KeyCache
from core.auth.key_directory import KeyDirectory
from core.auth.key_record import KeyTerms
from core.auth.virtual_keys import ConfiguredKeys
from core.azure_openai.token_source import NoIdentity
from core.domain.errors import AuthUnavailable, GatewayError
from core.domain.secret import Secret
from core.settings.environment import Environment
from core.settings.storage import read_storage
from core.storage.memory import MemoryTables
from tests.auth.signing import AUDIENCE, CLAIMS, ISSUER, SECRET, token
from tests.auth.storing import NOW, OUT_OF_REACH, Wall, Watched, stored_keys
from tests.fakes import Clock
from tests.transports import new_transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from core.storage.tables import Tables

CACHE = dt.timedelta(seconds=30)
ANYTHING = Condition(None)
DEPLOYMENTS = ("a", "b")
A_MOMENT = 1 / 64
"""Seconds. Whole in microseconds and in binary, so that both clocks add it up without rounding."""
FAR = int(NOW.timestamp()) + 10**9


# ------------------------------------------------------------------------------------------------ the model


@dataclass(frozen=True)
class State:
    """One record as it was for a while."""

    terms: KeyTerms
    secrets: dict[str, dt.datetime | None]
    """Until when each secret counts; None: as long as the record."""

    def admits(self, secret: str | None, deployment: str, now: dt.datetime) -> bool:
        """Whether a secret, or without one a JWT, may call a deployment at a moment."""
        if secret is not None and secret not in self.secrets:
            return False
        ends = [self.terms.expires_at, None if secret is None else self.secrets[secret]]
        if any(end is not None and end <= now for end in ends):
            return False
        return self.terms.active and deployment in self.terms.deployments


@dataclass
class Model:
    """All that a record has been."""

    key_id: str
    secrets: list[str] = field(default_factory=list)
    """All it has ever had."""
    past: list[tuple[dt.datetime, State]] = field(default_factory=list)
    """Until when it was what."""
    now: State | None = None
    """None: it has been deleted."""
    changed_by: int = 0
    own_past: int = 0
    """How much of the past was before the last change."""

    def become(self, state: State | None, at: dt.datetime, by: int) -> None:
        """Change to another state."""
        if self.now is not None:
            self.past.append((at, self.now))
        self.now = state
        self.changed_by, self.own_past = by, len(self.past)

    def states(self, now: dt.datetime, instance: int) -> Iterator[State | None]:
        """What an instance may take it for."""
        yield self.now
        if instance != self.changed_by:
            yield from (state for until, state in self.past if until > now - CACHE)


# ------------------------------------------------------------------------------------------------ the gateway's parts


class Instance:
    """One instance of the gateway: its own cache and clocks, and the store."""

    def __init__(self, tables: Tables, wall: Wall, offset: float) -> None:
        self.watched = Watched(tables)
        self.clock = Clock(offset)
        stored = stored_keys(self.watched, wall)
        cached = KeyCache(stored, seconds=CACHE.total_seconds(), clock=self.clock)
        jwts = JwtVerifier(FixedKey(SigningKey("HS256", SECRET)), issuer=ISSUER, audience=AUDIENCE, now=wall)
        self._authenticator = Authenticator(KeyDirectory(ConfiguredKeys([]), stored, cached), jwts, wall)
        self.keys = Keys(ConfiguredKeys([]), stored, cached, MemoryTables().table("GatewayCounters"), wall)

    async def admits(self, credential: str, deployment: str) -> bool | None:
        """Whether a call passes; None: it cannot be told now."""
        try:
            return (await self._authenticator.authenticate(Secret(credential))).may_call(deployment)
        except AuthUnavailable:
            return None
        except GatewayError:
            return False


class World:
    """Two instances over one store, the model, and the time, which all share."""

    def __init__(self, tables: Tables) -> None:
        self.wall = Wall()
        self.instances = [Instance(tables, self.wall, offset) for offset in (0.0, 12_345.5)]
        self.records: list[Model] = []

    async def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.wall.pass_by(seconds)
        for instance in self.instances:
            instance.clock.pass_by(seconds)

    async def outage(self, by: int, *, begins: bool) -> None:
        """Let the store be out of an instance's reach, or come back."""
        self.instances[by].watched.fails = OUT_OF_REACH if begins else None

    async def create(self, by: int, active: bool, ends_in: float | None, names: tuple[str, ...]) -> None:
        """Make a key."""
        if self._is_out(by) or len(self.records) == 3:
            return
        terms = self._terms(active, ends_in, names)
        made = await self.instances[by].keys.create(terms)
        record = Model(made.virtual_key.id, [made.key])
        record.become(State(terms, {made.key: None}), self.wall.now, by)
        self.records.append(record)

    async def change(self, by: int, which: int, active: bool, ends_in: float | None, names: tuple[str, ...]) -> None:
        """Change a key."""
        record = self._live(by, which)
        if record is None or record.now is None:
            return
        terms = self._terms(active, ends_in, names)
        await self.instances[by].keys.change(record.key_id, ANYTHING, lambda _: terms)
        record.become(State(terms, record.now.secrets), self.wall.now, by)

    async def rotate(self, by: int, which: int, grace: float) -> None:
        """Rotate a key."""
        record = self._live(by, which)
        if record is None or record.now is None:
            return
        until = self.wall.now + dt.timedelta(seconds=grace)
        new = await self.instances[by].keys.rotate(record.key_id, ANYTHING, dt.timedelta(seconds=grace))
        current = record.secrets[-1]
        record.secrets.append(new.key)
        kept = {current: until} if grace else {}
        record.become(State(record.now.terms, {**kept, new.key: None}), self.wall.now, by)

    async def delete(self, by: int, which: int) -> None:
        """Delete a key."""
        record = self._live(by, which)
        if record is not None:
            await self.instances[by].keys.delete(record.key_id, ANYTHING)
            record.become(None, self.wall.now, by)

    async def call(self, by: int, which: int, secret: int | None, deployment: str) -> None:
        """Call with one of the secrets that a record has had, or with a JWT, and hold the answer against the model."""
        if not self.records:
            return
        record = self.records[which % len(self.records)]
        own = None if secret is None else record.secrets[-1 - secret % len(record.secrets)]
        credential = own or token({**CLAIMS, "sub": record.key_id, "exp": FAR})
        passes = await self.instances[by].admits(credential, deployment)
        may = [
            state is not None and state.admits(own, deployment, self.wall.now)
            for state in record.states(self.wall.now, by)
        ]
        assert not passes or any(may), "a call has passed that no state of the last seconds lets pass"
        assert passes or not all(may) or self._is_out(by), "a call was refused that every state lets pass"

    def _terms(self, active: bool, ends_in: float | None, names: tuple[str, ...]) -> KeyTerms:
        ends = None if ends_in is None else self.wall.now + dt.timedelta(seconds=ends_in)
        return KeyTerms(name="x", active=active, expires_at=ends, deployments=names)

    def _live(self, by: int, which: int) -> Model | None:
        live = [record for record in self.records if record.now is not None]
        return live[which % len(live)] if live and not self._is_out(by) else None

    def _is_out(self, by: int) -> bool:
        return self.instances[by].watched.fails is not None


# ------------------------------------------------------------------------------------------------ any sequence

BY = st.integers(0, 1)
WHICH = st.integers(0, 2)
TERMS = (
    st.sampled_from([True, True, False]),
    st.sampled_from([None, None, -1, 5, 40]),
    st.sampled_from([("a",), ("a", "b"), ()]),
)
STEP_OF: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    # how often, and with what
    "call": (9, (BY, WHICH, st.sampled_from([0, 0, 1, 1, 2, None]), st.sampled_from(DEPLOYMENTS))),
    "pass_by": (4, (st.sampled_from([A_MOMENT, 5, 10 - A_MOMENT, 10, 25, 30 - A_MOMENT, 30, 90_000]),)),
    "rotate": (3, (BY, WHICH, st.sampled_from([0, 5, 35, 86_400]))),
    "change": (2, (BY, WHICH, *TERMS)),
    "create": (1, (BY, *TERMS)),
    "delete": (1, (BY, WHICH)),
    "outage": (1, (BY, st.sampled_from([True, False, False]))),
}
STEP = st.sampled_from([name for name, (times, _) in STEP_OF.items() for _ in range(times)]).flatmap(
    lambda name: st.tuples(st.just(name), *STEP_OF[name][1])
)
FIRST = st.tuples(st.just("create"), BY, st.just(True), st.none(), st.just(DEPLOYMENTS))
STEPS = st.tuples(FIRST, st.lists(STEP, min_size=8, max_size=60)).map(lambda parts: [parts[0], *parts[1]])


async def play(tables: Tables, steps: list[tuple[Any, ...]]) -> None:
    """Do one step after the other."""
    world = World(tables)
    for name, *arguments in steps:
        if name == "outage":
            await world.outage(arguments[0], begins=arguments[1])
        else:
            do: Callable[..., Awaitable[None]] = getattr(world, name)
            await do(*arguments)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(steps=STEPS)
def test_any_sequence_in_memory(steps: list[tuple[Any, ...]]) -> None:
    """Over tables in memory, many sequences."""
    asyncio.run(play(MemoryTables(), steps))


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, number=st.uuids())
def test_any_sequence_in_azurite(azurite: str, steps: list[tuple[Any, ...]], number: Any) -> None:
    """Over Azurite, some."""

    async def over_azurite() -> None:
        account = read_storage(Environment({"AzureWebJobsStorage": azurite}))
        assert account is not None
        connection = new_transport()
        try:
            await play(AzureTables(account, connection, NoIdentity(), prefix=f"t{number.hex[:16]}"), steps)
        finally:
            await connection.aclose()

    asyncio.run(over_azurite())


@pytest.mark.parametrize("seconds", [29.999, 30.0])
def test_the_model_sees_what_is_wrong(seconds: float) -> None:
    """The model is not blind: a cache that forgets too late is found."""
    steps: list[tuple[Any, ...]] = [
        ("create", 0, True, None, DEPLOYMENTS),
        ("call", 1, 0, 0, "a"),
        ("delete", 0, 0),
        ("pass_by", seconds),
        ("call", 1, 0, 0, "a"),
    ]

    async def with_a_slow_clock() -> None:
        world = World(MemoryTables())
        world.instances[1].clock.pass_by = lambda _: None  # type: ignore[method-assign]
        for name, *arguments in steps:
            await getattr(world, name)(*arguments)

    if seconds < CACHE.total_seconds():
        asyncio.run(with_a_slow_clock())
    else:
        with pytest.raises(AssertionError, match="has passed"):
            asyncio.run(with_a_slow_clock())
