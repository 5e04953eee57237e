"""A generation with a name is carried out once: whoever asks again gets what came of it.

The name is claimed by inserting a row before anything is bought. The outcome is kept beside it: first the body, then
the row, so that a row that says *done* has its body. A claim whose holder died is told by its lease; what came of it is
unknown, and nobody buys again in its place.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from typing import TYPE_CHECKING, Final

import orjson
from msgspec import Struct
from msgspec.structs import replace

from core.domain.errors import CallerError, GatewayFault
from core.storage.stored_body import get_body, put_body
from core.storage.tables import Changed, Delete, Exists, Insert, Replace, Row, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.domain.image_json import Buffer
    from core.storage.blobs import Container, Content
    from core.storage.tables import Table

TABLE: Final = "GatewayOnce"
CONTAINER: Final = "gateway-outcomes"

RETRY_AFTER_SECONDS: Final = 30
"""When to ask again for what is still running. The official SDKs wait at most 60 s, and ask twice."""
_RUNNING: Final = "running"
_DONE: Final = "done"
_KEY: Final = "once"
_OCTETS: Final = "application/octet-stream"
_TRIES: Final = 5
"""How often a row is read again that changes between reading and writing."""


class Mismatch(CallerError):
    """422: the name was used for another request (draft-ietf-httpapi-idempotency-key-header, §2.6)."""

    status = 422
    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for another request; use a new one for each request", param="Idempotency-Key"
        )


class InProgress(CallerError):
    """409: the first call with this name is still being carried out."""

    status = 409
    type = "conflict_error"
    code = "idempotency_in_progress"

    def __init__(self) -> None:
        super().__init__(
            "The first call with this Idempotency-Key is still running; ask again for its answer",
            headers={"retry-after": str(RETRY_AFTER_SECONDS), "retry-after-ms": str(RETRY_AFTER_SECONDS * 1000)},
        )


class OutcomeUnknown(CallerError):
    """409: whoever carried it out died, and a picture may have been bought."""

    status = 409
    type = "conflict_error"
    code = "outcome_unknown"
    retry_safe = False

    def __init__(self, event_id: str, began_at: dt.datetime) -> None:
        super().__init__(
            f"The call with this Idempotency-Key that began at {began_at:%Y-%m-%dT%H:%M:%SZ} (event id {event_id})"
            " ended without its outcome being kept; a picture may have been drawn. To draw again all the same, send"
            " Idempotency-Retry: accept-duplicate",
            param="Idempotency-Key",
        )


class NotStored(GatewayFault):
    """503: calls cannot be made safe to repeat now, so none is begun that asks for it."""

    status = 503
    code = "store_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The store that makes calls safe to repeat is out of reach; nothing was drawn", headers={"retry-after": "5"}
        )


class StoredResponse(Struct, frozen=True, kw_only=True):
    """An outcome that is kept."""

    status: int
    headers: Mapping[str, str]
    body: Content | bytes


class IdempotencyKey(Struct, frozen=True, kw_only=True):
    """What is carried out once."""

    scope: str
    """Whose name it is: a caller's id, or the door it came in by."""
    name: str
    fingerprint: str
    """Of the request; another one under the same name is refused."""


