"""Transactions in memory and in Azurite alike: all their changes, or none."""

from __future__ import annotations

import pytest

from core.storage.tables import MAX_CHANGES, Changed, Delete, Exists, Insert, Put, Replace
from tests.storage.rows import NEVER_STORED, keys, row, stored


async def test_a_transaction_makes_all_its_changes(table) -> None:
    """Of every kind, each with its own new ETag, given in the order of the changes."""
    replaced, deleted = await stored(table, "replaced", n=1), await stored(table, "deleted")
    changed = await table.change(
        Replace(row=row("replaced", etag=replaced.etag, n=2)),
        Insert(row=row("inserted", n=3)),
        Delete(row=deleted),
        Put(row=row("put", n=4)),
    )
    assert deleted == changed[2]
    assert [changed[1], changed[3], changed[0]] == list((await table.page("partition")).rows)
    assert [3, 4, 2] == [each.values["n"] for each in (await table.page("partition")).rows]


async def test_a_transaction_in_a_table_that_is_not_there(table) -> None:
    """Makes it first."""
    await table.change(Insert(row=row("a")), Insert(row=row("b")))
    assert ["a", "b"] == keys(await table.page("partition"))


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (Insert(row=row("there")), Exists),
        (Replace(row=row("there", etag=NEVER_STORED)), Changed),
        (Replace(row=row("gone", etag=NEVER_STORED)), Changed),
        (Delete(row=row("there", etag=NEVER_STORED)), Changed),
        (Delete(row=row("gone")), Changed),
    ],
    ids=["insert", "replace", "replace-gone", "delete", "delete-gone"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_refused_change_undoes_the_transaction(table, refused, error, place) -> None:
    """Wherever it stands; the error is what it would be alone."""
    held = await stored(table, "there", n=1)
    changes = [Put(row=row("a")), Insert(row=row("b"))]
    changes.insert(place, refused)
    with pytest.raises(error):
        await table.change(*changes)
    assert (held,) == tuple((await table.page("partition")).rows)


async def test_the_largest_transaction(table) -> None:
    """It may have a hundred changes."""
    await table.change(*(Insert(row=row(f"{number:03}")) for number in range(MAX_CHANGES)))
    assert MAX_CHANGES == len((await table.page("partition")).rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "1 to 100 changes, not 0"),
        ([Put(row=row(str(number))) for number in range(MAX_CHANGES + 1)], "1 to 100 changes, not 101"),
        ([Put(row=row("a", "one")), Put(row=row("b", "two"))], "one partition"),
        ([Put(row=row("a")), Delete(row=row("a"))], "a row once"),
        ([Replace(row=row("a"))], "no ETag"),
    ],
    ids=["empty", "too-many", "two-partitions", "one-row-twice", "replace-without-etag"],
)
async def test_what_is_no_transaction(table, changes, message) -> None:
    """Is a mistake in the program, and nothing is done."""
    with pytest.raises(ValueError, match=message):
        await table.change(*changes)
    assert await table.get("partition", "a") is None
