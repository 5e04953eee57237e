"""Requests to the gateway. Errors become a CommandError in plain words.

The credential goes to the configured address only: redirects are not followed, and a gateway on this machine is asked
without the proxies of the environment, which would see the credential unencrypted.
"""

from __future__ import annotations

import json
import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from cli.errors import CommandError, OutcomeUnknown, error_from_response, invalid_response
from cli.output import progress
from cli.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.settings import Settings

TIMEOUT_SECONDS: Final = 30.0
"""To connect, and for each part of a response."""
STREAM_TIMEOUT: Final = httpx2.Timeout(TIMEOUT_SECONDS, read=240.0)
"""A gateway that cannot stream answers within 230 seconds, at which Azure ends every call."""
MAX_EVENT_BYTES: Final = 256 * 1024 * 1024
"""Above the largest image in base64."""
MAX_PAGE_SIZE: Final = 200
"""How many keys the gateway lists in one response."""
KEYS_PATH: Final = "/api/governance/virtual-keys"
USAGE_PATH: Final = "/api/governance/usage"

_M = TypeVar("_M", bound="ApiModel")


class ApiModel(BaseModel):
    """A part of a response. Only what is shown is read; `--json` passes everything on."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def parse(model: type[_M], value: Any) -> _M:
    """Read a part of a response. Raises CommandError where it has another form."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        raise invalid_response(f"{place} is missing or wrong" if place else "a part of it is missing") from None


def url_path(*segments: str) -> str:
    """Make a path; a segment may have any characters."""
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def key_path(key_id: str, *more: str) -> str:
    """Give the path of a key, or of something that belongs to it."""
    return KEYS_PATH + url_path(key_id, *more)


def images_path(deployment: str) -> str:
    """Give the path at which a deployment generates images."""
    return url_path("openai", "openai", "deployments", deployment, "images", "generations")


class GatewayClient:
    """A client for one gateway, used as a context manager. Every method raises CommandError."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        authorization = {"authorization": f"Bearer {settings.credential}"} if settings.credential else {}
        try:
            self._http = httpx2.Client(
                base_url=settings.url,
                headers={"accept": "application/json", **authorization},
                timeout=TIMEOUT_SECONDS,
                follow_redirects=False,
                trust_env=not settings.is_local,
            )
        except httpx2.InvalidURL:
            raise CommandError(f"{settings.url} is not a valid address.", "Check GATEWAY_URL.") from None
        except (ImportError, ValueError):  # a kind of proxy that httpx2 does not know, or only with another package
            raise CommandError(
                "The proxy in the environment cannot be used.",
                "Unset ALL_PROXY, or set HTTPS_PROXY to http://HOST:PORT.",
            ) from None

    @classmethod
    def from_environment(cls, *, admin: bool) -> Self:
        """Make a client with the admin token, or where `admin` is false with the virtual key if there is one."""
        return cls(read_settings(os.environ, admin=admin))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read something."""
        return _json_object(self.request("GET", path, params=query).content)

    def poll(self, path: str) -> tuple[dict[str, Any], float | None]:
        """Read something that changes, and in how many seconds to ask again; None: it will not change any more."""
        response = self.request("GET", path)
        wait = response.headers.get("retry-after", "")
        return _json_object(response.content), float(wait) if wait.isdigit() else None

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Create something."""
        return _json_object(self.request("POST", path, json=body, headers=headers).content)

    def put(self, path: str, body: Mapping[str, Any], *, etag: str) -> dict[str, Any]:
        """Change something, if it is still as it was read (RFC 9110 §13.1.1). Raises ChangedMeanwhile."""
        return _json_object(self.request("PUT", path, json=body, headers={"if-match": f'"{etag}"'}).content)

    def delete(self, path: str, *, etag: str | None = None) -> dict[str, Any]:
        """Delete something; with an ETag, only if it is still as it was read. Raises ChangedMeanwhile."""
        headers = {} if etag is None else {"if-match": f'"{etag}"'}
        return _json_object(self.request("DELETE", path, headers=headers).content)

    def get_all(
        self, path: str, field: str, query: Mapping[str, str] | None = None, *, page_size: int = MAX_PAGE_SIZE
    ) -> dict[str, Any]:
        """Read all pages of a list: the first response, with the entries of all pages in its `field`."""
        parameters = {**(query or {}), "limit": str(page_size)}
        first = page = self.get(path, parameters)
        entries = _entries(page, field)
        seen = set()
        while cursor := page.get("next_cursor"):
            if not isinstance(cursor, str) or cursor in seen:
                raise CommandError("The gateway's list does not end.", "Report this to whoever runs the gateway.")
            seen.add(cursor)
            page = self.get(path, {**parameters, "cursor": cursor})
            entries = [*entries, *_entries(page, field)]
        return {**first, field: entries, "next_cursor": None}

    def request(self, method: str, path: str, **parts: Any) -> httpx2.Response:
        """Send a request and give its response, which is a success."""
        response = self.send(method, path, **parts)
        if not response.is_success:
            raise error_from_response(response, self.settings)
        return response

    def send(self, method: str, path: str, **parts: Any) -> httpx2.Response:
        """Send a request and give its response, whatever its status."""
        with progress(f"Waiting for {self.settings.url}"), self._network_errors(changes=method != "GET"):
            return self._http.request(method, path, **parts)

    def stream(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Send a request and give the events of its response as they come."""
        headers = {**headers, "accept": "text/event-stream"}
        with (
            self._network_errors(changes=True),
            self._http.stream("POST", path, json=body, headers=headers, timeout=STREAM_TIMEOUT) as response,
        ):
            if not response.is_success:
                response.read()
                raise error_from_response(response, self.settings)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise invalid_response("it is not a stream of events")
            for event in httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES):
                yield _json_object(event.data)

    @contextmanager
    def _network_errors(self, *, changes: bool) -> Iterator[None]:
        try:
            yield
        except (httpx2.InvalidURL, UnicodeError):  # a host name that DNS cannot express
            raise CommandError(f"{self.settings.url} is not a valid address.", "Check GATEWAY_URL.") from None
        except httpx2.RequestError as error:
            raise network_error(error, self.settings.url, changes=changes) from None


def network_error(error: httpx2.RequestError, url: str, *, changes: bool) -> CommandError:
    """Make the error for a request without a response. `changes`: the request was to change something."""
    if isinstance(error, httpx2.ConnectError):
        if isinstance(_first_cause(error), ssl.SSLError):
            return CommandError(
                f"The certificate of {url} is not trusted, or https is not spoken there.",
                "If your company has its own certificate authority, set SSL_CERT_FILE to its certificate.",
            )
        return CommandError(
            f"Nothing answers at {url}.",
            "Start the gateway (make run, make serve), or set GATEWAY_URL to its address.",
        )
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return CommandError(
            f"{url} did not accept the connection within {TIMEOUT_SECONDS:.0f} seconds.",
            "Check GATEWAY_URL, and that this machine can reach it.",
        )
    problem = f"The connection to {url} broke before there was a response."
    if isinstance(error, httpx2.TimeoutException):
        problem = f"{url} did not answer in time."
    return OutcomeUnknown(problem) if changes else CommandError(problem, "Try again.")


def _entries(page: Mapping[str, Any], field: str) -> list[Any]:
    entries = page.get(field)
    if not isinstance(entries, list):
        raise invalid_response(f"it has no list of {field}")
    return entries


def _json_object(text: bytes | str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:  # not JSON, or not UTF-8
        raise invalid_response("it is not JSON") from None
    if not isinstance(value, dict):
        raise invalid_response("it is not a JSON object")
    return value


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
