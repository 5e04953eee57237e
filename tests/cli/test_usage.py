"""`usage` and `keys usage`: what was used, and what it cost."""

from __future__ import annotations

import csv
import json

import pytest

from tests.cli.fake import RECORD

KEYS = "/api/governance/virtual-keys"
USAGE = "/api/governance/usage"
OF_ONE = f"{KEYS}/vk-1/usage"
SUMS = {
    "calls": 10,
    "failed_calls": 1,
    "images": 12,
    "possible_images": 0,
    "tokens": {"text_in": 100, "image_in": 0, "image_out": 9_000, "text_out": 0},
    "cost_usd": 1.0,
    "estimated_usd": 0.0,
    "possibly_billed_usd": 0.0,
    "possibly_billed_calls": 0,
    "unpriced_calls": 0,
}


def line(**fields):
    """A line of a report."""
    return {**SUMS, "key_id": None, "admin": None, "deployment": None, "day": None, **fields}


def report(*lines, by="key", cursor=None, totals=None, **fields):
    """A page of a report."""
    return {
        "from": "2026-11-01",
        "to": "2026-11-22",
        "group_by": by,
        "usage": list(lines),
        "totals": {**SUMS, **(totals or {})},
        "next_cursor": cursor,
        **fields,
    }


def keys(**names):
    """The keys that there are, by id."""
    return {"virtual_keys": [{**RECORD, "id": id_, "name": name} for id_, name in names.items()], "next_cursor": None}


def cells(text):
    """A table's cells, row by row, without lines and notes."""
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]
    return [row for row in rows if len(row) > 2]


def test_keys_are_listed_by_name_the_dearest_first_with_shares_and_a_total(gateway):
    """Where the money goes is seen at a glance."""
    gateway.answers(
        "GET",
        USAGE,
        report(
            line(key_id="a", admin=False, cost_usd=25.0),
            line(key_id="b", admin=False, cost_usd=74.999),
            line(key_id="c", admin=False, cost_usd=0.001, calls=12_345),
            totals={"cost_usd": 100.0, "calls": 12_365},
        ),
    )
    gateway.answers("GET", KEYS, keys(a="Team A", b="Team B"))

    shown = gateway.run("usage").stdout

    assert "Usage from 2026-11-01 to 2026-11-22 (days in UTC), by key\n" in shown
    assert [
        ["Key", "ID", "Calls", "Failed", "Images", "Cost USD", "Share"],
        ["Team B", "b", "10", "1", "12", "75.00", "75%", "█" * 16],
        ["Team A", "a", "10", "1", "12", "25.00", "25%", "█" * 5],
        ["c", "c", "12,345", "1", "12", "< 0.01", "< 1%"],
        ["Total", "12,365", "1", "12", "100.00", "100%"],
    ] == cells(shown)


def test_keys_of_the_same_name_are_told_apart_and_admins_are_named(gateway):
    """Two teams may both call their key `test`, and an admin may be called like a key."""
    gateway.answers(
        "GET",
        USAGE,
        report(line(key_id="a", admin=False), line(key_id="b", admin=False), line(key_id="a", admin=True)),
    )
    gateway.answers("GET", KEYS, keys(a="test", b="test"))

    rows = cells(gateway.run("usage").stdout)

    assert {"test (a)", "test (b)", "a (admin)"} == {row[0] for row in rows[1:4]}


def test_an_unknown_cost_is_never_shown_as_nothing(gateway):
    """And the total says that it is too small."""
    gateway.answers(
        "GET",
        USAGE,
        report(
            line(key_id="a", admin=False, cost_usd=0.0, unpriced_calls=2),
            line(key_id="b", admin=False, cost_usd=3.0, unpriced_calls=1),
            totals={"cost_usd": 3.0, "unpriced_calls": 3, "estimated_usd": 0.5, "possibly_billed_usd": 0.25},
        ),
    )
    gateway.answers("GET", KEYS, keys())

    shown = gateway.run("usage").stdout

    assert ["≥ 3.00", "not known", "≥ 3.00"] == [row[5] for row in cells(shown)[1:3]] + [cells(shown)[3][4]]
    assert [
        "3 calls have no known price, so the real cost is higher.",
        "0.50 USD is estimated: Azure reported no tokens for these images.",
        "0.25 USD may never be billed: the end of these calls is not known.",
    ] == shown.splitlines()[-3:]


def test_where_nothing_costs_anything_shares_are_of_images(gateway):
    """An emulator's pictures have no price."""
    gateway.answers(
        "GET",
        USAGE,
        report(
            line(deployment="a", cost_usd=0.0, images=1),
            line(deployment="b", cost_usd=0.0, images=3),
            by="deployment",
            totals={"cost_usd": 0.0, "images": 4},
        ),
    )

    assert [["b", "75%"], ["a", "25%"]] == [
        [row[0], row[5]] for row in cells(gateway.run("usage", "--by", "deployment").stdout)[1:3]
    ]


def test_days_stay_in_their_order(gateway):
    """A month reads from its first day."""
    gateway.answers(
        "GET",
        USAGE,
        report(line(day="2026-11-01", cost_usd=1.0), line(day="2026-11-02", cost_usd=9.0), by="day"),
    )

    shown = gateway.run("usage", "--by", "day", "--from", "2026-11-01", "--to", "2026-11-22").stdout

    assert ["Day", "2026-11-01", "2026-11-02", "Total"] == [row[0] for row in cells(shown)]
    assert [{"group_by": "day", "from": "2026-11-01", "to": "2026-11-22", "limit": "1000"}] == [
        request.query for request in gateway.received
    ]


