"""`draw`: ask the gateway for an image, show its progress, save it, and show it in the terminal."""

import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from cli import options as opt
from cli import output, terminal_images
from cli.client import GatewayClient, images_path, parse
from cli.errors import CommandError, ErrorBody, OutcomeUnknown, failed, rejected
from cli.images import Image, image_format, save
from cli.output import format_seconds
from cli.terminal_images import Protocol

MAX_NAME_CHARACTERS: Final = 40

Event = dict[str, Any]


def draw(
    *,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the image shows, in quotes.")],
    deployment: opt.Deployment,
    size: opt.Size = None,
    quality: opt.Quality = None,
    n: opt.Count = None,
    background: Annotated[str | None, typer.Option(metavar="NAME", help="transparent, opaque or auto.")] = None,
    file_format: Annotated[str | None, typer.Option("--format", metavar="NAME", help="png, jpeg or webp.")] = None,
    fallbacks: Annotated[
        list[str] | None,
        typer.Option("--fallback", metavar="NAME", help="A deployment to ask if this one fails. Repeat it for more."),
    ] = None,
    partials: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            min=0,
            max=3,
            help="How many unfinished images to show, 0 to 3. Each costs some 100 tokens.",
        ),
    ] = 2,
    save_as: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="The file or folder. Default: a file named by the prompt."),
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option("--show", metavar="HOW", help="auto, kitty, iterm2, sixel, blocks (of text) or none."),
    ] = Protocol.AUTO,
    idempotency_key: opt.IdempotencyKey = None,
) -> None:
    """Ask for an image, save it, and show it in the terminal.

    Prints the path of each saved file on stdout, and everything else on stderr.
    """
    given: Event = {"model": deployment, "prompt": prompt, "size": size, "quality": quality, "n": n}
    given |= {"background": background, "output_format": file_format, "fallbacks": fallbacks or None}
    body = {name: value for name, value in given.items() if value is not None}
    body |= {"stream": True, "partial_images": partials}
    stdout = output.console()
    shows = terminal_images.choose(protocol, stdout)
    started = time.monotonic()
    with GatewayClient.from_environment(admin=False) as client:
        completed, error = _receive(client, body, idempotency_key, previews=shows is not Protocol.NONE)
    for number, event in enumerate(completed, 1):
        content = parse(Image, event).read()
        path = _path(save_as, prompt, number if len(completed) > 1 else 0, image_format(content))
        save(content, path)
        terminal_images.show(content, shows, stdout)
        output.show(str(path))
        output.note(_summary(event, time.monotonic() - started))
    if error is not None:
        raise error


def _receive(
    client: GatewayClient, body: Event, idempotency_key: str | None, *, previews: bool
) -> tuple[list[Event], CommandError | None]:
    """Give the completed images, and the error that ended the stream, if there is one. Raises CommandError."""
    deployment: str = body["model"]
    completed: list[Event] = []
    headers = {"idempotency-key": idempotency_key or secrets.token_urlsafe(16)}
    try:
        with output.progress(f"Waiting for {deployment}", after_seconds=0) as progress:
            for event in client.stream(images_path(deployment), body, headers):
                kind = event.get("type", "")
                if kind == "error":
                    return completed, _error(event, client.settings.credential)
                if kind.endswith(".completed"):
                    completed.append(event)
                elif kind.endswith(".partial_image"):
                    number = event.get("partial_image_index", 0) + 1
                    progress.text = f"Generating with {deployment}, got unfinished image {number}"
                    progress.preview = _preview(event) if previews else None
        if completed:
            return completed, None
        problem = "The stream ended without an image."
    except OutcomeUnknown as error:
        problem = error.problem
    hint = f"Run it again with --idempotency-key {headers['idempotency-key']}: the image is then not bought twice."
    return completed, CommandError(problem, hint)


def _preview(event: Event) -> Text | None:
    image = terminal_images.open_image(parse(Image, event).read())
    return None if image is None else terminal_images.half_blocks(image, output.console(stderr=True))


def _error(event: Event, credential: str) -> CommandError:
    """Make the error for the last event of a stream that has failed."""
    error = ErrorBody.parse(event, credential) or ErrorBody("the stream ended with an error")
    status = event.get("status_code")
    return rejected(error) if isinstance(status, int) and status < 500 else failed(error)


def _path(given: Path | None, prompt: str, number: int, ending: str) -> Path:
    """Decide where an image is saved. A name that is made of the prompt never replaces a file."""
    counted = f"-{number}" if number else ""
    if given is not None and not given.is_dir():
        return given.with_name(f"{given.stem}{counted}{given.suffix or f'.{ending}'}")
    words = re.sub(r"\W+", "-", prompt.lower())[:MAX_NAME_CHARACTERS].strip("-") or "image"
    folder = given or Path()
    names = (f"{words}{counted}{again}.{ending}" for again in ("", *(f"-{times}" for times in range(2, 10_000))))
    return next(path for name in names if not (path := folder / name).exists())


def _summary(event: Event, seconds: float) -> str:
    """Say who generated the image, how, in what time and for what cost."""
    extra = event.get("extra_fields")
    extra = extra if isinstance(extra, dict) else {}
    cost = extra.get("cost_usd")
    details = [event.get("size"), event.get("quality"), f"in {format_seconds(seconds)}"]
    details.append(f"{cost:.4f} USD" if isinstance(cost, float) else None)
    by = f" by {extra['deployment']}" if "deployment" in extra else ""
    return f"Generated{by}: {', '.join(str(detail) for detail in details if detail)}"
