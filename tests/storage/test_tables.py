"""The contract of tables, held in memory and in Azurite alike: single rows, and races for one."""

from __future__ import annotations

import asyncio

import pytest

from core.storage.tables import Changed, Delete, Exists, Insert, Page, Put, Replace, Row
from tests.storage.rows import NEVER_STORED, row, stored


async def test_what_is_not_there_is_none(table) -> None:
    """Neither a table, nor a partition, nor a row needs to be there to be looked for."""
    assert await table.get("partition", "key") is None
    assert Page(rows=(), next_key=None) == await table.page("partition")
    await stored(table)
    assert await table.get("partition", "other") is None
    assert await table.get("other", "key") is None


async def test_a_row_is_read_as_it_was_written(table) -> None:
    """With the ETag that the change gave."""
    written = await stored(table, name="Team A", n=3)
    assert written.etag
    assert written == await table.get("partition", "key")
    assert (written,) == tuple((await table.page("partition")).rows)


async def test_what_a_change_gives_is_not_tied_to_what_was_given(table) -> None:
    """A row is what it was when it was stored, whatever its writer does to the values afterwards."""
    values = {"n": 1}
    await table.change(Insert(row=Row(partition="partition", key="key", values=values)))
    values["n"] = 2
    assert {"n": 1} == (await table.get("partition", "key")).values


async def test_an_insert_of_what_is_there(table) -> None:
    """Is refused, and changes nothing."""
    held = await stored(table, n=1)
    with pytest.raises(Exists):
        await table.change(Insert(row=row(n=2)))
    assert held == await table.get("partition", "key")


async def test_a_replace_leaves_nothing_of_the_old_row(table) -> None:
    """Values that the new row does not name are gone; the ETag is another."""
    held = await stored(table, old=1)
    (written,) = await table.change(Replace(row=row(etag=held.etag, new=2)))
    assert written.etag != held.etag
    assert {"new": 2} == written.values
    assert written == await table.get("partition", "key")


async def test_a_replace_of_what_was_changed_since(table) -> None:
    """Is refused, and changes nothing."""
    held = await stored(table, n=1)
    (newer,) = await table.change(Replace(row=row(etag=held.etag, n=2)))
    with pytest.raises(Changed):
        await table.change(Replace(row=row(etag=held.etag, n=3)))
    assert newer == await table.get("partition", "key")


async def test_a_replace_of_what_is_gone(table) -> None:
    """Is refused as well, in a table that is not there yet too, and brings nothing back."""
    with pytest.raises(Changed):
        await table.change(Replace(row=row(etag=NEVER_STORED)))
    held = await stored(table)
    await table.change(Delete(row=held))
    with pytest.raises(Changed):
        await table.change(Replace(row=held))
    assert await table.get("partition", "key") is None


async def test_a_put_asks_nothing(table) -> None:
    """It writes the row, whatever was there, and leaves nothing of it."""
    (first,) = await table.change(Put(row=row(old=1)))
    (second,) = await table.change(Put(row=row(new=2)))
    assert first.etag != second.etag
    assert {"new": 2} == (await table.get("partition", "key")).values
    (third,) = await table.change(Put(row=row(etag=NEVER_STORED)))
    assert third == await table.get("partition", "key")


async def test_a_delete_is_guarded_where_it_has_an_etag(table) -> None:
    """Of a row that was changed since, it is refused; without an ETag it asks only that there is a row."""
    held = await stored(table)
    await table.change(Replace(row=held))
    with pytest.raises(Changed):
        await table.change(Delete(row=held))
    assert await table.get("partition", "key") is not None
    assert (row(),) == tuple(await table.change(Delete(row=row())))
    assert await table.get("partition", "key") is None


@pytest.mark.parametrize("etag", ["", NEVER_STORED])
async def test_a_delete_of_what_is_gone(table, etag) -> None:
    """Is refused, guarded or not."""
    await stored(table, "other")
    with pytest.raises(Changed):
        await table.change(Delete(row=row(etag=etag)))


async def test_a_row_that_comes_back_is_another(table) -> None:
    """The ETag of a deleted row does not fit the next one of that key, even with the same values."""
    held = await stored(table, n=1)
    await table.change(Delete(row=held))
    await stored(table, n=1)
    with pytest.raises(Changed):
        await table.change(Replace(row=held))


async def test_tables_are_apart(tables) -> None:
    """A row of one table is not in another, and a name always means the same table."""
    await stored(tables.table("One"))
    assert await tables.table("Two").get("partition", "key") is None
    assert await tables.table("One").get("partition", "key") is not None


async def test_of_many_who_replace_one_row_one_gets_through(table) -> None:
    """Each has read the same ETag."""
    held = await stored(table, n=0)
    changes = [table.change(Replace(row=row(etag=held.etag, n=n))) for n in range(1, 11)]
    ends = await asyncio.gather(*changes, return_exceptions=True)
    assert 9 == sum(isinstance(end, Changed) for end in ends)
    ((winner,),) = [end for end in ends if not isinstance(end, BaseException)]
    assert winner == await table.get("partition", "key")


async def test_of_many_who_insert_one_row_one_gets_through(table) -> None:
    """Even where the table itself has to be made first."""
    ends = await asyncio.gather(*(stored(table, n=n) for n in range(10)), return_exceptions=True)
    assert 9 == sum(isinstance(end, Exists) for end in ends)
    (winner,) = [end for end in ends if isinstance(end, Row)]
    assert winner == await table.get("partition", "key")


async def test_counting_together_loses_nothing(table) -> None:
    """Ten who read, add one and try again where somebody was faster come to ten."""
    await stored(table, n=0)

    async def add_one() -> None:
        while True:
            held = await table.get("partition", "key")
            try:
                await table.change(Replace(row=row(etag=held.etag, n=held.values["n"] + 1)))
            except Changed:
                continue
            return

    await asyncio.gather(*(add_one() for _ in range(10)))
    assert {"n": 10} == (await table.get("partition", "key")).values
