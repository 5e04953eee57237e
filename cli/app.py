"""All commands together. A CommandError is shown on stderr and ends with status 1, a wrong usage with status 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import __version__, doctor, draw, jobs, keys, output, tokens, usage
from cli import options as opt
from cli.errors import CommandError
from cli.output import program_name, without_secrets
from cli.settings import DEFAULT_URL, KEY, TOKEN, URL

HELP = f"""Use and manage a running image gateway: virtual keys, limits, budgets, usage, jobs.

\b
Environment variables:
  {URL}          the gateway's address (default {DEFAULT_URL})
  {KEY}          your virtual key, to ask for images
  {TOKEN}  an admin token, to manage keys and see usage

There are no options for the last two: everybody on a machine can read the options of a running command.
"""


@contextmanager
def _show_errors() -> Iterator[None]:
    """Show errors without a traceback. A key that was typed in the wrong place is not repeated."""
    try:
        yield
    except CommandError as error:
        output.show_error(error)
        raise typer.Exit(1) from None
    except typer.TyperException as error:
        error.message = without_secrets(error.message)
        raise


class _Commands(TyperGroup):
    """All commands, with their errors in plain words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _show_errors():
            if any("\ud800" <= each <= "\udfff" for text in args for each in text):  # undecodable bytes (PEP 383)
                raise typer.BadParameter("an argument has bytes that are not text; set this terminal to UTF-8")
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _show_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    help=HELP,
    epilog=opt.examples(
        f"token --role admin      # for {TOKEN}",
        'keys create --name "Team A" --deployments gpt-image-2',
        "usage --month 2026-01",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command(
    "draw",
    epilog=opt.examples(
        'draw "A lighthouse at dawn" -d gpt-image-2', 'draw "A red fox" -d gpt-image-2 -o fox.png --size 1024x1536'
    ),
)(draw.draw)
app.add_typer(keys.app, name="keys")
app.add_typer(jobs.app, name="jobs")
app.command("usage", epilog=opt.examples("usage --by day", "usage --month 2026-01 --csv > january.csv"))(usage.usage)
keys.app.command("usage", epilog=opt.examples('keys usage "Team A"'))(usage.usage_of_key)
app.command("token", epilog=opt.examples(f"token --role admin      # for {TOKEN}"))(tokens.token)
app.command("doctor", epilog=opt.examples("doctor", "doctor --json"))(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"image-gateway {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run a command. Characters that the terminal's encoding lacks are replaced."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(prog_name=program_name())
