"""The walk of an operator's call: who, and are they an admin → what → do it → answer, with a line in the log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from core.admin.forms import KeyChanges, NewKey, Rotation
from core.admin.keys import Condition
from core.admin.parsing import read_form, read_if_match, read_limit, read_query
from core.admin.views import OneKey
from core.auth.caller import ALL_DEPLOYMENTS
from core.auth.credentials import read_credential
from core.domain.errors import EtagRequired, Forbidden
from core.domain.response import JSON, HttpResponse
from core.storage.tables import StoreUnavailable
from core.telemetry.call_log import ChangeRecord

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import BaseModel

    from core.admin.keys import Keys
    from core.admin.usage import Usage
    from core.admin.views import KeyView
    from core.auth.authenticator import Authenticator
    from core.domain.http_request import HttpRequest

PATH: Final = "/api/governance/virtual-keys"
DEFAULT_PAGE: Final = 50
MAX_KEYS_PER_PAGE: Final = 200
MAX_LINES_PER_PAGE: Final = 1000

_DAYS: Final = ("from", "to", "group_by", "limit", "cursor")


class AdminApi:
    """Answers operators. Built by `bootstrap` with the first call of one; the route table names who answers what."""

    def __init__(
        self, *, authenticator: Authenticator, keys: Keys, usage: Usage, now: Callable[[], dt.datetime]
    ) -> None:
        """`now` is the wall clock, in UTC."""
        self._authenticator = authenticator
        self._keys = keys
        self._usage = usage
        self._now = now

    async def _admin(self, request: HttpRequest) -> str:
        caller = await self._authenticator.authenticate(read_credential(request.headers))
        if not caller.is_admin:
            raise Forbidden("Only an admin may do this; send a JWT whose role is admin", code="admin_required")
        if caller.narrowed_to is not None and ALL_DEPLOYMENTS not in caller.narrowed_to:
            raise Forbidden(
                "This admin's JWT is narrowed to some deployments, and here it could hand out all of them; send one"
                " without `deployments`",
                code="admin_required",
            )
        return caller.id

    async def list_keys(self, request: HttpRequest) -> HttpResponse:
        """List keys."""
        await self._admin(request)
        query = read_query(request.query, "limit", "cursor")
        limit = read_limit(query, default=DEFAULT_PAGE, most=MAX_KEYS_PER_PAGE)
        return _answer(200, await self._keys.page(cursor=query.get("cursor"), limit=limit))

    async def create_key(self, request: HttpRequest) -> HttpResponse:
        """Make a key."""
        admin = await self._admin(request)
        read_query(request.query)
        form = read_form(NewKey, request.content)
        with self._log(request, admin, "create", *sorted(form.model_fields_set)) as change:
            new = await self._keys.create(form.terms)
            change.key_id = new.virtual_key.id
        return _answer(201, new, {**_etag(new.virtual_key), "location": f"{PATH}/{new.virtual_key.id}"})

    async def show_key(self, request: HttpRequest) -> HttpResponse:
        """Show a key."""
        await self._admin(request)
        read_query(request.query)
        view = await self._keys.get(_key_id(request))
        return _answer(200, OneKey(virtual_key=view), _etag(view))

    async def change_key(self, request: HttpRequest) -> HttpResponse:
        """Change a key."""
        admin = await self._admin(request)
        read_query(request.query)
        form = read_form(KeyChanges, request.content)
        condition = Condition(read_if_match(request.headers))
        if condition.etags is None:
            raise EtagRequired
        with self._log(request, admin, "change", *sorted(form.model_fields_set)):
            view = await self._keys.change(_key_id(request), condition, form.applied_to)
        return _answer(200, OneKey(virtual_key=view), _etag(view))

    async def delete_key(self, request: HttpRequest) -> HttpResponse:
        """Delete a key."""
        admin = await self._admin(request)
        read_query(request.query)
        with self._log(request, admin, "delete"):
            await self._keys.delete(_key_id(request), Condition(read_if_match(request.headers)))
        return HttpResponse(status=204, body=(b"",))

    async def rotate_key(self, request: HttpRequest) -> HttpResponse:
        """Give a key a new secret."""
        admin = await self._admin(request)
        read_query(request.query)
        form = read_form(Rotation, request.content or b"{}")
        with self._log(request, admin, "rotate", f"grace_seconds={form.grace_seconds}"):
            new = await self._keys.rotate(_key_id(request), Condition(read_if_match(request.headers)), form.grace)
        return _answer(200, new, _etag(new.virtual_key))

    async def show_usage_of_key(self, request: HttpRequest) -> HttpResponse:
        """Show what a key has used."""
        await self._admin(request)
        query = read_query(request.query, *_DAYS)
        limit = read_limit(query, default=DEFAULT_PAGE, most=MAX_LINES_PER_PAGE)
        limits = await self._keys.limits(_key_id(request))
        return _answer(
            200, await self._usage.of_key(_key_id(request), limits, query, today=self._now().date(), limit=limit)
        )

    async def show_usage(self, request: HttpRequest) -> HttpResponse:
        """Show what all callers have used."""
        await self._admin(request)
        query = read_query(request.query, *_DAYS)
        limit = read_limit(query, default=DEFAULT_PAGE, most=MAX_LINES_PER_PAGE)
        return _answer(200, await self._usage.of_all(query, today=self._now().date(), limit=limit))

    @contextmanager
    def _log(self, request: HttpRequest, admin: str, action: str, *details: str) -> Iterator[ChangeRecord]:
        """Write the line of a change that has been made, or may have been."""
        change = ChangeRecord(
            event_id=request.event_id, admin=admin, action=action, key_id=_key_id(request), details=details
        )
        try:
            yield change
        except StoreUnavailable as unavailable:
            if unavailable.perhaps_done:
                change.outcome = "perhaps"
                change.write()
            raise
        change.write()


def _key_id(request: HttpRequest) -> str:
    return request.parameters.get("id", "")


def _answer(status: int, view: BaseModel, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Answer with a view, as JSON: all that was put into it, `null` included."""
    text = view.model_dump_json(by_alias=True, exclude_unset=True)
    return HttpResponse(status=status, headers={**(headers or {}), "content-type": JSON}, body=(text.encode(),))


def _etag(view: KeyView) -> dict[str, str]:
    return {"etag": f'"{view.etag}"'} if view.etag else {}
