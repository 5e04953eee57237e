"""`jobs …`: pictures that are ordered now and drawn later."""

import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import options as given
from cli import screen
from cli.answers import read
from cli.connection import Gateway, as_caller
from cli.failure import Failure
from cli.job import JobRecord
from cli.options import AsJson
from cli.paths import images_path, job_path
from cli.pictures import save_pictures
from cli.refusals import LOOK_FIRST

app = typer.Typer(no_args_is_help=True, help="Order pictures, see what became of them, cancel what has not begun.")


def _job_id(text: str) -> str:
    if text.strip() in {"", ".", ".."}:
        raise ValueError("give the job's id, as `jobs submit` shows it")
    return text.strip()


JobId = Annotated[
    str, typer.Argument(metavar="ID", parser=given.parsed(_job_id), help="The job's id; `jobs submit` shows it.")
]
Save = Annotated[
    Path | None,
    typer.Option(metavar="DIR", file_okay=False, help="Save the pictures there, by the job's id and their number."),
]


@app.command()
def submit(
    *,
    deployment: Annotated[str, typer.Option(metavar="NAME", help="The deployment that draws.")],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What to draw.")],
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Such as 1024x1024, or auto.")] = None,
    quality: Annotated[str | None, typer.Option(metavar="NAME", help="Such as low, medium or high.")] = None,
    n: Annotated[int | None, typer.Option("--n", metavar="COUNT", help="How many pictures.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A name for this order: given again, it is the same job.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Order pictures. With --save they are waited for; a job that fails then ends this command with its error."""
    wanted = {"model": deployment, "prompt": prompt, "size": size, "quality": quality, "n": n}
    body = {name: value for name, value in wanted.items() if value is not None}
    with as_caller() as gateway:
        answer = _ordered(gateway, deployment, body, idempotency_key or secrets.token_urlsafe(16))
        if wait or save is not None:
            answer = _ended(gateway, read(JobRecord, answer).id)
    _show(answer, as_json=as_json, save=save, must_succeed=wait or save is not None)


@app.command()
def show(job_id: JobId, *, save: Save = None, as_json: AsJson = False) -> None:
    """Show a job, and with --save save its pictures."""
    with as_caller() as gateway:
        answer = gateway.get(job_path(job_id))
    _show(answer, as_json=as_json, save=save, must_succeed=save is not None)


@app.command()
def cancel(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Cancel a job that has not begun: it is not drawn, and costs nothing."""
    with as_caller() as gateway:
        answer = gateway.delete(job_path(job_id), etag=None)
    _show(answer, as_json=as_json)


def _ordered(gateway: Gateway, deployment: str, body: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        headers = {"prefer": "respond-async", "idempotency-key": name}
        return gateway.post(images_path(deployment), body, headers)
    except Failure as failure:
        if failure.cure != LOOK_FIRST:
            raise
        cure = f"Run it again with --idempotency-key {name}: whatever became of it, it is ordered once."
        raise Failure(failure.wrong, cure) from None


def _ended(gateway: Gateway, job_id: str) -> dict[str, Any]:
    screen.note(f"Ordered. It goes on without this command: python -m cli jobs show {job_id}")
    while True:
        answer, seconds = gateway.watch(job_path(job_id))
        if seconds is None:
            return answer
        time.sleep(seconds)


def _show(answer: dict[str, Any], *, as_json: bool, save: Path | None = None, must_succeed: bool = False) -> None:
    record = read(JobRecord, answer)
    if must_succeed and record.status != "succeeded":
        raise record.failure()
    if as_json:
        screen.show_json(answer)
    else:
        screen.show_fields(record.fields())
    if save is not None and record.answer is not None:
        for path in save_pictures(record.id, record.answer.data, save):
            screen.note(f"Saved {path}")
