"""A generation with a name is carried out once."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from core.idempotency.store import (
    IdempotencyClaim,
    IdempotencyKey,
    IdempotencyStore,
    InProgress,
    Mismatch,
    NotStored,
    OutcomeUnknown,
    StoredResponse,
)
from core.storage.memory import MemoryBlobs
from core.storage.tables import Changed, StoreUnavailable

if TYPE_CHECKING:
    from core.storage.tables import Change, Page, Row, Table, Tables

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LEASE = dt.timedelta(minutes=8)
NAME = IdempotencyKey(scope="team-a", name="order-4711", fingerprint="f1")
BODY = b'{"data":[]}'


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


class Desk:
    """Two instances of the gateway over one store, and the clock on the wall."""

    def __init__(self, tables: Tables) -> None:
        self.clock = Clock()
        self.blobs = MemoryBlobs(self.clock)
        self.table = tables.table("GatewayOnce")
        self.one, self.other = (self.instance(self.table) for _ in range(2))

    def instance(self, table: Table) -> IdempotencyStore:
        """Another instance, over this table."""
        return IdempotencyStore(table, self.blobs.container("gateway-outcomes"), now=self.clock, lease=LEASE)


@pytest.fixture
def desk(tables: Tables) -> Desk:
    """Nothing has been claimed."""
    return Desk(tables)


async def claimed(once: IdempotencyStore, name: IdempotencyKey = NAME, **options: Any) -> IdempotencyClaim:
    """Claim a name that is free."""
    claim = await once.claim(name, event_id="e1", **options)
    assert isinstance(claim, IdempotencyClaim)
    return claim


async def body_of(kept: IdempotencyClaim | StoredResponse) -> bytes:
    """The whole body of a kept outcome."""
    assert isinstance(kept, StoredResponse)
    if isinstance(kept.body, bytes):
        return kept.body
    return b"".join([bytes(piece) async for piece in kept.body.pieces()])


@pytest.mark.parametrize("size", [0, 32 * 1024, 32 * 1024 + 1, 3_000_000])
async def test_the_outcome_is_given_byte_for_byte_wherever_it_is_asked_for(desk: Desk, size: int) -> None:
    """Small bodies stand in the row, large ones in a blob; another instance gives the same."""
    body = bytes(index % 251 for index in range(size))
    await (await claimed(desk.one)).keep(200, {"content-type": "x/y"}, [body[:1000], memoryview(body)[1000:]])
    kept = await desk.other.claim(NAME, event_id="e2")
    assert isinstance(kept, StoredResponse)
    assert (200, {"content-type": "x/y"}) == (kept.status, kept.headers)
    assert body == await body_of(kept)


async def test_of_many_at_once_one_gets_the_name(desk: Desk) -> None:
    """The others are told to ask again."""
    ends = await asyncio.gather(
        *(once.claim(NAME, event_id="e") for once in [desk.one, desk.other] * 10), return_exceptions=True
    )
    assert [1, 19] == [sum(isinstance(end, kind) for end in ends) for kind in (IdempotencyClaim, InProgress)]


async def test_a_name_belongs_to_its_scope(desk: Desk) -> None:
    """Another caller may use the same name; scope and name are not run together."""
    await claimed(desk.one, IdempotencyKey(scope="a", name="bc", fingerprint="f"))
    await claimed(desk.one, IdempotencyKey(scope="ab", name="c", fingerprint="f"))


async def test_another_request_under_the_same_name_is_refused(desk: Desk) -> None:
    """While the first runs, and when it is done."""
    other = IdempotencyKey(scope=NAME.scope, name=NAME.name, fingerprint="f2")
    claim = await claimed(desk.one)
    with pytest.raises(Mismatch):
        await desk.other.claim(other, event_id="e2")
    await claim.keep(200, {}, [BODY])
    with pytest.raises(Mismatch):
        await desk.other.claim(other, event_id="e2")


async def test_a_name_that_was_given_back_is_free(desk: Desk) -> None:
    """Nothing came of it."""
    await (await claimed(desk.one)).release()
    await claimed(desk.other)


async def test_a_claim_whose_holder_died_is_known_by_its_lease(desk: Desk) -> None:
    """Until its end it runs; from then on nobody knows, and nobody buys again unasked."""
    await claimed(desk.one)
    desk.clock.now += LEASE - dt.timedelta(microseconds=1)
    with pytest.raises(InProgress):
        await desk.other.claim(NAME, event_id="e2")
    desk.clock.now = NOW + LEASE
    with pytest.raises(OutcomeUnknown) as unknown:
        await desk.other.claim(NAME, event_id="e2")
    assert "e1" in unknown.value.message
    assert not unknown.value.retry_safe


async def test_a_duplicate_that_is_accepted_takes_the_name_over(desk: Desk) -> None:
    """One of many who accept it; and who held the name before cannot keep anything under it."""
    dead = await claimed(desk.one)
    desk.clock.now += LEASE
    ends = await asyncio.gather(
        *(once.claim(NAME, event_id="e2", accept_duplicate=True) for once in [desk.one, desk.other] * 5),
        return_exceptions=True,
    )
    assert [1, 9] == [sum(isinstance(end, kind) for end in ends) for kind in (IdempotencyClaim, InProgress)]
    with pytest.raises(Changed):
        await dead.keep(200, {}, [BODY])
    await dead.release()
    with pytest.raises(InProgress):
        await desk.one.claim(NAME, event_id="e3")


async def test_accepting_a_duplicate_does_not_disturb_what_runs_or_is_done(desk: Desk) -> None:
    """There is no duplicate to accept."""
    claim = await claimed(desk.one)
    with pytest.raises(InProgress):
        await desk.other.claim(NAME, event_id="e2", accept_duplicate=True)
    await claim.keep(200, {}, [BODY])
    assert BODY == await body_of(await desk.other.claim(NAME, event_id="e2", accept_duplicate=True))


async def test_a_name_is_free_again_when_its_day_is_over(desk: Desk) -> None:
    """The outcome is kept for 24 hours from when it was there."""
    claim = await claimed(desk.one)
    desk.clock.now += dt.timedelta(minutes=1)
    await claim.keep(200, {}, [BODY])
    desk.clock.now += dt.timedelta(hours=24) - dt.timedelta(microseconds=1)
    assert BODY == await body_of(await desk.other.claim(NAME, event_id="e2"))
    desk.clock.now += dt.timedelta(microseconds=1)
    await claimed(desk.other)


async def test_an_outcome_whose_body_is_gone_is_unknown(desk: Desk) -> None:
    """A store may drop blobs early; nothing is drawn again in their place."""
    await (await claimed(desk.one)).keep(200, {}, [b"x" * 40_000])
    desk.blobs.write(("elsewhere", "large"), await whole(300 << 20), None)
    with pytest.raises(OutcomeUnknown):
        await desk.other.claim(NAME, event_id="e2")


async def whole(size: int) -> Any:
    """A blob that says it is this large."""

    class Large:
        content_type = "x/y"

    Large.size = size  # type: ignore[attr-defined]
    return Large()


class Failing:
    """A table whose nth operation fails, before or after it is carried out."""

    def __init__(self, table: Table, nth: int, *, done: bool) -> None:
        self._table = table
        self._left = nth
        self._done = done

    async def get(self, partition: str, key: str) -> Row | None:
        """Read a row."""
        self._count()
        return await self._table.get(partition, key)

    async def page(self, partition: str, **options: Any) -> Page:
        """Read rows."""
        return await self._table.page(partition, **options)

    async def change(self, *changes: Change) -> Any:
        """Make changes, and fail before or after."""
        if self._left == 1 and self._done:
            await self._table.change(*changes)
        self._count()
        return await self._table.change(*changes)

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise StoreUnavailable("no answer", perhaps_done=True)


async def test_a_claim_whose_answer_was_lost_is_still_ours(desk: Desk) -> None:
    """The row says who holds it."""
    await claimed(desk.instance(Failing(desk.table, 1, done=True)))
    with pytest.raises(InProgress):
        await desk.other.claim(NAME, event_id="e2")


async def test_without_a_store_nothing_is_begun(desk: Desk) -> None:
    """503: a call that asks to be safe is not made unsafe in silence."""
    with pytest.raises(NotStored):
        await desk.instance(Failing(desk.table, 1, done=False)).claim(NAME, event_id="e1")
    await claimed(desk.other)
