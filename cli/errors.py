"""What a command says when it fails: the problem, and what to do. The gateway's error responses are translated here.

Tokens and keys are removed from everything that is shown, and characters that could control the terminal are replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cli.output import printable, program_name, token_command, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from cli.settings import Settings

MAX_MESSAGE_CHARACTERS: Final = 1_000


class CommandError(Exception):
    """The command cannot do what was asked. It is shown without a traceback, and the command ends with status 1."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem} {hint}".strip())
        self.problem = problem
        self.hint = hint


class ChangedMeanwhile(CommandError):
    """Somebody else has changed the record since it was read (412), so nothing was written."""


class OutcomeUnknown(CommandError):
    """There was no usable response, and the request may have been carried out all the same."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            problem, "It may have been done or not: check with `keys list` or `keys show` before you retry."
        )


def invalid_response(reason: str) -> CommandError:
    """Make the error for a successful response that is not the gateway's."""
    return CommandError(
        f"The response is not the gateway's: {reason}.",
        _CHECK_ADDRESS_AND_VERSION,
    )


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The error of a response, or of an event in a stream, safe to show."""

    message: str
    code: str = ""
    param: str = ""
    event_id: str = ""

    @classmethod
    def parse(cls, body: Any, credential: str = "…") -> ErrorBody | None:
        """Read the gateway's error JSON; None: it has another form."""
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return None

        def shown(name: str) -> str:
            value = error.get(name)
            text = value.replace(credential, "…") if isinstance(value, str) else ""
            return printable(without_secrets(text))[:MAX_MESSAGE_CHARACTERS]

        return cls(shown("message").rstrip("."), shown("code"), shown("param"), shown("event_id"))

    def __str__(self) -> str:
        """Give the message, and the code by which the documentation lists it."""
        return f"{self.message} ({self.code})." if self.code else f"{self.message}."


def error_from_response(response: httpx2.Response, settings: Settings) -> CommandError:
    """Make the error for a response that is not a success."""
    if response.is_redirect:
        return _redirect(response)
    try:
        error = ErrorBody.parse(response.json(), settings.credential)
    except ValueError:
        error = None
    if error is None:
        return CommandError(
            f"{settings.url} answered with status {response.status_code}, but not in the gateway's format.",
            "Check that GATEWAY_URL is the gateway's own address.",
        )
    status = response.status_code
    by_status: dict[int, Callable[[ErrorBody, httpx2.Response, Settings], CommandError]] = {
        401: _unauthorized,
        403: _forbidden,
        404: _not_found,
        412: _changed,
        503: _unavailable,
    }
    if status in by_status:
        return by_status[status](error, response, settings)
    return failed(error) if status >= 500 else rejected(error, response.headers.get("retry-after", ""))


def rejected(error: ErrorBody, retry_after: str = "") -> CommandError:
    """Make the error for a request that the gateway refuses."""
    where = f" [{error.param}]" if error.param not in error.message else ""
    wait = f"Try again in {retry_after} seconds." if retry_after.isdigit() else ""
    return CommandError(f"The gateway rejected the request{where}: {error}", wait)


def failed(error: ErrorBody) -> CommandError:
    """Make the error for a request that failed in the gateway, or at Azure behind it."""
    event = f" Search its log for the event id {error.event_id}." if error.event_id else ""
    return CommandError(f"The gateway could not do this: {error}", event.strip())


def _redirect(response: httpx2.Response) -> CommandError:
    try:
        target = urlsplit(response.headers["location"])
        host = printable(f"{target.scheme}://{target.hostname}") if target.hostname else "another path"
    except ValueError:
        host = "an invalid address"
    return CommandError(
        f"The response redirects to {host}. Redirects are not followed, because they would receive the credential.",
        "Set GATEWAY_URL to the gateway's own address.",
    )


def _unauthorized(error: ErrorBody, _: httpx2.Response, settings: Settings) -> CommandError:
    if not settings.is_admin:
        return CommandError(f"The gateway rejects the key in {settings.variable}: {error}", _ASK_AN_ADMIN)
    if error.code == "expired_credentials":
        return CommandError(f"The admin token has expired ({error.code}).", f"Create a new one:\n  {token_command()}")
    return CommandError(
        f"The gateway rejects the admin token: {error}",
        f"Create it with the GATEWAY_JWT_… settings that the gateway has:\n  {token_command()}",
    )


def _forbidden(error: ErrorBody, _: httpx2.Response, settings: Settings) -> CommandError:
    if not settings.is_admin:
        return CommandError(f"This key may not do that: {error}", _ASK_AN_ADMIN)
    return CommandError(
        f"This token may not do that: {error}",
        f"Managing keys needs a token with the role admin for all deployments:\n  {token_command()}",
    )


def _not_found(error: ErrorBody, *_: object) -> CommandError:
    if error.code == "deployment_not_found":
        return rejected(error)
    if error.code == "key_not_found":
        return CommandError(str(error), f"This command lists all keys: {program_name()} keys list")
    if error.code == "job_not_found":
        return CommandError(
            str(error), "A job is kept for a day. Only the key that submitted it (GATEWAY_KEY) and admins see it."
        )
    return CommandError(f"The gateway has no such path: {error}", _CHECK_ADDRESS_AND_VERSION)


def _changed(error: ErrorBody, *_: object) -> CommandError:
    return ChangedMeanwhile(
        f"Somebody else has changed this key in the meantime, so nothing was written ({error.code}).",
        "Run the command again to change the key as it is now.",
    )


def _unavailable(error: ErrorBody, response: httpx2.Response, _: Settings) -> CommandError:
    problem = f"The gateway is not available: {error}"
    if error.code == "misconfigured":
        return CommandError(problem, "The first lines of its log name the setting that is wrong.")
    if response.headers.get("x-should-retry") == "false":
        return OutcomeUnknown(problem)
    wait = response.headers.get("retry-after", "")
    return CommandError(problem, f"Try again in {wait} seconds." if wait.isdigit() else "Try again soon.")


_CHECK_ADDRESS_AND_VERSION: Final = (
    "Check that GATEWAY_URL is the gateway's own address, and that both have the same version."
)
_ASK_AN_ADMIN: Final = "Ask whoever gave you the key."
