"""What is shown: tables and sentences for people, JSON for scripts. Results go to stdout, everything else to stderr.

Nothing from the gateway is read as markup: the names of keys may be anything.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from cli.errors import CommandError

UNLIMITED_COLUMNS: Final = 10_000
"""The width where there is no terminal: one line for each row, so that scripts can search it line by line."""

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
"""Not printable by themselves, but emoji and some scripts need them."""
_SECRETS: Final = re.compile(r"sk-bf-[A-Za-z0-9_-]+|eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""Virtual keys, and JWTs: a JSON object in base64url and two more parts (RFC 7519)."""

Cell = str | list[str]
"""What stands in a table. The items of a list stand below each other on a terminal."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    justify: Literal["left", "right"] = "left"
    wraps: bool = True
    min_terminal_width: int = 0
    """The column is left out on narrower terminals."""
    max_terminal_width: int | None = None
    """Cells are wrapped at this width on a terminal."""
    styles: Mapping[str, str] = MappingProxyType({})
    """The style of each cell that has this text."""


def printable(text: str) -> str:
    """Replace what is not printable, such as control characters and escape sequences."""
    return "".join(each if each.isprintable() or each in _JOINERS else _REPLACEMENT for each in text)


def without_secrets(text: str) -> str:
    """Remove what looks like a key or token: error messages are kept and passed on."""
    return _SECRETS.sub("…", text)


def program_name() -> str:
    """How this process was started, so that the commands in hints can be copied."""
    return "python -m cli" if Path(sys.argv[0]).parts[-2:] == ("cli", "__main__.py") else "image-gateway"


def token_command() -> str:
    """Give the shell line that creates an admin token."""
    return f"export GATEWAY_ADMIN_TOKEN=$({program_name()} token --role admin)"


def format_usd(amount: float) -> str:
    """Write an amount with two decimals. An amount below a cent is not shown as 0."""
    return "< 0.01" if 0 < amount < 0.01 else f"{amount:,.2f}"


def format_time(time: dt.datetime) -> str:
    """Write a time in UTC; midnight as the date alone."""
    utc = time.astimezone(dt.UTC)
    return utc.date().isoformat() if utc.time() == dt.time() else utc.strftime("%Y-%m-%d %H:%M UTC")


def format_seconds(seconds: float) -> str:
    """Write a duration: `4.2 s`, `12 s`, `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def show_json(value: Any) -> None:
    """Print JSON in ASCII, which every program and terminal can read."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show(text: str) -> None:
    """Print a sentence of the result."""
    console().print(Text(printable(text)))


def show_secret(secret: str) -> None:
    """Print a secret on a line of its own, in one piece however narrow the terminal is."""
    console().print("", Text(f"  {printable(secret)}", "bold green"), "", sep="\n", soft_wrap=True)


def note(*lines: str) -> None:
    """Print a remark on stderr."""
    for line in lines:
        console(stderr=True).print(Text(printable(line)))


def show_error(error: CommandError) -> None:
    """Print a problem, and what to do, on stderr."""
    stderr = console(stderr=True)
    stderr.print(Text.assemble(("Error: ", "bold red"), error.problem))
    if error.hint:
        stderr.print(Text(error.hint))


def show_fields(fields: Mapping[str, str], *, stderr: bool = False) -> None:
    """Print one record, a line for each field."""
    target = console(stderr=stderr)
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        target.print(Text.assemble((f"{name:<{width}}  ", "bold"), printable(value)), soft_wrap=True)


def show_table(
    columns: Sequence[Column], rows: Iterable[Mapping[str, Cell]], *, total: Mapping[str, Cell] | None = None
) -> None:
    """Print a table. Each row has a cell under the name of each column; the total stands under a line."""
    stdout = console()
    shown = [column for column in columns if stdout.width >= column.min_terminal_width]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        width = column.max_terminal_width if stdout.is_terminal else None
        table.add_column(
            column.name, justify=column.justify, no_wrap=not column.wraps, overflow="fold", max_width=width
        )
    separator = "\n" if stdout.is_terminal else ", "
    for row in rows:
        table.add_row(*(_cell(column, row[column.name], separator) for column in shown))
    if total is not None:
        table.add_section()
        table.add_row(*(_cell(column, total[column.name], separator) for column in shown))
    with stdout.capture() as captured:
        stdout.print(table)
    sys.stdout.write("".join(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines()))


@dataclass
class Progress:
    """What is shown while something takes long. Both fields may change at any time."""

    text: str
    preview: Text | None = None


@contextmanager
def progress(text: str, *, after_seconds: float = 1.0) -> Iterator[Progress]:
    """Show on a terminal's stderr what is waited for, and since when. Within another progress it shows nothing."""
    shown, target, started = Progress(text), console(stderr=True), time.monotonic()
    if not target.is_terminal or _in_progress.locked():
        yield shown
        return
    spinner = Spinner("line" if target.options.ascii_only else "dots")

    def render() -> RenderableType:
        spinner.update(text=f"{shown.text}, {format_seconds(time.monotonic() - started)}")
        return spinner if shown.preview is None else Group(shown.preview, spinner)

    live = Live(get_renderable=render, console=target, transient=True, refresh_per_second=8)
    timer = threading.Timer(after_seconds, live.start)
    with _in_progress:
        timer.start()
        try:
            yield shown
        finally:
            timer.cancel()
            timer.join()
            live.stop()


_in_progress: Final = threading.Lock()


def console(*, stderr: bool = False) -> Console:
    """Make a console for stdout or stderr as they are now."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = UNLIMITED_COLUMNS
    return made


def _cell(column: Column, cell: Cell, separator: str) -> Text:
    text = separator.join(map(printable, [cell] if isinstance(cell, str) else cell))
    return Text(text, column.styles.get(text, ""))
