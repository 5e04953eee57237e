"""`usage` and `keys usage`: what was drawn, what it cost, and how a key stands with its limits."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from cli import options as given
from cli import screen, values
from cli.answers import read
from cli.connection import Gateway, the_gateway
from cli.options import AsJson, KeyId
from cli.paths import KEYS, USAGE, key_path
from cli.records import KeyRecord
from cli.report import Report, csv_of
from cli.standing import Standing

LINES: Final = 1_000
"""How many are asked for at once, the most there may be: the gateway makes the whole report for each page."""
BAR: Final = "█"
ASCII_BAR: Final = "#"


class By(StrEnum):
    """What a report has a line for."""

    KEY = "key"
    DEPLOYMENT = "deployment"
    DAY = "day"


class OfAKey(StrEnum):
    """What a report on one key has a line for."""

    DEPLOYMENT = "deployment"
    DAY = "day"


From = Annotated[
    Any,
    typer.Option(
        "--from",
        metavar="DATE",
        parser=given.parsed(values.day),
        help="The first day, in UTC; if not given, the first of the month.",
    ),
]
To = Annotated[
    Any,
    typer.Option("--to", metavar="DATE", parser=given.parsed(values.day), help="The last day; if not given, today."),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV with every column, for a spreadsheet.")]


def usage(
    *,
    first: From = None,
    last: To = None,
    by: Annotated[By, typer.Option(metavar="WHAT", help="A line for each key, deployment or day.")] = By.KEY,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Show what all callers used and what it cost, by key, deployment or day."""
    with the_gateway() as gateway:
        answer = _report(gateway, USAGE, by, first, last)
        names = _names(gateway) if by is By.KEY and not as_json else {}
    _show(answer, names, as_csv=as_csv, as_json=as_json)


def usage_of_key(
    key_id: KeyId,
    *,
    first: From = None,
    last: To = None,
    by: Annotated[OfAKey, typer.Option(metavar="WHAT", help="A line for each day or deployment.")] = OfAKey.DAY,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Show how a key stands with its limits now, and what it used and cost."""
    with the_gateway() as gateway:
        answer = _report(gateway, key_path(key_id, "usage"), by, first, last)
    if not as_csv and not as_json:
        screen.show_fields(read(Standing, answer).fields())
        screen.say("")
    _show(answer, {}, as_csv=as_csv, as_json=as_json)


def _report(gateway: Gateway, path: str, by: StrEnum, first: str | None, last: str | None) -> dict[str, Any]:
    asked = {"group_by": by.value, "from": first, "to": last}
    query = {name: value for name, value in asked.items() if value is not None}
    return gateway.pages(path, "usage", query, size=LINES)


def _names(gateway: Gateway) -> dict[str, str]:
    """What the keys are called that there still are."""
    keys = gateway.pages(KEYS, "virtual_keys")["virtual_keys"]
    return {record.id: record.name for record in (read(KeyRecord, key) for key in keys)}


def _show(answer: dict[str, Any], names: Mapping[str, str], *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        screen.show_json(answer)
        return
    report = read(Report, answer)
    if as_csv:
        sys.stdout.write(csv_of(answer["usage"], names))
        return
    screen.say(report.title)
    if not report.usage:
        screen.say("Nothing was used on these days.")
        return
    bar = ASCII_BAR if screen.out().options.ascii_only else BAR
    screen.show_table(report.columns, report.rows(names, bar), total=report.total())
    for line in report.totals.notes():
        screen.say(line)
