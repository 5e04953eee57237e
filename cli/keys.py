"""`keys …`: virtual keys, from handing them out to taking them back."""

import datetime as dt
from typing import Annotated, Any

import typer

from cli import options as given
from cli import screen, values
from cli.answers import not_understood, read
from cli.connection import Gateway, the_gateway
from cli.failure import ChangedMeanwhile, Failure
from cli.options import AsJson, KeyId
from cli.paths import KEYS, key_path
from cli.records import COLUMNS, KeyRecord
from cli.terms import Terms
from cli.text import plain
from cli.usage import usage_of_key

app = typer.Typer(no_args_is_help=True, help="Hand out virtual keys, change them, take them back.")


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option(metavar="TEXT", help="Whose key it is: a team, an application.")],
    deployments: given.Deployments = None,
    images: given.Images = None,
    images_per_minute: given.ImagesPerMinute = None,
    requests: given.Requests = None,
    requests_per_minute: given.RequestsPerMinute = None,
    budget: given.Budget = None,
    expires: given.Expires = None,
    metadata: given.Metadata = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it: once, for the gateway keeps only its hash.

    A limit that is not given does not exist; without --deployments the key may call nothing yet.
    """
    terms = Terms(
        name=name,
        deployments=given.deployments_of(deployments),
        expires_at=expires,
        images=given.one_of("images", images, images_per_minute),
        requests=given.one_of("requests", requests, requests_per_minute),
        budget=budget,
        metadata=dict(metadata or ()),
    )
    with the_gateway() as gateway:
        answer = gateway.post(KEYS, terms.over({}))
    _show_secret(answer, "This is the new key.", as_json=as_json)


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List all keys."""
    with the_gateway() as gateway:
        answer = gateway.pages(KEYS, "virtual_keys")
    if as_json:
        screen.show_json(answer)
        return
    now = _now()
    rows = [read(KeyRecord, entry).row(now) for entry in answer["virtual_keys"]]
    if rows:
        screen.show_table(COLUMNS, rows)
    else:
        screen.say("There are no keys yet. Make one: python -m cli keys create --name … --deployments …")


@app.command()
def show(key_id: KeyId, *, as_json: AsJson = False) -> None:
    """Show one key. Its secret was shown when it was made, and cannot be shown again."""
    with the_gateway() as gateway:
        answer = gateway.get(key_path(key_id))
    _show(answer, as_json=as_json)


@app.command()
def update(
    key_id: KeyId,
    *,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Another name.")] = None,
    deployments: given.Deployments = None,
    images: given.Images = None,
    images_per_minute: given.ImagesPerMinute = None,
    requests: given.Requests = None,
    requests_per_minute: given.RequestsPerMinute = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Remove the limits on images and requests.")] = False,
    budget: given.Budget = None,
    no_budget: Annotated[bool, typer.Option("--no-budget", help="Remove the budget.")] = False,
    expires: given.Expires = None,
    no_expiry: Annotated[bool, typer.Option("--no-expiry", help="It expires no more.")] = False,
    metadata: given.Metadata = None,
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Remove all notes.")] = False,
    active: Annotated[
        bool | None, typer.Option("--activate/--deactivate", help="Pause it, so that nobody can use it, or go on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a key. What is not named stays as it is, the secret too.

    What is removed with --no-… goes first: --no-limits --images 20/1h leaves that one limit.
    """
    removed = {"rate_limit": no_limits, "budget": no_budget, "expires_at": no_expiry, "metadata": no_metadata}
    terms = Terms(
        name=name,
        deployments=given.deployments_of(deployments),
        active=active,
        expires_at=expires,
        images=given.one_of("images", images, images_per_minute),
        requests=given.one_of("requests", requests, requests_per_minute),
        budget=budget,
        metadata=dict(metadata or ()),
        without=frozenset(field for field, is_removed in removed.items() if is_removed),
    )
    if terms == Terms():
        raise typer.BadParameter("say what to change, such as --budget 50/month", param_hint="update")
    with the_gateway() as gateway:
        answer = _changed(gateway, key_id, terms)
    _show(answer, as_json=as_json)


@app.command()
def rotate(
    key_id: KeyId,
    *,
    grace: Annotated[
        Any,
        typer.Option(
            metavar="DURATION",
            parser=given.parsed(values.seconds),
            help="How long the old secret still counts: 0, 30m, 24h, 7d; a bare number is seconds.",
        ),
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, for example because the old one has been seen; --grace 0 ends the old one at once."""
    with the_gateway() as gateway:
        answer = gateway.post(key_path(key_id, "rotate"), {"grace_seconds": grace})
    _show_secret(answer, "This is the new secret.", as_json=as_json)


app.command("usage")(usage_of_key)


@app.command()
def delete(
    key_id: KeyId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a key for good: whoever uses it is refused from then on. To pause it: keys update ID --deactivate."""
    with the_gateway() as gateway:
        etag = None
        if not yes:
            record = _record(gateway.get(key_path(key_id)))
            _ask(f"Delete the key {record.id} of {record.name}?")
            etag = record.etag
        gateway.delete(key_path(key_id), etag=etag)
    screen.note(f"Deleted {key_id}.")


def _changed(gateway: Gateway, key_id: str, terms: Terms) -> dict[str, Any]:
    """Change a key as it was read; where somebody was faster, show what has changed."""
    read = gateway.get(key_path(key_id))
    before = _record(read)
    try:
        return gateway.put(key_path(key_id), terms.over(read["virtual_key"]), etag=before.etag)
    except ChangedMeanwhile:
        now = _now()
        then, since = before.fields(now), _record(gateway.get(key_path(key_id))).fields(now)
        screen.note("This key is no longer as it was read:")
        differing = [name for name in {**then, **since} if then.get(name) != since.get(name)]
        screen.show_fields(
            {name: f"{then.get(name, 'none')} -> {since.get(name, 'none')}" for name in differing}, stderr=True
        )
        raise


def _ask(question: str) -> None:
    try:
        agreed = typer.confirm(plain(question), err=True)
    except typer.Abort:
        screen.note("")  # the question's line has no end yet
        raise Failure("Nobody answered, so nothing was deleted.", "Without a terminal, give --yes.") from None
    if not agreed:
        raise Failure("Nothing was deleted.")


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        screen.show_json(answer)
    else:
        screen.show_fields(_record(answer).fields(_now()))


def _show_secret(answer: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        screen.show_json(answer)
        return
    key = answer.get("key")
    if not isinstance(key, str):
        raise not_understood("it has no key")
    screen.say(f"{what} Copy it now: it will not be shown again, and nobody can look it up.")
    screen.show_secret(plain(key))
    record = _record(answer)
    screen.show_fields(record.fields(_now()))
    if not record.deployments:
        screen.note(f"It may call nothing yet: python -m cli keys update {record.id} --deployments NAMES")


def _record(answer: dict[str, Any]) -> KeyRecord:
    return read(KeyRecord, answer.get("virtual_key"))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
