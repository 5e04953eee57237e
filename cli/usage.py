"""`usage` and `keys usage`: what was used, what it cost, and what is left of a key's limits."""

import csv
import datetime as dt
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from pydantic import Field

from cli import options as opt
from cli import output
from cli.client import KEYS_PATH, USAGE_PATH, ApiModel, GatewayClient, key_path, parse
from cli.key_record import KeyRecord, LimitStatus
from cli.keys import find_key_id
from cli.output import Cell, Column, format_usd, printable

PAGE_SIZE: Final = 1_000
"""The most lines that one response may have. The gateway makes the whole report anew for each page."""
BAR_CHARACTERS: Final = 16

_SUBJECT: Final = {"key": "Key", "deployment": "Deployment", "day": "Day"}
_COLUMNS: Final = (
    Column("Calls", justify="right", wraps=False),
    Column("Failed", justify="right", wraps=False, min_terminal_width=60),
    Column("Images", justify="right", wraps=False),
    Column("Cost USD", justify="right", wraps=False),
    Column("Share", justify="right", wraps=False),
    Column("", wraps=False, min_terminal_width=72),
)
_FIRST_IN_CSV: Final = frozenset({"key_id", "key_name", "admin", "deployment", "day"})
_FORMULA: Final = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would run as a formula."""


class GroupBy(StrEnum):
    """What a report has a line for."""

    KEY = "key"
    DEPLOYMENT = "deployment"
    DAY = "day"


From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DATE",
        parser=opt.parse_first_day,
        help="The first day, in UTC. Default: the 1st of the month.",
    ),
]
To = Annotated[
    str | None, typer.Option("--to", metavar="DATE", parser=opt.parse_last_day, help="The last day. Default: today.")
]
Month = Annotated[
    str | None,
    typer.Option("--month", metavar="MONTH", parser=opt.parse_month, help="A whole month, such as 2026-01."),
]
By = Annotated[GroupBy, typer.Option(metavar="WHAT", help="A line for each key, deployment or day.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV with all columns, for a spreadsheet.")]


class Sums(ApiModel):
    """Numbers of calls and images, and their cost."""

    calls: int
    failed_calls: int = 0
    images: int = 0
    cost_usd: float = 0.0
    estimated_usd: float = 0.0
    possibly_billed_usd: float = 0.0
    unpriced_calls: int = 0

    def cost_is_known(self) -> bool:
        """Whether at least a part of the cost is known."""
        return bool(self.cost_usd) or not self.unpriced_calls

    def cost(self) -> str:
        """Give the cost for people. A cost that is not known is never shown as 0."""
        if not self.cost_is_known():
            return "not known"
        return f"≥ {format_usd(self.cost_usd)}" if self.unpriced_calls else format_usd(self.cost_usd)

    def notes(self) -> list[str]:
        """Give the sentences without which the cost would be misread."""
        notes = []
        if self.unpriced_calls:
            calls = "1 call has" if self.unpriced_calls == 1 else f"{self.unpriced_calls:,} calls have"
            notes.append(f"{calls} no known price, so the real cost is higher.")
        if self.estimated_usd:
            notes.append(
                f"{format_usd(self.estimated_usd)} USD is estimated: Azure reported no tokens for these images."
            )
        if self.possibly_billed_usd:
            notes.append(
                f"{format_usd(self.possibly_billed_usd)} USD may never be billed: the end of these calls is not known."
            )
        return notes


class Line(Sums):
    """The sums of one key, deployment or day."""

    key_id: str | None = None
    admin: bool | None = None
    deployment: str | None = None
    day: str | None = None

    @property
    def subject(self) -> str:
        """The key's id, the deployment or the day."""
        return self.key_id or self.deployment or self.day or ""


class Report(ApiModel):
    """Lines, and the sums of all of them."""

    first: dt.date = Field(alias="from")
    last: dt.date = Field(alias="to")
    group_by: str
    usage: list[Line]
    totals: Sums

    def columns(self) -> list[Column]:
        ids = [Column("ID", wraps=False, min_terminal_width=110)] if self.group_by == "key" else []
        return [Column(self._subject()), *ids, *_COLUMNS]

    def rows(self, names: Mapping[str, str], bar: str) -> list[dict[str, Cell]]:
        """Give its rows: days in their order, all else by cost. `bar` is the character that bars are made of."""
        lines = self.usage
        if self.group_by != "day":
            lines = sorted(lines, key=lambda line: (-line.cost_usd, -line.images, line.subject))
        by_cost = bool(self.totals.cost_usd)
        shares = [
            _share(line.cost_usd, self.totals.cost_usd) if by_cost else _share(line.images, self.totals.images)
            for line in lines
        ]
        longest = max(shares, default=0.0)
        return [
            {
                **self._cells(label, line, share),
                "ID": line.subject,
                "": bar * round(BAR_CHARACTERS * _share(share, longest)),
            }
            for line, label, share in zip(lines, _labels(lines, names), shares, strict=True)
        ]

    def total(self) -> dict[str, Cell]:
        return {**self._cells("Total", self.totals, 1.0), "ID": "", "": ""}

    def _subject(self) -> str:
        return _SUBJECT.get(self.group_by, self.group_by)

    def _cells(self, label: str, sums: Sums, share: float) -> dict[str, Cell]:
        return {
            self._subject(): label,
            "Calls": f"{sums.calls:,}",
            "Failed": f"{sums.failed_calls:,}",
            "Images": f"{sums.images:,}",
            "Cost USD": sums.cost(),
            "Share": ("< 1%" if 0 < share < 0.005 else f"{share:.0%}") if sums.cost_is_known() else "",
        }


