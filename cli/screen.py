"""What is shown: tables and sentences for people, JSON for scripts. Answers on stdout, everything else on stderr.

Nothing from the gateway is read as markup: names of keys may be anything.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cli.failure import Failure

_UNBROKEN: Final = 10_000
"""The width of what is no terminal: one line for each row, so that it can be searched line by line."""


Cell = str | list[str]
"""What stands in a table: text, or several; these stand below each other where there is little room."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    justify: Literal["left", "right"] = "left"
    wraps: bool = True
    needs_width: int = 0
    """Left out on terminals that are narrower."""
    most_width: int | None = None
    """Wrapped at this width on terminals; rows of a pipe are never wrapped."""


def out() -> Console:
    """Stdout as it is now."""
    return _console(stderr=False)


def show_json(value: Any) -> None:
    """Print JSON for scripts, in ASCII: whatever reads it, and whatever terminal it ends up in."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def say(text: str) -> None:
    """Print an answer in a sentence."""
    out().print(Text(plain(text)))


def show_secret(secret: str) -> None:
    """Print a secret on a line of its own, in one piece however narrow the terminal is."""
    out().print("", Text(f"  {secret}", "bold green"), "", sep="\n", soft_wrap=True)


def note(text: str) -> None:
    """Print something to know, on stderr."""
    _console(stderr=True).print(Text(plain(text)))


def show_failure(failure: Failure) -> None:
    """Print what is wrong and what to do, on stderr."""
    console = _console(stderr=True)
    console.print(Text.assemble(("Error: ", "bold red"), failure.wrong))
    if failure.cure:
        console.print(Text(failure.cure))


def show_fields(fields: Mapping[str, str], *, stderr: bool = False) -> None:
    """Print one record: a line for each field."""
    console = _console(stderr=stderr)
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "bold"), plain(value)), soft_wrap=True)


def show_table(
    columns: Sequence[Column], rows: Iterable[Mapping[str, Cell]], *, total: Mapping[str, Cell] | None = None
) -> None:
    """Print a table: for each row a cell by the name of each column, text from anywhere; a total under a line."""
    console = out()
    shown = [column for column in columns if console.width >= column.needs_width]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        widest = column.most_width if console.is_terminal else None
        made.add_column(
            column.name, justify=column.justify, no_wrap=not column.wraps, overflow="fold", max_width=widest
        )
    between = "\n" if console.is_terminal else ", "
    for row in rows:
        made.add_row(*(_cell(row[column.name], between) for column in shown))
    if total is not None:
        made.add_section()
        made.add_row(*(_cell(total[column.name], between) for column in shown))
    with console.capture() as captured:
        console.print(made)
    sys.stdout.write("".join(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines()))


def _cell(cell: Cell, between: str) -> Text:
    parts = [cell] if isinstance(cell, str) else cell
    return Text(between.join(map(plain, parts)))


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console
