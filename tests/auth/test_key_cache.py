"""The cache before the stored keys: for how long something counts, and what the store is asked."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from core.auth.key_cache import UNKNOWN_SECONDS, KeyCache
from core.auth.virtual_keys import KeyStoreUnavailable, VirtualKey
from tests.auth.storing import DAY, OUT_OF_REACH, TERMS, Watched, stored_keys
from tests.fakes import Clock

SECONDS = 30.0
UNKNOWN = "sk-bf-" + "x" * 43


class Front:
    """Stored keys with a cache before them, and a clock that is moved by hand."""

    def __init__(self, *, seconds: float = SECONDS, max_keys: int = 100, watched: Watched | None = None) -> None:
        self.watched = watched or Watched()
        self.stored = stored_keys(self.watched)
        self.clock = Clock()
        self.cached = KeyCache(self.stored, seconds=seconds, clock=self.clock, max_keys=max_keys)

    async def name_of(self, key: str) -> str | None:
        """Under which name a key is known."""
        found = await self.cached.get_by_key(key)
        return None if found is None else found.name

    async def reads(self, key: str) -> int:
        """How often the store is asked when a key comes."""
        before = self.watched.reads
        await self.cached.get_by_key(key)
        return self.watched.reads - before


# ------------------------------------------------------------------------------------------------ what is kept


async def test_a_found_key_is_kept() -> None:
    """A key is read with two reads, and then not again until its time is over, however often it comes."""
    front = Front()
    key = (await front.stored.create(TERMS)).key.reveal()
    reads = []
    for seconds in (0, 0, SECONDS - 0.1, 0.1, 0):
        front.clock.pass_by(seconds)
        reads.append(await front.reads(key))
    assert [2, 0, 0, 2, 0] == reads


async def test_a_change_holds_within_the_time() -> None:
    """What another process changes counts here as soon as the time is over, and until then it may not."""
    front = Front()
    issued = await front.stored.create(TERMS)
    key = issued.key.reveal()
    names = [await front.name_of(key)]
    await front.stored.change(issued.record, replace(TERMS, name="Team B"))
    for seconds in (SECONDS - 0.1, 0.1):
        front.clock.pass_by(seconds)
        names.append(await front.name_of(key))
    assert ["Team A", "Team A", "Team B"] == names


async def test_the_time_runs_from_the_beginning_of_the_read() -> None:
    """A read that takes long makes what it found no younger."""
    front = Front()
    issued = await front.stored.create(TERMS)
    front.watched.gate = asyncio.Event()
    reading = asyncio.create_task(front.cached.get_by_key(issued.key.reveal()))
    await front.watched.asked.wait()
    front.clock.pass_by(SECONDS - 1)
    front.watched.gate.set()
    await reading
    assert 0 == await front.reads(issued.key.reveal())
    front.clock.pass_by(1)
    assert 2 == await front.reads(issued.key.reveal())


async def test_a_read_that_takes_too_long_is_not_joined() -> None:
    """Who comes when a read has gone on for as long as a key is kept begins another, and what that finds is kept."""
    front = Front()
    issued = await front.stored.create(TERMS)
    key = issued.key.reveal()
    stuck = front.watched.gate = asyncio.Event()
    first = asyncio.create_task(front.name_of(key))
    await front.watched.asked.wait()
    front.watched.gate = None
    await front.stored.change(issued.record, replace(TERMS, name="Team B"))
    front.clock.pass_by(SECONDS)
    assert "Team B" == await front.name_of(key)
    stuck.set()
    await first
    assert ("Team B", 0) == (await front.name_of(key), await front.reads(key))


async def test_at_once_here() -> None:
    """A record that this process has changed is read anew at once, under its id and every secret that led to it."""
    front = Front()
    old = await front.stored.create(TERMS)
    new = await front.stored.rotate(old.record, DAY)
    names = (old.key.reveal(), new.key.reveal())
    assert ["Team A"] * 2 == [await front.name_of(key) for key in names]
    last = await front.stored.rotate(new.record, DAY)  # elsewhere, so that the oldest secret is still known here
    assert await front.cached.get_by_id(new.record.id) is not None
    await front.stored.delete(last.record)
    front.cached.forget(new.record.id)
    assert [None] * 2 == [await front.name_of(key) for key in names]
    assert await front.cached.get_by_id(new.record.id) is None


async def test_others_are_kept() -> None:
    """To forget one record costs no read of another."""
    front = Front()
    one, other = [await front.stored.create(TERMS) for _ in range(2)]
    await front.reads(other.key.reveal())
    front.cached.forget(one.record.id)
    assert 0 == await front.reads(other.key.reveal())


async def test_what_was_being_read_meanwhile_is_not_kept() -> None:
    """What was read before this process changed the record, and comes after, is not kept."""
    front = Front()
    issued = await front.stored.create(TERMS)
    key = issued.key.reveal()
    gate = front.watched.gate = asyncio.Event()
    reading = asyncio.create_task(front.name_of(key))
    await front.watched.asked.wait()
    front.watched.gate = None
    await front.stored.delete(issued.record)
    front.cached.forget(issued.record.id)
    gate.set()
    await reading
    assert await front.name_of(key) is None


async def test_by_id() -> None:
    """The id of a record leads to its current key, kept as long as a key is."""
    front = Front()
    record = (await front.stored.create(TERMS)).record
    assert record.key() == await front.cached.get_by_id(record.id)
    await front.stored.delete(record)
    front.clock.pass_by(SECONDS - 0.1)
    assert record.key() == await front.cached.get_by_id(record.id)
    front.clock.pass_by(0.1)
    assert await front.cached.get_by_id(record.id) is None


# ------------------------------------------------------------------------------------------------ what is not there


async def test_an_unknown_key_is_kept_briefly() -> None:
    """That a key is not there costs one read, and nothing for its repeats until a shorter time is over."""
    front = Front()
    reads = []
    for seconds in (0, 0, UNKNOWN_SECONDS - 0.1, 0.1):
        front.clock.pass_by(seconds)
        reads.append(await front.reads(UNKNOWN))
    assert [1, 0, 0, 1] == reads


async def test_never_longer_than_a_found_one() -> None:
    """Where keys are kept for less than that, so are unknown ones."""
    front = Front(seconds=2)
    await front.reads(UNKNOWN)
    front.clock.pass_by(2)
    assert 1 == await front.reads(UNKNOWN)


@pytest.mark.parametrize(
    "key",
    ["sk-bf-", "sk-bf-short", UNKNOWN[:-1], UNKNOWN + "x", UNKNOWN[:-1] + "=", UNKNOWN[:-1] + "\n", UNKNOWN.upper()],
    ids=ascii,
)
async def test_what_is_no_key_at_all(key: str) -> None:
    """What is not of the form of a stored key is not looked up."""
    front = Front()
    assert (None, 0) == (await front.cached.get_by_key(key), front.watched.reads)


@pytest.mark.parametrize("key_id", ["", "team-a", "vk-", "vk-0000000000000000000G", "vk-" + "0" * 21, "vk_" + "0" * 20])
async def test_what_is_no_id_of_a_record(key_id: str) -> None:
    """What is not of the form of a record's id is not looked up."""
    front = Front()
    assert (None, 0) == (await front.cached.get_by_id(key_id), front.watched.reads)