def usage(
    *,
    first: From = None,
    last: To = None,
    month: Month = None,
    by: By = GroupBy.KEY,
    as_csv: AsCsv = False,
    as_json: opt.AsJson = False,
) -> None:
    """Show what was used and what it cost, by key, deployment or day."""
    query = _query(by, first, last, month)
    with GatewayClient.from_environment(admin=True) as client:
        response = client.get_all(USAGE_PATH, "usage", query, page_size=PAGE_SIZE)
        names = _key_names(client) if by is GroupBy.KEY and not as_json else {}
    _show(response, names, as_csv=as_csv, as_json=as_json)


def usage_of_key(
    key: opt.KeyReference,
    *,
    first: From = None,
    last: To = None,
    month: Month = None,
    by: By = GroupBy.DAY,
    as_csv: AsCsv = False,
    as_json: opt.AsJson = False,
) -> None:
    """Show what is left of a key's limits, what it used, and what that cost."""
    query = _query(by, first, last, month)
    with GatewayClient.from_environment(admin=True) as client:
        path = key_path(find_key_id(client, key), "usage")
        response = client.get_all(path, "usage", query, page_size=PAGE_SIZE)
    if not as_csv and not as_json:
        output.show_fields(parse(LimitStatus, response).fields())
        output.show("")
    _show(response, {}, as_csv=as_csv, as_json=as_json)


def _query(by: StrEnum, first: str | None, last: str | None, month: str | None) -> dict[str, str]:
    if month is not None:
        if first is not None or last is not None:
            raise typer.BadParameter("give --month, or --from and --to, not both", param_hint="--month")
        first, last = opt.parse_first_day(month), opt.parse_last_day(month)
    given = {"group_by": by.value, "from": first, "to": last}
    return {name: value for name, value in given.items() if value is not None}


def _key_names(client: GatewayClient) -> dict[str, str]:
    """Give the names of the keys that exist now, by their ids."""
    records = [parse(KeyRecord, entry) for entry in client.get_all(KEYS_PATH, "virtual_keys")["virtual_keys"]]
    return {record.id: record.name for record in records}


def _show(response: dict[str, Any], names: Mapping[str, str], *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        output.show_json(response)
        return
    report = parse(Report, response)
    if as_csv:
        sys.stdout.write(to_csv(response["usage"], names))
        return
    output.show(f"Usage from {report.first} to {report.last} (days in UTC), by {report.group_by}")
    if not report.usage:
        output.show("Nothing was used on these days.")
        return
    bar = "#" if output.console().options.ascii_only else "█"
    output.show_table(report.columns(), report.rows(names, bar), total=report.total())
    for note in report.totals.notes():
        output.show(note)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _labels(lines: Iterable[Line], names: Mapping[str, str]) -> list[str]:
    """Give each line its name; keys of the same name also show their ids."""
    named = [(line, names.get(line.subject, line.subject) if line.admin is False else line.subject) for line in lines]
    uses = Counter(name for _, name in named)
    return [
        f"{name} (admin)" if line.admin else f"{name} ({line.subject})" if uses[name] > 1 else name
        for line, name in named
    ]


def to_csv(lines: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """Write lines as CSV with everything that the gateway says of them, money with all its decimals."""
    rows = [_csv_row(line, names) for line in lines]
    columns = sorted(dict.fromkeys(name for row in rows for name in row), key=_FIRST_IN_CSV.__contains__, reverse=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(line: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    row: dict[str, str] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            row |= {f"{name}_{inner}": _csv_cell(each) for inner, each in value.items()}
        elif value is not None:
            row[name] = _csv_cell(value)
        if name == "key_id" and value is not None:
            row["key_name"] = _csv_cell(names.get(str(value), ""))
    return row


def _csv_cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9f}"
    if not isinstance(value, str):
        return json.dumps(value)
    return f"'{printable(value)}" if value.startswith(_FORMULA) else printable(value)
