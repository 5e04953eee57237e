"""Asking the gateway: one request, or a list to its last page; what it refuses becomes a Failure in plain words.

The token goes to the one address that was given: redirects are not followed, and a gateway on this machine is asked
without the proxies of the environment, which would be given the token in the clear.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from cli.access import read_access, read_caller
from cli.answers import not_understood
from cli.failure import Failure
from cli.refusals import LOOK_FIRST, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from cli.access import Access

SECONDS: Final = 30.0
"""To connect, and for each piece of an answer."""
PAGE: Final = 200
"""How many keys are asked for at once, the most there may be."""


class Gateway:
    """A running gateway. Used as a context manager; every method raises Failure."""

    def __init__(self, access: Access) -> None:
        self._access = access
        try:
            self._http = httpx.Client(
                base_url=access.url,
                headers={"authorization": f"Bearer {access.token.reveal()}", "accept": "application/json"},
                timeout=SECONDS,
                follow_redirects=False,
                trust_env=not access.is_local,
            )
        except httpx.InvalidURL:
            raise _no_address(access.url) from None
        except (ImportError, ValueError):  # a kind of proxy that httpx does not know, or only with an extra package
            raise Failure(
                "The proxy of this environment cannot be used.",
                "Unset ALL_PROXY, or set HTTPS_PROXY to http://HOST:PORT.",
            ) from None

    def __enter__(self) -> Self:
        """Open it."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._http.close()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read something."""
        return self._ask("GET", path, query=query)

    def watch(self, path: str) -> tuple[dict[str, Any], float | None]:
        """Read something that changes, and in how many seconds to look again; None: it changes no more."""
        response = self._sent("GET", path)
        wait = response.headers.get("retry-after", "")
        return _object(response), float(wait) if wait.isdigit() else None

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Make something."""
        return self._ask("POST", path, body=body, headers=headers)

    def put(self, path: str, body: Mapping[str, Any], *, etag: str) -> dict[str, Any]:
        """Change something, if it still is what was read (RFC 9110 §13.1.1). Raises ChangedMeanwhile."""
        return self._ask("PUT", path, body=body, etag=etag)

    def delete(self, path: str, *, etag: str | None) -> dict[str, Any]:
        """Remove something; with an ETag, if it still is what was read. Raises ChangedMeanwhile."""
        return self._ask("DELETE", path, etag=etag)

    def pages(
        self, path: str, field: str, query: Mapping[str, str] | None = None, *, size: int = PAGE
    ) -> dict[str, Any]:
        """Read a list to its end: the first page's answer, with the entries of all pages in its `field`."""
        asked = {**(query or {}), "limit": str(size)}
        whole = page = self.get(path, asked)
        entries = list(_entries(page, field))
        seen = set()
        while cursor := page.get("next_cursor"):
            if not isinstance(cursor, str) or cursor in seen:
                raise Failure("The gateway's pages do not come to an end.", "Report this to whoever runs it.")
            seen.add(cursor)
            page = self.get(path, {**asked, "cursor": cursor})
            entries += _entries(page, field)
        return {**whole, field: entries, "next_cursor": None}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        etag: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        headers = headers if etag is None else {"if-match": f'"{etag}"'}
        return _object(self._sent(method, path, params=query, json=body, headers=headers))

    def _sent(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **parts)
        except (httpx.InvalidURL, UnicodeError):  # a host's name that cannot be written as DNS has it
            raise _no_address(self._access.url) from None
        except httpx.RequestError as error:
            raise unreached(error, self._access.url, changes=method != "GET") from None
        if not response.is_success:
            raise refusal(response, self._access)
        return response


def the_gateway() -> Gateway:
    """Open the gateway of the environment. Raises Failure where that says nothing usable."""
    return Gateway(read_access(os.environ))


def as_caller() -> Gateway:
    """Open the gateway of the environment for whoever draws. Raises Failure where that says nothing usable."""
    return Gateway(read_caller(os.environ))


def _entries(page: Mapping[str, Any], field: str) -> list[Any]:
    entries = page.get(field)
    if not isinstance(entries, list):
        raise not_understood(f"it has no list of {field}")
    return entries


def _object(response: httpx.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        value = response.json()
    except ValueError:  # not JSON, or not UTF-8
        raise not_understood("it is not JSON") from None
    if not isinstance(value, dict):
        raise not_understood("it is not a JSON object")
    return value


def _no_address(url: str) -> Failure:
    return Failure(f"{url} is not an address that can be asked.", "Is GATEWAY_URL right?")


def unreached(error: httpx.RequestError, url: str, *, changes: bool) -> Failure:
    """Say that there was no answer; `changes`: what was asked may have been done all the same."""
    if isinstance(error, httpx.ConnectError):
        if isinstance(_root(error), ssl.SSLError):
            return Failure(
                f"The certificate of {url} is not trusted, or it does not speak https.",
                "Where a company has authorities of its own, SSL_CERT_FILE says in which file they are.",
            )
        return Failure(
            f"Nothing answers at {url}.", "Is the gateway running (make run, make serve), and GATEWAY_URL its address?"
        )
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure(
            f"{url} did not take the connection within {SECONDS:.0f} seconds.",
            "Is GATEWAY_URL right, and can this machine reach it?",
        )
    wrong = (
        f"{url} did not answer within {SECONDS:.0f} seconds."
        if isinstance(error, httpx.TimeoutException)
        else f"The connection to {url} broke before there was an answer."
    )
    return Failure(wrong, LOOK_FIRST if changes else "Try again.")


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
