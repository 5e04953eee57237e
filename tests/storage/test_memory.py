"""What is of memory alone: a bound on rows, so that a process does not grow for ever; and lazy stores."""

from __future__ import annotations

import pytest

from adapters.azure_storage.lazy import LazyStore
from core.storage.memory import MemoryTables
from core.storage.tables import Changed, Delete, Insert, Put, Replace
from tests.storage.rows import keys, row


async def kept(table) -> list[str]:
    """The keys of the partition."""
    return keys(await table.page("partition"))


async def test_the_row_that_was_written_longest_ago_goes() -> None:
    """Whatever its partition; reading a row does not keep it."""
    table = MemoryTables(max_rows={"Ledger": 3}).table("Ledger")
    await table.change(Insert(row=row("1")))
    await table.change(Insert(row=row("2", "other")))
    await table.change(Insert(row=row("3")))
    assert await table.get("partition", "1") is not None
    await table.change(Insert(row=row("4")))
    assert ["3", "4"] == await kept(table)
    await table.change(Insert(row=row("5")))
    assert ["3", "4", "5"] == await kept(table)
    assert await table.get("other", "2") is None


async def test_writing_a_row_again_keeps_it() -> None:
    """What is added up in place stays, while what is written once goes."""
    table = MemoryTables(max_rows={"Ledger": 2}).table("Ledger")
    (sums,) = await table.change(Put(row=row("sums", n=0)))
    for number in range(5):
        (sums, _) = await table.change(Replace(row=row("sums", etag=sums.etag, n=number)), Put(row=row(f"c{number}")))
    assert ["c4", "sums"] == await kept(table)


async def test_a_row_that_went_is_gone_for_its_writer() -> None:
    """It cannot be replaced, only written anew."""
    table = MemoryTables(max_rows={"Ledger": 1}).table("Ledger")
    (held,) = await table.change(Put(row=row("1")))
    await table.change(Put(row=row("2")))
    with pytest.raises(Changed):
        await table.change(Replace(row=held))


async def test_other_tables_have_no_bound() -> None:
    """Only those that are named."""
    table = MemoryTables(max_rows={"Ledger": 1}).table("Keys")
    await table.change(Put(row=row("1")), Put(row=row("2")))
    assert ["1", "2"] == await kept(table)


async def test_nothing_is_left_of_what_was_deleted() -> None:
    """A partition without rows takes no memory."""
    table = MemoryTables().table("Keys")
    await table.change(Put(row=row("1")), Put(row=row("2")))
    await table.change(Delete(row=row("1")), Delete(row=row("2")))
    assert ({}, {}) == (table._rows, table._keys)


async def test_lazy_tables_are_made_once_and_when_they_are_used() -> None:
    """Giving a table makes nothing yet; what is made then serves all tables."""
    made = []

    def make() -> MemoryTables:
        made.append(MemoryTables())
        return made[-1]

    late = LazyStore(make)
    one, again, two = late.table("One"), late.table("One"), late.table("Two")
    assert [] == made
    (written,) = await one.change(Insert(row=row("1")))
    assert written == await again.get("partition", "1")
    assert await two.get("partition", "1") is None
    assert 1 == len(made)
    assert [written] == list((await one.page("partition", first="1", before="2", limit=1)).rows)


def test_a_lazy_table_has_a_name_too() -> None:
    """A name that no table has is refused at once."""
    with pytest.raises(ValueError, match="no name of a table"):
        LazyStore(MemoryTables).table("a-b")
