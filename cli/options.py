"""The options that commands about keys share, each said once, and what they ask of a record."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from cli import values
from core.access.credentials import KEY_PREFIX

_T = TypeVar("_T")


def parsed(read: Callable[[str], _T]) -> Callable[[str], _T]:
    """Make a reader of `values` a parser of options: what it refuses is a usage error, in its words."""

    def parse(text: str) -> _T:
        try:
            return read(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def key_id(text: str) -> str:
    """Read a key's id, which becomes a segment of a path."""
    if text.strip() in {"", ".", ".."}:
        raise ValueError("give the key's id, as `keys list` shows it")
    if text.strip().startswith(KEY_PREFIX):
        raise ValueError("this is a key, not its id; `keys list` shows the ids")
    return text.strip()


KeyId = Annotated[str, typer.Argument(metavar="ID", parser=parsed(key_id), help="The key's id; `keys list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Deployments = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAMES",
        help="What the key may call: names of deployments with commas between them, or '*' (in quotes) for all.",
    ),
]
Images = Annotated[
    Any,
    typer.Option(metavar="COUNT/WINDOW", parser=parsed(values.rate), help="At most so many images: 20/1h, 500/day."),
]
ImagesPerMinute = Annotated[
    Any, typer.Option(metavar="COUNT", parser=parsed(values.per_minute), help="The same as --images COUNT/1m.")
]
Requests = Annotated[
    Any,
    typer.Option(metavar="COUNT/WINDOW", parser=parsed(values.rate), help="At most so many requests: 60/1m, 1000/day."),
]
RequestsPerMinute = Annotated[
    Any, typer.Option(metavar="COUNT", parser=parsed(values.per_minute), help="The same as --requests COUNT/1m.")
]
Budget = Annotated[
    Any,
    typer.Option(
        metavar="USD/WINDOW",
        parser=parsed(values.budget),
        help="What the key may spend, in US dollars: 50/month; a window is a day, week, month (UTC) or total.",
    ),
]
Expires = Annotated[
    Any,
    typer.Option(
        metavar="DATE", parser=parsed(values.moment), help="From when on the key no longer counts (UTC): 2027-01-01."
    ),
]
Metadata = Annotated[
    list[Any] | None,
    typer.Option(
        metavar="NAME=VALUE",
        parser=parsed(values.pair),
        help="A note of your own, such as cost_center=4711; may be given several times.",
    ),
]


def deployments_of(given: list[str] | None) -> list[str] | None:
    """Read the names; None where none were given."""
    if not given:
        return None
    try:
        return values.names(given)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--deployments") from None


def one_of(what: str, rate: Any, per_minute: Any) -> Any:
    """Give the limit that was asked in one of two ways, or None."""
    if rate is not None and per_minute is not None:
        raise typer.BadParameter(f"give --{what} or --{what}-per-minute, not both", param_hint=f"--{what}")
    return per_minute if rate is None else rate
