"""The commands, put together. A Failure is shown on stderr and ends with status 1; a wrong usage with 2."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from cli import jobs, keys, screen, tokens, usage
from cli.access import DEFAULT_URL, KEY, MINT, TOKEN, URL
from cli.failure import Failure
from cli.text import without_secrets

HELP = f"""Manage a running image gateway: keys, limits, budgets, and what was spent; and order pictures.

Environment variables say where and who. {URL} is the gateway's address, {DEFAULT_URL} where it is not set.
{TOKEN} is an admin's token, {KEY} the virtual key of whoever orders pictures; there is no option for either, because
anyone on this machine can read the options of a running command. Mint a token where the gateway's GATEWAY_JWT_…
settings are at hand:

    {MINT}
"""


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Show what went wrong, in the place of a traceback; a key pasted where it does not belong is not repeated."""
    try:
        yield
    except Failure as failure:
        screen.show_failure(failure)
        raise typer.Exit(1) from None
    except typer.TyperException as error:
        error.message = without_secrets(error.message)
        raise


class _Commands(TyperGroup):
    """All commands, with their errors in plain words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what comes before the command."""
        with _errors_shown():
            if any(map(_is_broken, args)):
                raise typer.BadParameter("there are bytes in it that are not text; is this terminal set to UTF-8?")
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _errors_shown():
            return super().invoke(ctx)


def _is_broken(text: str) -> bool:
    """Whether Python could not read what was typed, and kept its bytes as lone surrogates (PEP 383)."""
    return any("\ud800" <= one <= "\udfff" for one in text)


app = typer.Typer(
    cls=_Commands,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys")
app.add_typer(jobs.app, name="jobs")
app.command("usage")(usage.usage)
app.command("token")(tokens.mint)