def test_a_report_without_lines_says_so(gateway):
    """An empty table says nothing."""
    gateway.answers("GET", USAGE, report(by="day"))

    assert "Nothing was used on these days.\n" == gateway.run("usage", "--by", "day").stdout.split("by day\n")[1]


def test_a_very_long_report_is_read_to_its_end(gateway):
    """Hundreds of lines, and one total."""
    lines = [line(deployment=f"d{number:04}", cost_usd=float(number)) for number in range(900)]
    gateway.answers(
        "GET",
        USAGE,
        report(*lines[:300], by="deployment", cursor="1"),
        report(*lines[300:600], by="deployment", cursor="2"),
        report(*lines[600:], by="deployment", totals={"cost_usd": 404_550.0}),
    )

    rows = cells(gateway.run("usage", "--by", "deployment").stdout)

    assert 902 == len(rows)
    assert ["d0899", "d0000"] == [rows[1][0], rows[900][0]]


def test_csv_has_every_column_and_exact_money(gateway):
    """What a spreadsheet adds up is not rounded; what would be a formula there is text."""
    gateway.answers(
        "GET",
        USAGE,
        report(line(key_id="a", admin=False, cost_usd=0.000_000_001), line(key_id="b", admin=False, cost_usd=1e6)),
    )
    gateway.answers("GET", KEYS, keys(a='=HYPERLINK("x"), "y"', b="Team B"))

    rows = list(csv.DictReader(gateway.run("usage", "--csv").stdout.splitlines()))

    assert ["key_id", "key_name", "admin", "calls"] == list(rows[0])[:4]
    assert ['\'=HYPERLINK("x"), "y"', "Team B"] == [row["key_name"] for row in rows]
    assert ["0.000000001", "1000000.000000000"] == [row["cost_usd"] for row in rows]
    assert "9000" == rows[0]["tokens_image_out"]


def test_json_is_the_gateways_own(gateway):
    """Names are not looked up for it."""
    gateway.answers("GET", USAGE, report(line(key_id="a", admin=False)))

    assert report(line(key_id="a", admin=False)) == json.loads(gateway.run("usage", "--json").stdout)
    assert [USAGE] == [request.path for request in gateway.received]


@pytest.mark.parametrize(
    "arguments", [["--by", "colour"], ["--from", "yesterday"], ["--to", "2026-02-30"], ["--month", "2026-13"]]
)
def test_odd_input_is_a_usage_error(gateway, arguments):
    """The option is named."""
    shown = gateway.run("usage", *arguments)

    assert 2 == shown.exit_code
    assert f"'{arguments[0]}'" in shown.stderr
    assert [] == gateway.received


def test_a_cost_that_is_no_number_is_an_error(gateway):
    """Rather than a table with nonsense in it."""
    gateway.answers("GET", USAGE, report(by="day", totals={"cost_usd": float("inf")}))

    assert "totals.cost_usd is missing or wrong" in gateway.run("usage", "--by", "day").stderr


def test_a_key_is_shown_with_what_is_left_of_its_limits(gateway):
    """Before what it used, day by day."""
    gateway.answers(
        "GET",
        OF_ONE,
        report(
            line(day="2026-11-02"),
            by="day",
            id="vk-1",
            in_flight=1,
            images={"limit": 2_000, "window": "1h", "remaining": 1_700, "reset_seconds": 60.5},
            requests=None,
            budget={
                "usd": 50.0,
                "window": "month",
                "spent_usd": 12.3,
                "reserved_usd": 0.2,
                "remaining_usd": 37.5,
                "renews_at": "2026-12-01T00:00:00Z",
            },
        ),
    )

    shown = gateway.run("keys", "usage", "vk-1").stdout

    budget = "37.50 of 50.00 USD left this month (12.30 spent, 0.20 reserved for calls in flight); renews 2026-12-01"
    assert [
        "ID         vk-1",
        f"Budget     {budget}",
        "Images     1,700 of 2,000 left in 1h",
        "Requests   not limited",
        "In flight  1",
        "",
    ] == shown.splitlines()[:6]
    assert ["Day", "2026-11-02", "Total"] == [row[0] for row in cells(shown)[-3:]]


def test_a_budget_overdrawn_is_below_nothing(gateway):
    """A call may cost more than was expected of it."""
    gateway.answers(
        "GET",
        OF_ONE,
        report(
            by="day",
            id="vk-1",
            budget={"usd": 5.0, "window": "total", "spent_usd": 5.5, "remaining_usd": -0.5, "renews_at": None},
        ),
    )

    shown = gateway.run("keys", "usage", "vk-1").stdout

    assert "Budget     -0.50 of 5.00 USD left in total (5.50 spent)\n" in shown


@pytest.mark.parametrize(
    ("arguments", "first", "last"),
    [
        (["--month", "2026-02"], "2026-02-01", "2026-02-28"),
        (["--from", "2026-01", "--to", "2026-03"], "2026-01-01", "2026-03-31"),
        (["--from", "2026-01-15", "--to", "2026-03"], "2026-01-15", "2026-03-31"),
    ],
)
@pytest.mark.parametrize("command", [("usage",), ("keys", "usage", "vk-1")])
def test_months_are_whole_months(gateway, command, arguments, first, last):
    """From their first to their last day."""
    gateway.answers("GET", USAGE if command == ("usage",) else OF_ONE, report(by="day", id="vk-1"))

    gateway.run(*command, "--by", "day", *arguments)

    assert [(first, last)] == [(request.query["from"], request.query["to"]) for request in gateway.received]


def test_a_month_beside_other_days_is_a_usage_error(gateway):
    """Which days are meant is not guessed."""
    shown = gateway.run("usage", "--month", "2026-01", "--to", "2026-01-15")

    assert 2 == shown.exit_code
    assert "give --month, or --from and --to, not both" in shown.stderr
