"""What a row can hold and be called, in memory and in Azurite alike."""

from __future__ import annotations

import datetime as dt

import pytest

from core.storage.tables import Delete, Insert, Put, Replace, Row, safe
from tests.storage.rows import keys, row, stored


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        2**31,
        2**63 - 1,
        -(2**63),
        True,
        False,
        0.0,
        3.0,
        -0.1,
        1e300,
        "",
        " ",
        "2026-01-01T00:00:00Z",
        "Zoë 🦊 \u2028 \"quoted\" 'and' \\ /",
        "line\nbreak\ttab\x00nul",
        "x" * 32_768,
        b"",
        b"\x00\xff",
        b"x" * 65_536,
        dt.datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12]!a}",
)
async def test_a_value_comes_back_as_it_went(table, value) -> None:
    """With its type, from a read and from a page alike."""
    await stored(table, value=value)
    alone = (await table.get("partition", "key")).values["value"]
    (in_page,) = (await table.page("partition")).rows
    assert (value, value) == (alone, in_page.values["value"])
    assert (type(value), type(value)) == (type(alone), type(in_page.values["value"]))


async def test_a_time_of_another_zone(table) -> None:
    """Comes back as the same moment."""
    zone = dt.timezone(dt.timedelta(hours=2))
    await stored(table, at=dt.datetime(2026, 1, 1, 2, tzinfo=zone))
    assert {"at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)} == (await table.get("partition", "key")).values


async def test_a_row_without_values(table) -> None:
    """Is a row."""
    await stored(table)
    assert {} == (await table.get("partition", "key")).values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": 2**63}, "64 bits"),
        ({"n": -(2**63) - 1}, "64 bits"),
        ({"text": "x" * 32_769}, "longer than 32768 characters"),
        ({"text": "🦊" * 16_385}, "longer than 32768 characters"),
        ({"text": "\ud800"}, "half a character"),
        ({"data": b"x" * 65_537}, "longer than 65536 bytes"),
        ({"at": dt.datetime(2026, 1, 1)}, "without a zone"),  # noqa: DTZ001 -- that is what is wrong
        ({"nothing": None}, "NoneType"),
        ({"list": [1]}, "list"),
        ({"a-b": 1}, "no name of a value"),
        ({"Timestamp": 1}, "no name of a value"),
        ({f"n{number}": 1 for number in range(253)}, "252 are the most"),
    ],
    ids=str,
)
async def test_what_a_row_cannot_hold(table, values, message) -> None:
    """Is a mistake in the program, and nothing is stored."""
    with pytest.raises(ValueError, match=message):
        await table.change(Put(row=Row(partition="partition", key="key", values=values)))
    assert await table.get("partition", "key") is None


@pytest.mark.parametrize("text", ["O'Brien''s", "a&b=c+d", "!\"$'()*+,-.:;<=>@[]^_`{|}~", "'", "x" * 512, "id~a|b.c"])
async def test_odd_keys(table, text) -> None:
    """Keys may hold every visible ASCII character but five; quotes end nothing."""
    for key, partition in ((text, "partition"), ("key", text)):
        held = await stored(table, key, partition, n=1)
        assert held == await table.get(partition, key)
        assert [key] == keys(await table.page(partition, first=key, before=f"{key}!"))
        (held,) = await table.change(Replace(row=held))
        await table.change(Put(row=held), Insert(row=row("~other", partition)))
        await table.change(Delete(row=row(key, partition)))
        assert await table.get(partition, key) is None


@pytest.mark.parametrize("text", ["", "a/b", "a\\b", "a#b", "a?b", "a%b", "a b", "é", "\n", "x" * 513])
async def test_what_is_no_key(table, text) -> None:
    """Is a mistake in the program: whatever comes from outside goes through `safe`."""
    for ask in (
        lambda: table.get(text, "key"),
        lambda: table.get("partition", text),
        lambda: table.page(text),
        lambda: table.change(Put(row=row(text))),
        lambda: table.change(Put(row=row("key", text))),
    ):
        with pytest.raises(ValueError, match="no key"):
            await ask()


@pytest.mark.parametrize("text", ["a/b?c#d%e\\f", "Zoë 🦊", "a~b|c", "\x00\x7f\n", "_5f", "team a"])
async def test_keys_made_safe(table, text) -> None:
    """Whatever the text, `safe` makes a key of it."""
    held = await stored(table, safe(text), safe(text))
    assert held == await table.get(safe(text), safe(text))


@pytest.mark.parametrize("name", ["", "ab", "1abc", "a_b", "a-b", "Täbel", "a" * 64])
def test_what_is_no_table(tables, name) -> None:
    """A table's name is 3 to 63 letters and digits, a letter first."""
    with pytest.raises(ValueError, match="no name of a table"):
        tables.table(name)
