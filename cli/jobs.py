"""`jobs …`: submit a job that generates images later, see how far it is, save its images, cancel it."""

import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import AwareDatetime

from cli import options as opt
from cli import output
from cli.client import ApiModel, GatewayClient, images_path, parse, url_path
from cli.errors import CommandError, ErrorBody, OutcomeUnknown, invalid_response
from cli.images import Image, image_format, save
from cli.output import format_time, printable, program_name

app = typer.Typer(
    no_args_is_help=True,
    help="Submit jobs that generate images, show them, cancel them.",
    epilog=opt.examples('jobs submit -d gpt-image-2 --prompt "A red fox" --save images'),
)

_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


class Result(ApiModel):
    """The answer of a job that has succeeded."""

    data: tuple[Image, ...]


class Job(ApiModel):
    """A job as the gateway returns it."""

    id: str
    status: str
    deployment: str
    created_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    answer: Result | None = None
    error: Any = None

    def fields(self) -> dict[str, str]:
        fields = {
            "ID": self.id,
            "State": self.status,
            "Deployment": self.deployment,
            "Submitted": format_time(self.created_at),
        }
        if self.ended_at is not None:
            fields["Ended"] = format_time(self.ended_at)
        if self.error is not None:
            fields["Error"] = str(ErrorBody.parse(self.error) or "not known")
        for number, image in enumerate(self.answer.data if self.answer else (), 1):
            fields[f"Image {number}"] = (
                image.url or f"no link; save it: {program_name()} jobs show {self.id} --save DIR"
            )
        return fields

    def to_error(self) -> CommandError:
        """Say why it has no images."""
        state = printable(self.status)
        return CommandError(
            f"The job {self.id} has the state {state}: {self.fields().get('Error', 'it has no images.')}"
        )


def _parse_job_id(text: str) -> str:
    if text.strip() in {"", ".", ".."}:
        raise typer.BadParameter("give the job's id, as `jobs submit` shows it")
    return text.strip()


JobId = Annotated[
    str, typer.Argument(metavar="ID", parser=_parse_job_id, help="The job's id, as `jobs submit` shows it.")
]
Save = Annotated[
    Path | None,
    typer.Option(metavar="DIR", file_okay=False, help="Save the images in this folder, named by the job's id."),
]


@app.command(epilog=opt.examples('jobs submit -d gpt-image-2 --prompt "A red fox" --save images'))
def submit(
    *,
    deployment: opt.Deployment,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What the image shows.")],
    size: opt.Size = None,
    quality: opt.Quality = None,
    n: opt.Count = None,
    idempotency_key: opt.IdempotencyKey = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    save: Save = None,
    as_json: opt.AsJson = False,
) -> None:
    """Submit a job. --save waits for its images; if the job fails, this command fails with its error."""
    waits = wait or save is not None
    given = {"model": deployment, "prompt": prompt, "size": size, "quality": quality, "n": n}
    body = {name: value for name, value in given.items() if value is not None}
    with GatewayClient.from_environment(admin=False) as client:
        response = _submit(client, deployment, body, idempotency_key or secrets.token_urlsafe(16))
        if waits:
            response = _wait_for(client, parse(Job, response).id)
    _show(response, as_json=as_json, folder=save, must_succeed=waits)


@app.command(epilog=opt.examples("jobs show 83dcd1bd25bfd8aeb2da2d1d4a51b7b5 --save images"))
def show(job_id: JobId, *, save: Save = None, as_json: opt.AsJson = False) -> None:
    """Show a job. --save also saves its images."""
    with GatewayClient.from_environment(admin=False) as client:
        response = client.get(url_path("jobs", job_id))
    _show(response, as_json=as_json, folder=save, must_succeed=save is not None)


@app.command(epilog=opt.examples("jobs cancel 83dcd1bd25bfd8aeb2da2d1d4a51b7b5"))
def cancel(job_id: JobId, *, as_json: opt.AsJson = False) -> None:
    """Cancel a job that has not started. It costs nothing."""
    with GatewayClient.from_environment(admin=False) as client:
        response = client.delete(url_path("jobs", job_id))
    _show(response, as_json=as_json)


def _submit(client: GatewayClient, deployment: str, body: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        headers = {"prefer": "respond-async", "idempotency-key": name}
        return client.post(images_path(deployment), body, headers)
    except OutcomeUnknown as error:
        hint = f"Run it again with --idempotency-key {name}: the gateway then has one job, whatever happened."
        raise CommandError(error.problem, hint) from None


def _wait_for(client: GatewayClient, job_id: str) -> dict[str, Any]:
    output.note("Submitted. The job goes on without this command. To see it:", f"  {program_name()} jobs show {job_id}")
    with output.progress(f"The job {job_id} is waiting to start", after_seconds=0) as progress:
        while True:
            response, wait_seconds = client.poll(url_path("jobs", job_id))
            if wait_seconds is None:
                return response
            progress.text = f"The job {job_id} is {printable(parse(Job, response).status)}"
            time.sleep(wait_seconds)


def _show(response: dict[str, Any], *, as_json: bool, folder: Path | None = None, must_succeed: bool = False) -> None:
    job = parse(Job, response)
    if must_succeed and job.status != "succeeded":
        raise job.to_error()
    if as_json:
        output.show_json(response)
    else:
        output.show_fields(job.fields())
    if folder is None or job.answer is None:
        return
    if not _ID.fullmatch(job.id):  # it becomes a part of a path
        raise invalid_response("its id is not one of a job")
    for number, image in enumerate(job.answer.data, 1):
        content = image.read()
        target = folder / f"{job.id}-{number}.{image_format(content)}"
        save(content, target)
        output.note(f"Saved {target}")
