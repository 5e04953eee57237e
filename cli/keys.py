"""`keys …`: create, list, show, change, rotate and delete virtual keys."""

import datetime as dt
import difflib
import re
from typing import Annotated, Any, Final

import typer

from cli import options as opt
from cli import output
from cli.client import KEYS_PATH, GatewayClient, key_path, parse
from cli.errors import ChangedMeanwhile, CommandError, invalid_response
from cli.key_record import COLUMNS, KeyChanges, KeyRecord
from cli.output import printable, program_name

app = typer.Typer(
    no_args_is_help=True,
    help="Create virtual keys, change them, delete them.",
    epilog=opt.examples('keys create --name "Team A" --deployments gpt-image-2', "keys list"),
)

_STORED_ID: Final = re.compile(r"vk-[0-9a-z]+")
"""The id of a key that the gateway has stored. Keys of the setting have ids of any form."""


@app.command(
    epilog=opt.examples(
        'keys create --name "Team A" --deployments gpt-image-2',
        'keys create --name "Team A" --images 20/1h --budget 50/month',
    )
)
def create(
    *,
    name: Annotated[str, typer.Option(metavar="TEXT", help="Whose key it is: a team, an application.")],
    deployments: opt.Deployments = None,
    images: opt.Images = None,
    images_per_minute: opt.ImagesPerMinute = None,
    requests: opt.Requests = None,
    requests_per_minute: opt.RequestsPerMinute = None,
    budget: opt.Budget = None,
    expires: opt.Expires = None,
    metadata: opt.Metadata = None,
    as_json: opt.AsJson = False,
) -> None:
    """Create a key and show it once: the gateway stores only its hash.

    A limit that is not given does not exist. Without --deployments the key may call no deployment yet.
    """
    fields = KeyChanges(
        name=name,
        deployments=opt.parse_names(deployments),
        expires_at=expires,
        images=opt.one_limit("images", images, images_per_minute),
        requests=opt.one_limit("requests", requests, requests_per_minute),
        budget=budget,
        metadata=dict(metadata or ()),
    )
    with GatewayClient.from_environment(admin=True) as client:
        response = client.post(KEYS_PATH, fields.apply_to({}))
    _show_secret(response, "This is the new key.", as_json=as_json)


@app.command("list", epilog=opt.examples("keys list", "keys list | grep gpt-image-2"))
def list_keys(*, as_json: opt.AsJson = False) -> None:
    """List all keys."""
    with GatewayClient.from_environment(admin=True) as client:
        response = client.get_all(KEYS_PATH, "virtual_keys")
    if as_json:
        output.show_json(response)
        return
    rows = [parse(KeyRecord, entry).row(_now()) for entry in response["virtual_keys"]]
    if rows:
        output.show_table(COLUMNS, rows)
    else:
        output.show(f"There are no keys yet. Create one: {program_name()} keys create --name … --deployments …")


@app.command(epilog=opt.examples('keys show "Team A"', "keys show vk-01a20510bc73459e6ac8 --json"))
def show(key: opt.KeyReference, *, as_json: opt.AsJson = False) -> None:
    """Show one key, without its secret."""
    with GatewayClient.from_environment(admin=True) as client:
        response = client.get(key_path(find_key_id(client, key)))
    _show(response, as_json=as_json)


