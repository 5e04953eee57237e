"""Jobs carried out at least once and drawn at most once: whatever fails, and wherever a process dies.

The steps of a job are everything that its process does in a store. Each is made to fail in turn: turned away, done with
its answer lost, and the process killed before and after it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from core.domain.errors import LimitsUnavailable
from core.jobs.store import MAX_TRIES
from core.ledger.writer import LedgerWriter
from core.storage.row_keys import COUNTERS
from tests.fakes import Row
from tests.jobs.running import ANSWER_LOST, DIES, DIES_AFTER, LIMITED, PICTURE, REFUSED, UNLIMITED, Died, Town, settled
from tests.limits.shaky import ShakyTable

if TYPE_CHECKING:
    from core.ledger.entry import Entry

STEPS = 20
"""More than a job has: what comes after the last changes nothing."""


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """What the ledger is given."""
    entries: list[Entry] = []
    monkeypatch.setattr(LedgerWriter, "note", lambda _, entry: entries.append(entry))
    return entries


async def test_a_job_that_goes_well(noted: list[Entry]) -> None:
    """Drawn once, charged once, told once, and once in the ledger."""
    town = Town()
    job_id = await town.order()
    assert (1, 1) == await town.account()
    await town.deliver()
    job = await town.state(job_id)
    assert ("succeeded", [{"url", "index"}]) == (job["status"], [set(item) for item in job["answer"]["data"]])
    assert ([(job_id, "succeeded", 200)], 1) == (town.events, town.asked)
    assert (0, 1) == await town.account()
    assert [("team-a", "picture", 200, "e1", 1)] == [
        (each.billed_party.id, each.outcome, each.status, each.event_id, each.bill.images) for each in noted
    ]


@pytest.mark.parametrize("fault", [REFUSED, ANSWER_LOST])
@pytest.mark.parametrize("key", [LIMITED, UNLIMITED], ids=["limited", "unlimited"])
@pytest.mark.parametrize("step", range(STEPS))
async def test_a_step_that_fails(noted: list[Entry], step: int, fault: str, key: dict[str, Any]) -> None:
    """One failure of the store, at any step: the picture is there all the same, and was bought once."""
    town = Town(key=key)
    job_id = await town.order()
    town.process({step: fault})
    await town.deliver()
    town.process()
    assert "succeeded" == (await town.state(job_id))["status"]
    assert {(job_id, "succeeded", 200)} == set(town.events)
    assert (1, 1) == (town.asked, len(noted))
    if key is LIMITED:
        assert (0, 1) == await town.account()


@pytest.mark.parametrize("fault", [REFUSED, ANSWER_LOST])
@pytest.mark.parametrize("length", [2, 5, 30])
@pytest.mark.parametrize("step", range(STEPS))
async def test_a_store_that_fails_for_long(noted: list[Entry], step: int, length: int, fault: str) -> None:
    """Whatever comes of it: it ends, was bought at most once, is told, and holds nothing of the key's any more."""
    town = Town()
    job_id = await town.order()
    town.process(dict.fromkeys(range(step, step + length), fault))
    await town.deliver()
    town.process()
    job = await town.state(job_id)
    assert job["status"] in {"succeeded", "failed"}
    assert town.asked <= 1
    assert (job_id, job["status"]) in {event[:2] for event in town.events}
    code = job["error"]["error"]["code"] if job["status"] == "failed" else ""
    assert (0, int(town.asked or code == "outcome_unknown")) == await town.account()
    if not town.asked:  # where it could not be told whether asking was written down, it counts as asked
        assert code in {"store_unavailable", "job_abandoned", "outcome_unknown"}


