"""The gateway said no: the one shape of its errors, in plain words and with a cure.

No token or key can be in what is shown: they are struck out wherever they stand, and what is not printable is replaced,
so that no answer can steer the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cli.access import KEY, MINT
from cli.failure import ChangedMeanwhile, Failure
from cli.text import plain, without_secrets

if TYPE_CHECKING:
    import httpx

    from cli.access import Access

NO_SUCH_KEY: Final = "key_not_found"
LOOK_FIRST: Final = "Whether it was done is not known; look (keys list, keys show) before you try again."

_ASK: Final = "Ask whoever hands out the keys."
_LONGEST: Final = 1_000
"""Characters of a message that are shown."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What an error's answer says."""

    status: int
    message: str
    code: str
    param: str
    event_id: str
    retry_after: str
    may_retry: bool
    of_a_key: bool
    """Whether it was said to the holder of a key."""


def refusal(response: httpx.Response, access: Access) -> Failure:
    """Turn an answer that is no success into what is shown."""
    if response.is_redirect:
        return _redirect(response)
    said = _said(response, access)
    if said is None:
        return Failure(
            f"{access.url} answered {response.status_code}, and not as the gateway does.",
            "Is GATEWAY_URL the gateway's own address?",
        )
    row = _ROWS.get(said.status)
    if row is not None:
        return row(said)
    return _server(said) if said.status >= 500 else _request(said)


def _redirect(response: httpx.Response) -> Failure:
    try:
        target = urlsplit(response.headers["location"])
        host = plain(f"{target.scheme}://{target.hostname}") if target.hostname else "another path"
    except ValueError:
        host = "an address that is none"
    return Failure(
        f"The answer is a redirect to {host}, which is not followed: it would be given the token.",
        "Set GATEWAY_URL to the gateway's own address.",
    )


def _said(response: httpx.Response, access: Access) -> _Said | None:
    try:
        body = response.json()
    except ValueError:
        return None
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None

    token = access.token.reveal()

    def shown(value: Any) -> str:
        return plain(without_secrets(value.replace(token, "…")))[:_LONGEST] if isinstance(value, str) else ""

    return _Said(
        status=response.status_code,
        message=shown(error["message"]).rstrip("."),
        code=shown(error.get("code")),
        param=shown(error.get("param")),
        event_id=shown(error.get("event_id")),
        retry_after=shown(response.headers.get("retry-after")),
        may_retry=response.headers.get("x-should-retry") != "false",
        of_a_key=access.variable == KEY,
    )


def _request(said: _Said) -> Failure:
    where = "" if said.param in said.message else f" [{said.param}]"
    return Failure(f"The gateway refuses this{where}: {_told(said)}")


def _unauthenticated(said: _Said) -> Failure:
    if said.of_a_key:
        return Failure(f"The gateway does not take the key of {KEY}: {_told(said)}", _ASK)
    if said.code == "expired_credentials":
        return Failure(f"The admin token has expired ({said.code}).", f"Mint a new one:\n  {MINT}")
    return Failure(
        f"The gateway does not take this admin token: {_told(said)}",
        f"The GATEWAY_JWT_… settings must be the gateway's own where the token is minted:\n  {MINT}",
    )


def _forbidden(said: _Said) -> Failure:
    if said.of_a_key:
        return Failure(f"This key may not do that: {_told(said)}", _ASK)
    return Failure(
        f"This token may not do that: {_told(said)}",
        f"Only a token of the role admin, for all deployments, manages keys; mint one:\n  {MINT}",
    )


def _missing(said: _Said) -> Failure:
    if said.code == "job_not_found":
        return Failure(_told(said), f"A job can be seen for a day, by the key that ordered it ({KEY}) and by admins.")
    if said.code == "deployment_not_found":
        return _request(said)
    if said.code != NO_SUCH_KEY:
        return Failure(
            f"This gateway has no admin API: {_told(said)}",
            "Is GATEWAY_URL the gateway's own address, and the gateway of the same version as this command line?",
        )
    return Failure(_told(said), "The ids are in: python -m cli keys list")


def _changed(said: _Said) -> Failure:
    return ChangedMeanwhile(
        f"Somebody else has changed this key meanwhile, so nothing was written ({_code(said)}).",
        "Run the command again: it then changes the key as it is now.",
    )


def _unavailable(said: _Said) -> Failure:
    wait = f" in {said.retry_after} seconds" if said.retry_after.isdigit() else " shortly"
    cure = f"Try again{wait}." if said.may_retry else LOOK_FIRST
    if said.code == "misconfigured":
        cure = "The log at its start names the setting that is wrong."
    return Failure(f"The gateway cannot do that now: {_told(said)}", cure)


def _server(said: _Said) -> Failure:
    event = f" under the event id {said.event_id}" if said.event_id else ""
    return Failure(f"The gateway failed: {_told(said)}", f"Its log has the cause{event}.")


def _told(said: _Said) -> str:
    return f"{said.message} ({_code(said)})."


def _code(said: _Said) -> str:
    return said.code or str(said.status)


_ROWS: Final = {
    401: _unauthenticated,
    403: _forbidden,
    404: _missing,
    412: _changed,
    503: _unavailable,
}
"""Statuses with words of their own."""
