"""Stored keys: what is kept of them, how they are found, and that a change is all or nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools

import pytest
from msgspec.structs import replace

from core.auth.key_record import RECORD_ID, STORED_KEY, KeyTerms, hash_row
from core.auth.virtual_keys import hash_secret
from core.domain.limits import Budget, BudgetWindow, Limits, Rate
from core.storage.tables import Changed, Insert
from tests.auth.storing import DAY, NOW, TERMS, Wall, stored_keys

EVERYTHING = KeyTerms(
    name="Team Ä \U0001f98a",
    deployments=("gpt-image-2", "gpt-image-1.5"),
    active=False,
    expires_at=dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    limits=Limits(
        requests=Rate(limit=60, window_seconds=60),
        images=Rate(limit=10**9, window_seconds=31 * 86_400),
        budget=Budget(nanos=10**15, window=BudgetWindow.TOTAL),
    ),
    metadata={"cost_center": "4711", "": "\x00"},
)


# ------------------------------------------------------------------------------------------------ a new key


async def test_new_key(tables) -> None:
    """A key is 256 random bits after its prefix; its record shows how it begins, and holds its hash."""
    issued = await stored_keys(tables).create(TERMS)
    key, record = issued.key.reveal(), issued.record
    assert STORED_KEY.fullmatch(key)
    assert RECORD_ID.fullmatch(record.id)
    assert (key[:10], hash_secret(key), NOW, NOW) == (
        record.prefix,
        record.key_sha256,
        record.created_at,
        record.updated_at,
    )


async def test_the_key_is_nowhere(tables) -> None:
    """No row holds the key."""
    issued = await stored_keys(tables).create(TERMS)
    page = await tables.table("GatewayKeys").page("keys")
    assert 2 == len(page.rows)
    assert issued.key.reveal()[10:] not in repr(page.rows)


@pytest.mark.parametrize("terms", [TERMS, EVERYTHING, KeyTerms(name="x")], ids=["plain", "everything", "nothing"])
async def test_what_was_decided_is_kept(tables, terms: KeyTerms) -> None:
    """A record is read as it was made, by its id and by its key."""
    stored = stored_keys(tables)
    issued = await stored.create(terms)
    get_by_id = await stored.get(issued.record.id)
    assert issued.record == get_by_id == await stored.get_by_hash(hash_secret(issued.key.reveal()))
    assert get_by_id is not None
    assert terms == get_by_id.terms


async def test_unknown(tables) -> None:
    """What was never made is not there."""
    stored = stored_keys(tables)
    assert [None, None] == [
        await stored.get("vk-00000000000000000000"),
        await stored.get_by_hash(hash_secret("sk-bf-x")),
    ]


async def test_ids_sort_by_age(tables) -> None:
    """Keys are listed in the order in which they were made, page by page."""
    wall = Wall()
    stored = stored_keys(tables, wall)
    ids = []
    for _ in range(5):
        ids.append((await stored.create(TERMS)).record.id)
        wall.pass_by(0.001)
    first = await stored.page(limit=3)
    second = await stored.page(first_id=first.next_id or "", limit=3)
    assert ids == [record.id for record in (*first.records, *second.records)]
    assert (3, None) == (len(first.records), second.next_id)


async def test_an_id_that_is_taken(tables) -> None:
    """Where chance gives an id again, or one of the setting, another is made; it is not asked for ever."""
    chance = itertools.chain(["0" * 8, "0" * 8, "1" * 8], itertools.repeat("2" * 8))
    taken = f"vk-{int(NOW.timestamp() * 1000):012x}{'1' * 8}"
    stored = stored_keys(tables, taken=[taken], random_hex=lambda _: next(chance))
    ids = [(await stored.create(TERMS)).record.id[-8:] for _ in range(2)]
    assert ["0" * 8, "2" * 8] == ids
    with pytest.raises(AssertionError):
        await stored.create(TERMS)


# ------------------------------------------------------------------------------------------------ changes


async def test_change(tables) -> None:
    """Other terms take the place of the old ones; the key, its id and when it was made stay."""
    wall = Wall()
    stored = stored_keys(tables, wall)
    issued = await stored.create(TERMS)
    wall.pass_by(60)
    changed = await stored.change(issued.record, EVERYTHING)
    expected = replace(issued.record, terms=EVERYTHING, updated_at=NOW + dt.timedelta(minutes=1), etag=changed.etag)
    assert expected == changed == await stored.get_by_hash(hash_secret(issued.key.reveal()))
    assert issued.record.etag != changed.etag


async def test_changes_in_a_row(tables) -> None:
    """What a change gives can be changed again at once."""
    stored = stored_keys(tables)
    record = (await stored.create(TERMS)).record
    for number in range(3):
        record = await stored.change(record, replace(TERMS, name=f"{number}"))
    assert record == await stored.get(record.id)


async def test_of_two_changes_one_gets_through(tables) -> None:
    """Who changes what somebody else has changed meanwhile is told, and nothing is written."""
    stored = stored_keys(tables)
    record = (await stored.create(TERMS)).record
    names = ["one", "two", "three"]
    results = await asyncio.gather(
        *(stored.change(record, replace(TERMS, name=name)) for name in names), return_exceptions=True
    )
    won = [result for result in results if not isinstance(result, BaseException)]
    assert 1 == len(won)
    assert [Changed] * 2 == [type(result) for result in results if isinstance(result, BaseException)]
    assert won[0] == await stored.get(record.id)


@pytest.mark.parametrize("how", ["change", "rotate", "delete"])
async def test_what_is_gone_cannot_be_changed(tables, how: str) -> None:
    """A deleted record is not changed, rotated or deleted again."""
    stored = stored_keys(tables)
    record = (await stored.create(TERMS)).record
    await stored.delete(record)
    with pytest.raises(Changed):
        await {
            "change": lambda: stored.change(record, TERMS),
            "rotate": lambda: stored.rotate(record, DAY),
            "delete": lambda: stored.delete(record),
        }[how]()


# ------------------------------------------------------------------------------------------------ rotation


async def test_rotation(tables) -> None:
    """A new secret for the same record; the old one is found until the grace time is over, and ends with it."""
    stored = stored_keys(tables)
    old = await stored.create(TERMS)
    new = await stored.rotate(old.record, DAY)
    key, old_hash = new.key.reveal(), hash_secret(old.key.reveal())
    assert (old.record.id, key[:10], hash_secret(key)) == (new.record.id, new.record.prefix, new.record.key_sha256)
    found = await stored.get_by_hash(old_hash)
    assert new.record == found == await stored.get_by_hash(hash_secret(key))
    assert found is not None
    old_key, new_key = found.key(old_hash), found.key(hash_secret(key))
    assert old_key is not None
    assert new_key is not None
    assert (NOW + DAY, None) == (old_key.expires_at, new_key.expires_at)


@pytest.mark.parametrize(
    ("expires_at", "expected"),
    [(NOW + DAY / 2, NOW + DAY / 2), (NOW + DAY * 2, NOW + DAY), (None, NOW + DAY)],
    ids=["the key ends first", "the grace ends first", "the key never ends"],
)
async def test_whichever_ends_first(tables, expires_at: dt.datetime | None, expected: dt.datetime) -> None:
    """The old secret ends with its grace time or with the key, whichever is first."""
    stored = stored_keys(tables)
    old = await stored.create(replace(TERMS, expires_at=expires_at))
    record = (await stored.rotate(old.record, DAY)).record
    key = record.key(old.record.key_sha256)
    assert key is not None
    assert (expected, expires_at) == (key.expires_at, record.terms.expires_at)


async def test_rotation_without_grace(tables) -> None:
    """With no grace time the old secret ends at once, and leaves no row."""
    stored = stored_keys(tables)
    old = await stored.create(TERMS)
    new = await stored.rotate(old.record, dt.timedelta())
    assert await stored.get_by_hash(hash_secret(old.key.reveal())) is None
    assert (None, None) == (new.record.previous_sha256, new.record.previous_until)
    assert 2 == len((await tables.table("GatewayKeys").page("keys")).rows)


async def test_rotated_twice(tables) -> None:
    """Only the last secret has a grace time; the one before it ends at once, and leaves no row."""
    stored = stored_keys(tables)
    first = await stored.create(TERMS)
    second = await stored.rotate(first.record, DAY)
    third = await stored.rotate(second.record, DAY)
    found = [await stored.get_by_hash(hash_secret(issued.key.reveal())) for issued in (first, second, third)]
    assert [None, third.record, third.record] == found
    assert 3 == len((await tables.table("GatewayKeys").page("keys")).rows)


async def test_delete(tables) -> None:
    """A deleted key leaves nothing: not its record, nor a way from either of its secrets."""
    stored = stored_keys(tables)
    old = await stored.create(TERMS)
    new = await stored.rotate(old.record, DAY)
    await stored.delete(new.record)
    assert [None] * 3 == [
        await stored.get(new.record.id),
        await stored.get_by_hash(old.record.key_sha256),
        await stored.get_by_hash(new.record.key_sha256),
    ]
    assert () == tuple((await tables.table("GatewayKeys").page("keys")).rows)


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_hash_that_its_record_no_longer_has(tables, is_there: bool) -> None:
    """A row that was left behind leads to no key: what counts is the record, if there still is one."""
    stored = stored_keys(tables)
    record_id = (await stored.create(TERMS)).record.id if is_there else "vk-gone"
    left = hash_secret("sk-bf-of-yesterday")
    await tables.table("GatewayKeys").change(Insert(row=hash_row(left, record_id)))
    assert await stored.get_by_hash(left) is None


async def test_a_hash_of_another_record() -> None:
    """A record gives a key for its own hashes only."""
    record = (await stored_keys().create(TERMS)).record
    assert record.key(hash_secret("sk-bf-another")) is None
    assert record.key() == record.key(record.key_sha256)