@pytest.mark.parametrize("fault", [DIES, DIES_AFTER])
@pytest.mark.parametrize("step", range(STEPS))
async def test_a_process_that_is_killed(noted: list[Entry], step: int, fault: str) -> None:
    """It is bought at most once, ends, and is told: a picture that may have been bought is never bought again."""
    town = Town()
    job_id = await town.order()
    town.process({step: fault}, counters_too=True)
    await town.deliver()
    town.process()
    job = await town.state(job_id)
    assert (job_id, job["status"]) in {event[:2] for event in town.events}
    if job["status"] == "succeeded":
        assert 1 == town.asked
    else:
        assert ("failed", "outcome_unknown", 409) == (
            job["status"],
            job["error"]["error"]["code"],
            job["error"]["status_code"],
        )
        assert town.asked <= 1
        assert [("outcome_unknown", True)] == [(each.outcome, each.bill.possibly_billed) for each in noted[-1:]]
        assert (0, 1) == await town.account()


async def test_a_process_that_is_killed_again_and_again(noted: list[Entry]) -> None:
    """A job whose processes die before they ask has failed after the fifth; nothing was bought."""
    town = Town()
    job_id = await town.order()
    for _ in range(MAX_TRIES):
        assert "failed" != (await town.state(job_id))["status"]
        killed = town.process({1: DIES_AFTER})
        with pytest.raises(Died):
            await killed.job_runner.run(job_id, 1)
        town.process()
        assert "running" == (await town.state(job_id))["status"]
        town.clock.pass_by(60)
    job = await town.state(job_id)
    assert ("failed", "job_abandoned", 0) == (job["status"], job["error"]["error"]["code"], town.asked)
    await town.built.job_runner.run(job_id, 1)
    assert [(job_id, "failed", 500)] == town.events
    assert (0, 0) == await town.account()
    assert [("job_abandoned", 500)] == [(each.outcome, each.status) for each in noted]


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        (
            Row(status=400, pieces=[b'{"error":{"code":"moderation_blocked","message":"no"}}']),
            "moderation_blocked",
            400,
        ),
        (Row(status=401, pieces=[b"{}"]), "upstream_auth_failed", 502),
        (Row(status=500, pieces=[b"{}"]), "upstream_error", 502),
    ],
    ids=["refused", "no access", "broken"],
)
async def test_a_model_that_gives_no_picture(noted: list[Entry], answer: Row, code: str, status: int) -> None:
    """The job has failed with the error that a call would have had."""
    town = Town(answer, GATEWAY_MAX_RETRIES="0")
    job_id = await town.order()
    await town.deliver()
    job = await town.state(job_id)
    assert ("failed", status, code) == (job["status"], job["error"]["status_code"], job["error"]["error"]["code"])
    assert ([(job_id, "failed", status)], 1) == (town.events, len(noted))


async def test_a_job_has_its_own_time() -> None:
    """Neither the time of a call nor that of an attempt ends it."""
    slow = Row(headers={"content-type": "text/event-stream"}, takes=700, pieces=[PICTURE])
    town = Town(slow, GATEWAY_DEADLINE_SECONDS="220", GATEWAY_ATTEMPT_SECONDS="200", GATEWAY_FIRST_BYTE_SECONDS="200")
    job_id = await town.order()
    await town.deliver()
    assert "succeeded" == (await town.state(job_id))["status"]


@pytest.mark.parametrize("key", [LIMITED, UNLIMITED], ids=["limited", "unlimited"])
async def test_a_process_that_ends_before_anything_was_sent(noted: list[Entry], key: dict[str, Any]) -> None:
    """Its job, for which the model was about to be asked, is carried out by the next delivery, and counts once."""
    turn = asyncio.Event()
    row = Row(headers={"content-type": "text/event-stream"}, pieces=[PICTURE], turn=turn)
    town = Town(row, key=key)
    job_id = await town.order()
    running = asyncio.ensure_future(town.built.job_runner.run(job_id, 1))
    await settled()
    assert (1, True) == (town.asked, not running.done())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    turn.set()
    town.process()
    await town.deliver()
    assert "succeeded" == (await town.state(job_id))["status"]
    assert [("picture", 1)] == [(each.outcome, each.bill.counted_images) for each in noted]
    if key is LIMITED:
        assert (0, 1) == await town.account()


