"""The walk of an operator's call: who, and are they an admin → what → do it → answer, with a line in the log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from core.admin.call import AdminCall, answer, refused
from core.admin.forms import KeyChanges, NewKey, Rotation
from core.admin.keys import Condition
from core.admin.parsing import read_form, read_if_match, read_limit, read_query
from core.admin.views import OneKey
from core.auth.caller import EVERY
from core.auth.credentials import read_credential
from core.domain.errors import (
    EtagRequired,
    Forbidden,
    GatewayError,
    InternalFault,
    MethodNotAllowed,
    RecordsUnavailable,
)
from core.domain.response import HttpResponse
from core.refusals import request_id
from core.storage.tables import StoreUnavailable
from core.telemetry.call_log import ChangeRecord, write_fault

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from core.admin.keys import Keys
    from core.admin.usage import Usage
    from core.admin.views import KeyView
    from core.auth.authenticator import Authenticator

KEYS: Final = "keys"
KEY: Final = "key"
ROTATE: Final = "rotate"
KEY_USAGE: Final = "key_usage"
USAGE: Final = "usage"

PATH: Final = "/api/governance/virtual-keys"
DEFAULT_PAGE: Final = 50
MAX_KEYS_PER_PAGE: Final = 200
MAX_LINES_PER_PAGE: Final = 1000

_DAYS: Final = ("from", "to", "group_by", "limit", "cursor")
_READS: Final = frozenset({"GET"})


class AdminApi:
    """Answers operators. Built by `bootstrap` with the first call of one."""

    def __init__(
        self, *, authenticator: Authenticator, keys: Keys, usage: Usage, now: Callable[[], dt.datetime]
    ) -> None:
        """`now` is the wall clock, in UTC."""
        self._authenticator = authenticator
        self._keys = keys
        self._usage = usage
        self._now = now
        self._routes: Mapping[str, Mapping[str, Callable[[AdminCall, str], Awaitable[HttpResponse]]]] = {
            KEYS: {"GET": self._list, "POST": self._create},
            KEY: {"GET": self._get, "PUT": self._change, "DELETE": self._delete},
            ROTATE: {"POST": self._rotate},
            KEY_USAGE: {"GET": self._usage_of_key},
            USAGE: {"GET": self._usage_of_all},
        }

    async def answer(self, call: AdminCall) -> HttpResponse:
        """Answer a call. What goes wrong is answered, too."""
        event_id = request_id(call.headers)
        try:
            reply = await self._answered(call)
        except GatewayError as error:
            reply = refused(error, event_id)
        except StoreUnavailable as unavailable:
            reply = refused(RecordsUnavailable(perhaps_done=unavailable.perhaps_done), event_id)
        except Exception as fault:  # noqa: BLE001 -- the one place where a fault of ours becomes an answer
            write_fault(fault, event_id)
            reply = refused(InternalFault(retry_safe=call.method in _READS), event_id)
        return reply.with_headers({"x-request-id": event_id, "cache-control": "no-store"})

    async def _answered(self, call: AdminCall) -> HttpResponse:
        methods = self._routes[call.route]
        if call.method not in methods:
            raise MethodNotAllowed(call.method, ", ".join(methods))
        return await methods[call.method](call, await self._admin(call))

    async def _admin(self, call: AdminCall) -> str:
        caller = await self._authenticator.caller_of(read_credential(call.headers))
        if not caller.is_admin:
            raise Forbidden("Only an admin may do this; send a JWT whose role is admin", code="admin_required")
        if caller.narrowed_to is not None and EVERY not in caller.narrowed_to:
            raise Forbidden(
                "This admin's JWT is narrowed to some deployments, and here it could hand out all of them; send one"
                " without `deployments`",
                code="admin_required",
            )
        return caller.id

    async def _list(self, call: AdminCall, _: str) -> HttpResponse:
        query = read_query(call.query, "limit", "cursor")
        limit = read_limit(query, default=DEFAULT_PAGE, most=MAX_KEYS_PER_PAGE)
        return answer(200, await self._keys.page(cursor=query.get("cursor"), limit=limit))

    async def _create(self, call: AdminCall, admin: str) -> HttpResponse:
        read_query(call.query)
        form = read_form(NewKey, call.content)
        with self._log(call, admin, "create", *sorted(form.model_fields_set)) as change:
            new = await self._keys.create(form.terms)
            change.key_id = new.virtual_key.id
        return answer(201, new, {**_etag(new.virtual_key), "location": f"{PATH}/{new.virtual_key.id}"})

    async def _get(self, call: AdminCall, _: str) -> HttpResponse:
        read_query(call.query)
        view = await self._keys.get(call.id)
        return answer(200, OneKey(virtual_key=view), _etag(view))

    async def _change(self, call: AdminCall, admin: str) -> HttpResponse:
        read_query(call.query)
        form = read_form(KeyChanges, call.content)
        condition = Condition(read_if_match(call.headers))
        if condition.etags is None:
            raise EtagRequired
        with self._log(call, admin, "change", *sorted(form.model_fields_set)):
            view = await self._keys.change(call.id, condition, form.applied_to)
        return answer(200, OneKey(virtual_key=view), _etag(view))

    async def _delete(self, call: AdminCall, admin: str) -> HttpResponse:
        read_query(call.query)
        with self._log(call, admin, "delete"):
            await self._keys.delete(call.id, Condition(read_if_match(call.headers)))
        return HttpResponse(status=204, body=(b"",))

    async def _rotate(self, call: AdminCall, admin: str) -> HttpResponse:
        read_query(call.query)
        form = read_form(Rotation, call.content or b"{}")
        with self._log(call, admin, "rotate", f"grace_seconds={form.grace_seconds}"):
            new = await self._keys.rotate(call.id, Condition(read_if_match(call.headers)), form.grace)
        return answer(200, new, _etag(new.virtual_key))

    async def _usage_of_key(self, call: AdminCall, _: str) -> HttpResponse:
        query = read_query(call.query, *_DAYS)
        limit = read_limit(query, default=DEFAULT_PAGE, most=MAX_LINES_PER_PAGE)
        allowance = await self._keys.allowance(call.id)
        return answer(200, await self._usage.of_key(call.id, allowance, query, today=self._now().date(), limit=limit))

    async def _usage_of_all(self, call: AdminCall, _: str) -> HttpResponse:
        query = read_query(call.query, *_DAYS)
        limit = read_limit(query, default=DEFAULT_PAGE, most=MAX_LINES_PER_PAGE)
        return answer(200, await self._usage.of_all(query, today=self._now().date(), limit=limit))

    @contextmanager
    def _log(self, call: AdminCall, admin: str, action: str, *details: str) -> Iterator[ChangeRecord]:
        """Write the line of a change that has been made, or may have been."""
        change = ChangeRecord(
            event_id=request_id(call.headers), admin=admin, action=action, key_id=call.id, details=details
        )
        try:
            yield change
        except StoreUnavailable as unavailable:
            if unavailable.perhaps_done:
                change.outcome = "perhaps"
                change.write()
            raise
        change.write()


def _etag(view: KeyView) -> dict[str, str]:
    return {"etag": f'"{view.etag}"'} if view.etag else {}
