"""Pages in memory and in Azurite alike: their order, their bounds, and one after the other."""

from __future__ import annotations

import pytest

from core.storage.tables import MAX_CHANGES, Insert
from tests.storage.rows import keys, row, stored


async def test_a_page_is_in_the_order_of_code_points(table) -> None:
    """Whatever the order in which rows were written; upper case before lower case, `~` last."""
    ordered = ["!", "-", "1", "10", "2", "A", "Z", "_", "a", "a-b", "aB", "ab", "z", "|", "~"]
    await table.change(*(Insert(row=row(key)) for key in sorted(ordered, key=lambda key: key[::-1])))
    assert ordered == keys(await table.page("partition"))


async def test_a_page_is_of_one_partition(table) -> None:
    """Others are not in it, not even those whose name begins alike."""
    for partition in ("a", "a~b", "b"):
        await stored(table, "key", partition)
    assert ["a"] == [each.partition for each in (await table.page("a")).rows]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, ["c~1", "c~2", "c~20", "s~1"]),
        ({"first": "c~2"}, ["c~2", "c~20", "s~1"]),
        ({"before": "c~2"}, ["c~1"]),
        ({"first": "c~", "before": "c~~"}, ["c~1", "c~2", "c~20"]),
        ({"first": "c~1!", "before": "c~2!"}, ["c~2"]),
        ({"first": "t"}, []),
        ({"before": "c"}, []),
        ({"first": "s", "before": "c"}, []),
    ],
)
async def test_a_page_within_bounds(table, bounds, expected) -> None:
    """`first` belongs to it, `before` does not; a bound need not be a key, and bounds the wrong way round are empty."""
    await table.change(*(Insert(row=row(key)) for key in ("c~1", "c~2", "c~20", "s~1")))
    page = await table.page("partition", **bounds)
    assert (expected, None) == (keys(page), page.next_key)


async def test_page_after_page(table) -> None:
    """Going on at `next_key` gives every row once, in order, whatever is written behind meanwhile."""
    await table.change(*(Insert(row=row(f"{number:02}")) for number in range(10)))
    first = await table.page("partition", limit=4, before="08")
    await stored(table, "000")
    second = await table.page("partition", first=first.next_key, limit=4, before="08")
    assert [f"{number:02}" for number in range(8)] == keys(first) + keys(second)


async def test_a_key_that_goes_on_like_the_last_of_a_page(table) -> None:
    """Is on the next page."""
    await table.change(*(Insert(row=row(key)) for key in ("a", "a!", "a-", "ab")))
    page = await table.page("partition", limit=1)
    assert ["a!", "a-", "ab"] == keys(await table.page("partition", first=page.next_key))


async def test_more_rows_than_a_page_has(table) -> None:
    """A thousand rows are a page; the rest is on the next."""
    written = [f"{number:04}" for number in range(1005)]
    for begin in range(0, len(written), MAX_CHANGES):
        await table.change(*(Insert(row=row(key)) for key in written[begin : begin + MAX_CHANGES]))
    first = await table.page("partition")
    second = await table.page("partition", first=first.next_key)
    assert (written[:1000], written[1000:], None) == (keys(first), keys(second), second.next_key)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_of_no_size(table, limit) -> None:
    """Is a mistake in the program."""
    with pytest.raises(ValueError, match="1 to 1000 rows"):
        await table.page("partition", limit=limit)