async def test_a_key_that_is_revoked_meanwhile(noted: list[Entry]) -> None:
    """Its job has failed, is in the ledger under its name, and what it reserved is given back."""
    town = Town()
    job_id = await town.order()
    town.change_key(**LIMITED, expires_at="2026-11-22T12:00:00Z")
    await town.deliver()
    town.change_key(**LIMITED)
    job = await town.state(job_id)
    assert ("failed", 401, 0) == (job["status"], job["error"]["status_code"], town.asked)
    assert (0, 0) == await town.account()
    assert [("team-a", 401)] == [(each.billed_party.id, each.status) for each in noted]


async def test_a_key_that_has_got_limits_meanwhile() -> None:
    """They count from then on."""
    town = Town(key=UNLIMITED)
    await town.order()
    town.change_key(**LIMITED)
    await town.deliver()
    assert (0, 1) == await town.account()


async def test_limits_that_cannot_be_read_fail_a_job_with_its_last_try() -> None:
    """Until then its message comes again; nothing was asked."""
    town = Town(key=UNLIMITED)
    job_id = await town.order()
    down = ShakyTable()
    down.down = True
    town.tables.table = lambda name, table=town.tables.table: down if name == COUNTERS else table(name)
    town.change_key(**LIMITED)
    with pytest.raises(LimitsUnavailable):
        await town.built.job_runner.run(job_id, MAX_TRIES - 1)
    assert "queued" == (await town.state(job_id))["status"]
    await town.built.job_runner.run(job_id, MAX_TRIES)
    job = await town.state(job_id)
    assert ("failed", 503, 0) == (job["status"], job["error"]["status_code"], town.asked)


async def test_a_key_that_has_lost_its_limits_meanwhile() -> None:
    """What was reserved is settled all the same."""
    town = Town()
    job_id = await town.order()
    town.change_key()
    await town.deliver()
    assert "succeeded" == (await town.state(job_id))["status"]
    assert 0 == (await town.account())[0]


async def test_a_message_that_comes_while_the_job_runs() -> None:
    """It leaves word to look again when the lease is over, and then there is nothing to do."""
    town = Town()
    job_id = await town.order()
    queue = town.post.sent["image-jobs"]
    town.model.rows[0].pieces[0:0] = [gate := asyncio.Event()]
    running = asyncio.ensure_future(town.built.job_runner.run(job_id, 1))
    await settled()
    assert 1 == town.asked
    queue.clear()
    await town.built.job_runner.run(job_id, 2)
    assert [(job_id, 900 + 120 + 1)] == queue
    gate.set()
    await running
    await town.deliver()
    assert ([(job_id, "succeeded", 200)], 1) == (town.events, town.asked)


LETTER = {
    "id": "evt-1",
    "deployment": "gpt-image-1",
    "virtual_key_id": "team-a",
    "request": {"model": "m", "prompt": "a fox"},
}


@pytest.mark.parametrize("fault", [REFUSED, ANSWER_LOST, DIES, DIES_AFTER])
@pytest.mark.parametrize("step", range(STEPS))
async def test_a_letter_at_each_step(step: int, fault: str) -> None:
    """As a job: it ends with a result, is told, was bought at most once, and holds nothing of the key's any more."""
    town = Town()
    town.process({step: fault}, counters_too=fault in {DIES, DIES_AFTER})
    await town.receive(LETTER)
    result = await town.result("evt-1")
    assert result is not None
    if "error" in result:
        assert fault in {DIES, DIES_AFTER}
        assert "outcome_unknown" == result["error"]["code"]
    assert town.asked <= 1
    assert {"evt-1"} == {event[0] for event in town.events}
    if fault in {REFUSED, ANSWER_LOST}:
        assert ((0, 1), 1) == (await town.account(), town.asked)


async def test_a_message_that_names_no_job() -> None:
    """Whatever somebody has put there: it is taken, and nothing comes of it."""
    town = Town()
    for text in ("", "x" * 9000, "a" * 32, "letter-" + "a" * 32, "{}"):
        await town.built.job_runner.run(text, 1)
    assert ([[], []], 0) == ([*town.post.sent.values()], town.asked)