async def test_a_flood_of_unknown_keys() -> None:
    """Made-up keys push no key out that was found; of both only so many are kept, those that came last."""
    front = Front(max_keys=10)
    key = (await front.stored.create(TERMS)).key.reveal()
    await front.reads(key)
    made_up = [f"sk-bf-{number:043}" for number in range(25)]
    for each in made_up:
        await front.reads(each)
    assert 0 == await front.reads(key)
    assert [0] * 10 == [await front.reads(each) for each in made_up[-10:]]
    assert 1 == await front.reads(made_up[0])


async def test_of_found_keys_the_least_used_goes_first() -> None:
    """Beyond the bound the key goes that has not come for the longest."""
    front = Front(max_keys=2)
    keys = [(await front.stored.create(TERMS)).key.reveal() for _ in range(3)]
    for key in (keys[0], keys[1], keys[0], keys[2]):
        await front.reads(key)
    assert [0, 0, 2] == [await front.reads(key) for key in (keys[0], keys[2], keys[1])]


# ------------------------------------------------------------------------------------------------ together


async def test_one_read_for_all_who_ask() -> None:
    """Who asks for what is being read waits for the same read, also if those who began it leave."""
    front = Front()
    issued = await front.stored.create(TERMS)
    front.watched.gate = asyncio.Event()
    asking = [asyncio.create_task(front.name_of(issued.key.reveal())) for _ in range(20)]
    await asyncio.sleep(0)
    for leaver in asking[:5]:
        leaver.cancel()
    await asyncio.wait(asking[:5])
    front.watched.gate.set()
    assert ["Team A"] * 15 == await asyncio.gather(*asking[5:])
    assert 2 == front.watched.reads


async def test_all_leave() -> None:
    """Where all who asked have gone, the read still ends, and a failure of it is nobody's fault."""
    front = Front()
    front.watched.gate = asyncio.Event()
    asking = asyncio.create_task(front.name_of(UNKNOWN))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    front.watched.fails = OUT_OF_REACH
    front.watched.gate.set()
    await asyncio.sleep(0)
    front.watched.fails = None
    assert await front.name_of(UNKNOWN) is None


# ------------------------------------------------------------------------------------------------ an outage


async def test_the_store_is_out_of_reach() -> None:
    """What is kept goes on to its end, and not beyond; nobody else gets in, and all do once the store is back."""
    front = Front()
    issued = await front.stored.create(TERMS)
    other = await front.stored.create(TERMS)
    key, record = issued.key.reveal(), issued.record
    await front.reads(key)
    front.watched.fails = OUT_OF_REACH
    front.clock.pass_by(SECONDS - 0.1)
    assert "Team A" == await front.name_of(key)
    front.clock.pass_by(0.1)
    for ask in (
        front.cached.get_by_key(key),
        front.cached.get_by_key(other.key.reveal()),
        front.cached.get_by_id(record.id),
    ):
        with pytest.raises(KeyStoreUnavailable):
            await ask
    front.watched.fails = None
    assert ["Team A"] * 2 == [await front.name_of(each) for each in (key, other.key.reveal())]


async def test_all_who_wait_are_told() -> None:
    """A read that fails fails for all who wait for it, and the next one is a new one."""
    front = Front()
    key = (await front.stored.create(TERMS)).key.reveal()
    front.watched.fails = OUT_OF_REACH
    results = await asyncio.gather(*(front.name_of(key) for _ in range(5)), return_exceptions=True)
    assert [KeyStoreUnavailable] * 5 == [type(result) for result in results]
    front.watched.fails = None
    assert "Team A" == await front.name_of(key)


async def test_what_is_kept_of_a_key() -> None:
    """What the cache gives is what the record gives for that very hash."""
    front = Front()
    old = await front.stored.create(TERMS)
    record = (await front.stored.rotate(old.record, DAY)).record
    found = await front.cached.get_by_key(old.key.reveal())
    assert isinstance(found, VirtualKey)
    assert record.key(old.record.key_sha256) == found
