"""A report of usage as the admin API gives it, and as a table that whoever pays can read."""

import csv
import datetime as dt
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import Field

from cli.answers import Answer, money
from cli.screen import Cell, Column
from cli.text import plain

_COUNTS: Final = (
    Column("Calls", justify="right", wraps=False),
    Column("Failed", justify="right", wraps=False, needs_width=60),
    Column("Images", justify="right", wraps=False),
    Column("Cost USD", justify="right", wraps=False),
    Column("Share", justify="right", wraps=False),
    Column("", wraps=False, needs_width=72),
)
_NAMED: Final = {"key": "Key", "deployment": "Deployment", "day": "Day"}
_SUBJECTS: Final = frozenset({"key_id", "key_name", "admin", "deployment", "day"})
"""What a line is of; in a spreadsheet it comes first."""
_BAR_CHARACTERS: Final = 16
_FORMULA: Final = ("=", "+", "-", "@")
"""What a spreadsheet takes for a formula at the beginning of a cell."""


class Sums(Answer):
    """What calls come to."""

    calls: int
    failed_calls: int = 0
    images: int = 0
    cost_usd: float = 0.0
    estimated_usd: float = 0.0
    possibly_billed_usd: float = 0.0
    unpriced_calls: int = 0

    @property
    def cost_is_known(self) -> bool:
        """Whether anything is known of the cost."""
        return bool(self.cost_usd) or not self.unpriced_calls

    @property
    def cost(self) -> str:
        """The cost for people: one that is not known is never shown as nothing."""
        if not self.cost_is_known:
            return "not known"
        return f"≥ {money(self.cost_usd)}" if self.unpriced_calls else money(self.cost_usd)

    def notes(self) -> list[str]:
        """Say what must be known to whoever adds up the costs."""
        found = []
        if self.unpriced_calls:
            calls = "1 call has" if self.unpriced_calls == 1 else f"{self.unpriced_calls:,} calls have"
            found.append(f"{calls} no known price, so the whole costs more than is said here.")
        if self.estimated_usd:
            found.append(
                f"{money(self.estimated_usd)} USD of it is estimated: images that came without a count of tokens."
            )
        if self.possibly_billed_usd:
            found.append(
                f"{money(self.possibly_billed_usd)} USD of it may never be billed: calls whose end nobody saw."
            )
        return found


class Line(Sums):
    """What the calls of a key, to a deployment or on a day come to."""

    key_id: str | None = None
    admin: bool | None = None
    deployment: str | None = None
    day: str | None = None

    @property
    def subject(self) -> str:
        """The key's id, the deployment or the day."""
        return self.key_id or self.deployment or self.day or ""


class Report(Answer):
    """Lines, and what all of them come to."""

    first: dt.date = Field(alias="from")
    last: dt.date = Field(alias="to")
    group_by: str
    usage: list[Line]
    totals: Sums

    @property
    def title(self) -> str:
        """What it is about."""
        return f"Usage from {self.first} to {self.last} (days in UTC), by {self.group_by}"

    @property
    def columns(self) -> list[Column]:
        """The columns of its table."""
        subject = [Column(_NAMED.get(self.group_by, self.group_by))]
        ids = [Column("ID", wraps=False, needs_width=110)] if self.group_by == "key" else []
        return [*subject, *ids, *_COUNTS]

    def rows(self, names: Mapping[str, str], bar: str) -> list[dict[str, Cell]]:
        """Give its lines for people: days in their order, others the dearest first. `bar` is a bar's character."""
        lines = self.usage
        if self.group_by != "day":
            lines = sorted(lines, key=lambda line: (-line.cost_usd, -line.images, line.subject))
        subjects = _subjects(lines, names)
        whole = self.totals
        shares = [
            _share(line.cost_usd, whole.cost_usd) if whole.cost_usd else _share(line.images, whole.images)
            for line in lines
        ]
        longest = max(shares, default=0.0)
        return [
            {
                **self._cells(subject, line, share),
                "ID": line.subject,
                "": bar * round(_BAR_CHARACTERS * _share(share, longest)),
            }
            for line, subject, share in zip(lines, subjects, shares, strict=True)
        ]

    def total(self) -> dict[str, Cell]:
        """Give its last line."""
        return {**self._cells("Total", self.totals, 1.0 if self.usage else 0.0), "ID": "", "": ""}

    def _cells(self, subject: str, sums: Sums, share: float) -> dict[str, Cell]:
        return {
            self.columns[0].name: subject,
            "Calls": f"{sums.calls:,}",
            "Failed": f"{sums.failed_calls:,}",
            "Images": f"{sums.images:,}",
            "Cost USD": sums.cost,
            "Share": _percent(share) if sums.cost_is_known else "",
        }


def _percent(share: float) -> str:
    return "< 1%" if 0 < share < 0.005 else f"{share:.0%}"


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _subjects(lines: Iterable[Line], names: Mapping[str, str]) -> list[str]:
    """Call each line what people call it; keys of the same name also by their ids."""
    found = [(line, names.get(line.subject, line.subject) if line.admin is False else line.subject) for line in lines]
    times = Counter(name for _, name in found)
    return [
        f"{name} (admin)" if line.admin else f"{name} ({line.subject})" if times[name] > 1 else name
        for line, name in found
    ]


def csv_of(lines: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """Write lines for a spreadsheet, with all that the gateway says of them; money with all its decimals."""
    flat = [_flat(line, names) for line in lines]
    columns = sorted(dict.fromkeys(name for line in flat for name in line), key=_SUBJECTS.__contains__, reverse=True)
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return written.getvalue()


def _flat(line: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in line.items():
        if value is None:
            continue
        if isinstance(value, dict):
            found |= {f"{name}_{inner}": _cell(each) for inner, each in value.items()}
        else:
            found[name] = _cell(value)
        if name == "key_id":
            found["key_name"] = _cell(names.get(str(value), ""))
    return found


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9f}"
    text = plain(value) if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