@app.command(epilog=opt.examples('keys update "Team A" --budget 80/month', 'keys update "Team A" --deactivate'))
def update(
    key: opt.KeyReference,
    *,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="A new name.")] = None,
    deployments: opt.Deployments = None,
    images: opt.Images = None,
    images_per_minute: opt.ImagesPerMinute = None,
    requests: opt.Requests = None,
    requests_per_minute: opt.RequestsPerMinute = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Remove the limits on images and requests.")] = False,
    budget: opt.Budget = None,
    no_budget: Annotated[bool, typer.Option("--no-budget", help="Remove the budget.")] = False,
    expires: opt.Expires = None,
    no_expiry: Annotated[bool, typer.Option("--no-expiry", help="Let it never expire.")] = False,
    metadata: opt.Metadata = None,
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Remove all notes.")] = False,
    active: Annotated[
        bool | None,
        typer.Option("--activate/--deactivate", help="Let it be used again, or pause it, so that nobody can use it."),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Change a key. What is not given stays as it is, also the secret.

    What --no-… removes is removed first: --no-limits --images 20/1h leaves that one limit.
    """
    removed = {"rate_limit": no_limits, "budget": no_budget, "expires_at": no_expiry, "metadata": no_metadata}
    changes = KeyChanges(
        name=name,
        deployments=opt.parse_names(deployments),
        active=active,
        expires_at=expires,
        images=opt.one_limit("images", images, images_per_minute),
        requests=opt.one_limit("requests", requests, requests_per_minute),
        budget=budget,
        metadata=dict(metadata or ()),
        removed=frozenset(field for field, is_removed in removed.items() if is_removed),
    )
    if changes == KeyChanges():
        raise typer.BadParameter("say what to change, such as --budget 50/month", param_hint="update")
    with GatewayClient.from_environment(admin=True) as client:
        response = _update(client, find_key_id(client, key), changes)
    _show(response, as_json=as_json)


@app.command(epilog=opt.examples('keys rotate "Team A"', 'keys rotate "Team A" --grace 0'))
def rotate(
    key: opt.KeyReference,
    *,
    grace: Annotated[
        Any,
        typer.Option(
            metavar="DURATION",
            parser=opt.parse_seconds,
            help="How long the old secret stays valid: 0, 30m, 24h, 7d. A bare number is seconds.",
        ),
    ] = "24h",
    as_json: opt.AsJson = False,
) -> None:
    """Give a key a new secret, for example because somebody has seen the old one."""
    with GatewayClient.from_environment(admin=True) as client:
        response = client.post(key_path(find_key_id(client, key), "rotate"), {"grace_seconds": grace})
    _show_secret(response, "This is the new secret.", as_json=as_json)


@app.command(epilog=opt.examples('keys delete "Team A"', "keys delete vk-01a20510bc73459e6ac8 --yes"))
def delete(
    key: opt.KeyReference,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")] = False,
) -> None:
    """Delete a key for good. To pause it instead: keys update KEY --deactivate."""
    with GatewayClient.from_environment(admin=True) as client:
        key_id = find_key_id(client, key)
        etag = None
        if not yes:
            record = _record(client.get(key_path(key_id)))
            _confirm(f"Delete the key {record.id} of {record.name}?")
            etag = record.etag
        client.delete(key_path(key_id), etag=etag)
    output.note(f"Deleted {key_id}.")


def find_key_id(client: GatewayClient, reference: str) -> str:
    """Give the id of a key by its id or name. Raises CommandError where no key or several keys have that name."""
    if _STORED_ID.fullmatch(reference):
        return reference
    records = [parse(KeyRecord, entry) for entry in client.get_all(KEYS_PATH, "virtual_keys")["virtual_keys"]]
    if any(record.id == reference for record in records):
        return reference
    ids = [record.id for record in records if record.name == reference]
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise CommandError(
            f"{len(ids)} keys have the name {printable(reference)!r}.", f"Give the id of one of them: {', '.join(ids)}"
        )
    known = {text.casefold(): text for record in records for text in (record.id, record.name)}
    near = difflib.get_close_matches(reference.casefold(), known, n=1)
    hint = f"Did you mean {printable(known[near[0]])!r}? " if near else ""
    raise CommandError(
        f"No key has the id or name {output.without_secrets(printable(reference))!r}.",
        f"{hint}This command lists all keys: {program_name()} keys list",
    )


def _update(client: GatewayClient, key_id: str, changes: KeyChanges) -> dict[str, Any]:
    """Change a key as it was read. If somebody else was faster, show what they changed."""
    response = client.get(key_path(key_id))
    before = _record(response)
    try:
        return client.put(key_path(key_id), changes.apply_to(response["virtual_key"]), etag=before.etag)
    except ChangedMeanwhile:
        now = _now()
        old, new = before.fields(now), _record(client.get(key_path(key_id))).fields(now)
        output.note("The key is no longer as it was read:")
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        output.show_fields(
            {name: f"{old.get(name, 'none')} -> {new.get(name, 'none')}" for name in changed}, stderr=True
        )
        raise


def _confirm(question: str) -> None:
    try:
        agreed = typer.confirm(printable(question), err=True)
    except typer.Abort:
        output.note("")  # ends the line of the question
        raise CommandError("Nobody answered, so nothing was deleted.", "Without a terminal, give --yes.") from None
    if not agreed:
        raise CommandError("Nothing was deleted.")


def _show(response: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.show_json(response)
    else:
        output.show_fields(_record(response).fields(_now()))


def _show_secret(response: dict[str, Any], title: str, *, as_json: bool) -> None:
    if as_json:
        output.show_json(response)
        return
    secret = response.get("key")
    if not isinstance(secret, str):
        raise invalid_response("it has no key")
    output.show(f"{title} Copy it now: it will not be shown again, and nobody can look it up.")
    output.show_secret(secret)
    record = _record(response)
    output.show_fields(record.fields(_now()))
    if not record.deployments:
        output.note(f"It may call no deployment yet: {program_name()} keys update {record.id} --deployments NAMES")


def _record(response: dict[str, Any]) -> KeyRecord:
    return parse(KeyRecord, response.get("virtual_key"))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