class IdempotencyStore:
    """Claims names and keeps outcomes."""

    def __init__(
        self,
        table: Table,
        container: Container,
        *,
        now: Callable[[], dt.datetime],
        lease: dt.timedelta,
        lifetime: dt.timedelta = dt.timedelta(hours=24),
    ) -> None:
        """`lease` is how long carrying out may take at most; `lifetime` how long an outcome is kept."""
        self._table = table
        self._container = container
        self._now = now
        self._lease = lease
        self._lifetime = lifetime

    async def claim(
        self, name: IdempotencyKey, *, event_id: str, accept_duplicate: bool = False
    ) -> IdempotencyClaim | StoredResponse:
        """Claim a name, or give the outcome that is kept under it.

        Raises Mismatch, InProgress, OutcomeUnknown (unless a duplicate is accepted), or NotKept.
        """
        try:
            for _ in range(_TRIES):
                row = self._running(name, event_id)
                try:
                    (claimed,) = await self._insert(row)
                except Exists:
                    found = await self._table.get(row.partition, row.key)
                    if found is None:
                        continue  # it was just released
                    answer = await self._found(found, name, row, accept_duplicate=accept_duplicate)
                    if answer is not None:
                        return answer
                else:
                    return IdempotencyClaim(self, claimed)
        except StoreUnavailable:
            raise NotStored from None
        raise InProgress

    async def _insert(self, row: Row) -> Sequence[Row]:
        try:
            return await self._table.change(Insert(row=row))
        except StoreUnavailable as error:
            if not error.perhaps_done:
                raise
            found = await self._table.get(row.partition, row.key)
            if found is None:
                raise
            if found.values["holder"] != row.values["holder"]:
                raise Exists from None
            return (found,)

    async def _found(
        self, found: Row, name: IdempotencyKey, row: Row, *, accept_duplicate: bool
    ) -> IdempotencyClaim | StoredResponse | None:
        """What a row that is there means. None: it has changed meanwhile."""
        values, now = found.values, self._now()
        if _time(values["expires_at"]) <= now:
            return await self._taken_over(found, row)
        if values["fingerprint"] != name.fingerprint:
            raise Mismatch
        if values["state"] == _DONE:
            kept = await self._kept(found)
            if kept is not None:
                return kept
        elif _time(values["lease_until"]) > now:
            raise InProgress
        if accept_duplicate:
            return await self._taken_over(found, row)
        raise OutcomeUnknown(str(values["event_id"]), _time(values["began_at"]))

    async def _taken_over(self, found: Row, row: Row) -> IdempotencyClaim | None:
        try:
            (claimed,) = await self._table.change(Replace(row=replace(row, etag=found.etag)))
        except Changed:
            return None
        return IdempotencyClaim(self, claimed)

    async def _kept(self, row: Row) -> StoredResponse | None:
        values = row.values
        body = await get_body(self._container, "body", values)
        if body is None:
            return None  # older than the store keeps things, or swept
        return StoredResponse(
            status=int(str(values["status"])), headers=orjson.loads(str(values["headers"])), body=body
        )

    def _running(self, name: IdempotencyKey, event_id: str) -> Row:
        now = self._now()
        digest = hashlib.sha256(f"{len(name.scope)}:{name.scope}{name.name}".encode()).hexdigest()
        return Row(
            partition=digest,
            key=_KEY,
            values={
                "state": _RUNNING,
                "fingerprint": name.fingerprint,
                "holder": secrets.token_hex(16),
                "event_id": event_id,
                "began_at": now,
                "lease_until": now + self._lease,
                "expires_at": now + max(self._lifetime, self._lease),
            },
        )

    async def keep(self, row: Row, status: int, headers: Mapping[str, str], body: Sequence[Buffer]) -> None:
        """Keep an outcome under a claimed row. Raises StoreUnavailable; Changed where somebody has taken it over."""
        expires_at = self._now() + self._lifetime
        values = {
            **row.values,
            **await put_body(self._container, "body", body, content_type=_OCTETS, expires_at=expires_at),
            "state": _DONE,
            "status": status,
            "headers": orjson.dumps(dict(headers)).decode(),
            "expires_at": expires_at,
        }
        await self._table.change(Replace(row=replace(row, values=values)))

    async def release(self, row: Row) -> None:
        """Give a name back: nothing came of it, and nothing was bought. Raises StoreUnavailable."""
        try:
            await self._table.change(Delete(row=row))
        except Changed:
            return  # somebody else holds it by now


class IdempotencyClaim:
    """A name that is being carried out. Whoever holds it keeps its outcome or gives it back."""

    def __init__(self, once: IdempotencyStore, row: Row) -> None:
        self._once = once
        self._row = row

    async def keep(self, status: int, headers: Mapping[str, str], body: Sequence[Buffer]) -> None:
        """Keep the outcome. Raises StoreUnavailable or Changed: then it is not kept."""
        await self._once.keep(self._row, status, headers, body)

    async def release(self) -> None:
        """Give the name back. Raises StoreUnavailable."""
        await self._once.release(self._row)


def _time(value: object) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    raise AssertionError("a time was written here")
