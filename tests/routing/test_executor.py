"""One generation: attempts one after the other, what the caller sees of them, and what is written down."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest

from core.domain.outcome import FailureReason, OutcomeKind, UpstreamError
from core.domain.tokens import AttemptUsage, Tokens
from core.routing.attempt_log import AttemptLog
from core.routing.circuit_breaker import CircuitBreaker
from core.routing.executor import Executor, Failed, PartialImage, Succeeded, TimeLimits
from core.routing.next_attempt import RetryPolicy
from tests.fakes import MISFIT, Clock, ScriptedUpstream, failed, misfit, partial, picture, plan, step, target
from tests.shown import told
from tests.waiting import HANGS_SECONDS

GONE = failed(FailureReason.UNREACHABLE)
CUT = failed(FailureReason.CUT_SHORT, status=200)
BUSY = failed(FailureReason.THROTTLED, status=429, retry_after=3.0)


class Stage:
    """A generator with a scripted upstream, and all that can be seen of it."""

    def __init__(self, *, limits=None, policy=None, wait=None, **scripts) -> None:
        self.clock = Clock()
        self.limits = limits or TimeLimits()
        self.upstream = ScriptedUpstream(**scripts)
        self.cooling = CircuitBreaker(self.clock)
        self.log = AttemptLog()
        self.generator = Executor(
            self.upstream,
            self.cooling,
            policy=policy or RetryPolicy(),
            clock=self.clock,
            wait=wait or self.clock.wait,
            chance=lambda: 0.5,
        )

    def generate(self, the_plan, *, partials=0, images=1, api_version=None, overruns=False):
        return told(
            lambda show: self.generator.generate(
                the_plan,
                self.log,
                images=images,
                partials=partials,
                api_version=api_version,
                event_id="event-1",
                key="team-a",
                time=self.limits.time(self.clock(), overruns=overruns),
                show=show,
            )
        )

    async def run(self, the_plan, **how) -> list:
        async with aclosing(self.generate(the_plan, **how)) as events:
            return [event async for event in events]


def one_of_each(*names: str):
    """A plan of deployments with one target each."""
    return plan(*(step(name, target(name), index=index) for index, name in enumerate(names)))


def trail_of(log) -> list[tuple]:
    return [(line["deployment"], line["outcome"], line["status"]) for line in log.summary.as_json()]


# -- how it goes ------------------------------------------------------------------------------------------------------


async def test_a_picture():
    """A target that draws is the only one that is asked."""
    stage = Stage(a=[[picture()]], b=[[picture()]])

    (end,) = await stage.run(one_of_each("a", "b"))

    assert isinstance(end, Succeeded)
    assert (0, "a", ["a"]) == (end.step.fallback_index, end.step.deployment.name, stage.upstream.asked)
    assert [("a", "picture", 200)] == trail_of(stage.log)


async def test_a_fallback():
    """What a fallback drew says which it was, and what was tried before."""
    stage = Stage(a=[[GONE]], b=[[CUT]], c=[[picture()]])

    (end,) = await stage.run(one_of_each("a", "b", "c"))

    assert isinstance(end, Succeeded)
    assert (2, "c") == (end.step.fallback_index, end.step.deployment.name)
    assert [("a", "unreachable", None), ("b", "cut_short", 200), ("c", "picture", 200)] == trail_of(stage.log)
    assert end.summary == stage.log.summary


async def test_nothing_left():
    """Where nobody draws, the end is the primary's failure, with all that was tried."""
    stage = Stage(a=[[CUT]], b=[[BUSY]])

    (end,) = await stage.run(one_of_each("a", "b"), partials=3)

    assert isinstance(end, Failed)
    assert (FailureReason.CUT_SHORT, "a") == (end.failure.reason, end.step.deployment.name)
    assert ["a", "b", "b", "b"] == stage.upstream.asked
    assert 4 == end.summary.calls == len(end.summary.entries)


async def test_a_wait():
    """A stated wait is waited, and then the same target is asked again."""
    stage = Stage(a=[[BUSY], [picture()]])

    (end,) = await stage.run(one_of_each("a"))

    assert isinstance(end, Succeeded)
    assert ([3.0], ["a", "a"]) == (stage.clock.waits, stage.upstream.asked)


async def test_what_is_asked():
    """Each attempt is asked with the step's own fitted request, the caller's version, and the call's id."""
    the_plan = one_of_each("a", "b")
    stage = Stage(a=[[CUT]], b=[[picture()]])

    await stage.run(the_plan, images=4, api_version="2024-10-21")

    for ask, one in zip(stage.upstream.asks, the_plan.steps, strict=True):
        assert one.body is ask.body
        assert (4, "2024-10-21", "event-1") == (ask.images, ask.api_version, ask.event_id)


# -- time -------------------------------------------------------------------------------------------------------------


async def test_the_time_of_an_attempt():
    """Each attempt has its own limit, and none goes beyond the call's."""
    stage = Stage(a=[[CUT]], b=[[CUT]], c=[[CUT]], limits=TimeLimits(call=220, attempt=100))
    start = stage.clock()
    stage.upstream.began = lambda _: stage.clock.pass_by(90)

    await stage.run(one_of_each("a", "b", "c"))

    assert [100, 190, 220] == [ask.ends_at - start for ask in stage.upstream.asks]


async def test_after_the_deadline():
    """Once the call's time is over nobody else is asked, and the caller learns the primary's failure."""
    stage = Stage(a=[[GONE]], b=[[picture()]], limits=TimeLimits(call=220, attempt=200))
    stage.upstream.began = lambda _: stage.clock.pass_by(220)

    (end,) = await stage.run(one_of_each("a", "b"))

    assert (Failed, FailureReason.UNREACHABLE, ["a"]) == (type(end), end.failure.reason, stage.upstream.asked)


async def test_a_wait_counts_towards_the_deadline():
    """What was waited is missing from the time of the attempt that follows."""
    stage = Stage(a=[[BUSY], [picture()]], limits=TimeLimits(call=10, attempt=9))
    start = stage.clock()

    await stage.run(one_of_each("a"))

    assert [9, 10] == [ask.ends_at - start for ask in stage.upstream.asks]


async def test_latency_in_the_trail():
    """Each line of the trail says how long its own attempt took, without the wait before it."""
    stage = Stage(a=[[BUSY], [picture()]])
    stage.upstream.began = lambda _: stage.clock.pass_by(0.25)

    await stage.run(one_of_each("a"))

    assert [250, 250] == [line["latency_ms"] for line in stage.log.summary.as_json()]


# -- partial images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("partials", "shown"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3)])
async def test_at_most_so_many_partial_images(partials, shown):
    """The caller sees at most as many partial images as were asked for, whatever upstream sends."""
    stage = Stage(a=[[partial(0), partial(1), partial(2), picture()]])

    *before, end = await stage.run(one_of_each("a"), partials=partials)

    assert isinstance(end, Succeeded)
    assert list(range(shown)) == [each.partial.event.value["partial_image_index"] for each in before]


async def test_partial_images_across_targets():
    """Partial images of a target that failed count too; a fallback shows only what is left."""
    stage = Stage(a=[[partial(0), partial(1), CUT]], b=[[partial(0), partial(1), picture()]])

    *before, end = await stage.run(one_of_each("a", "b"), partials=3)

    assert isinstance(end, Succeeded)
    assert ["a", "a", "b"] == [each.step.deployment.name for each in before]
    assert all(isinstance(each, PartialImage) for each in before)
    assert [0, 0, 1] == [len(each.summary.entries) for each in before]


async def test_partial_images_come_at_once():
    """A partial image is shown before the attempt goes on."""
    stage = Stage(a=[[partial(), asyncio.Event()]])
    async with asyncio.timeout(HANGS_SECONDS), aclosing(stage.generate(one_of_each("a"), partials=1)) as events:
        assert isinstance(await anext(events), PartialImage)


# -- the trail --------------------------------------------------------------------------------------------------------


async def test_what_is_passed_over():
    """The trail says once why a step was passed over, and does not count it as a call."""
    the_plan = plan(
        step("a", target("a")),
        misfit("b", index=1),
        step("c", target("c"), index=2),
        step("d", target("d"), index=3),
    )
    stage = Stage(a=[[CUT]], d=[[CUT]])
    stage.cooling.ended(target("c"), "team-a", failed(FailureReason.BLOCKED))

    (end,) = await stage.run(the_plan)

    assert ["cut_short", "passed_over", "cooling_off", "cut_short"] == [line.outcome for line in end.summary.entries]
    assert [None, MISFIT.message, None, None] == [line.reason for line in end.summary.entries]
    assert (2, ["a", "d"]) == (end.summary.calls, stage.upstream.asked)


async def test_all_cool():
    """Where all targets cool nobody is called; the end says what for, and for how long."""
    stage = Stage()
    stage.cooling.ended(target("a"), "team-a", failed(FailureReason.THROTTLED, retry_after=40))

    (end,) = await stage.run(one_of_each("a"))

    assert (Failed, FailureReason.THROTTLED, 40) == (type(end), end.failure.reason, end.failure.retry_after)
    assert (0, [("a", "cooling_off", None)]) == (end.summary.calls, trail_of(stage.log))
    assert not end.summary.perhaps_billed


BILLED = {
    "ambiguous, then a fallback fails for sure": ([[CUT]], [[failed(FailureReason.UNAUTHORIZED)]], True),
    "surely not, then ambiguous": ([[GONE]], [[CUT]], True),
    "surely not": ([[failed(FailureReason.UNAUTHORIZED)]], [[failed(FailureReason.NOT_FOUND)]], False),
    "a refusal": ([[failed(FailureReason.REFUSED)]], [[picture()]], False),
}


@pytest.mark.parametrize(("first", "second", "expected"), BILLED.values(), ids=BILLED)
async def test_perhaps_billed(first, second, expected):
    """A call may have been billed in vain if any attempt is ambiguous, whichever error is shown."""
    stage = Stage(a=first, b=second)

    (end,) = await stage.run(one_of_each("a", "b"))

    assert isinstance(end, Failed)
    assert expected is end.summary.perhaps_billed


async def test_the_trail_has_neither_hosts_nor_secrets():
    """The trail names deployments, and nothing behind them."""
    secret = target("a", endpoint="https://secret-host.example", deployment="inner-name")
    stage = Stage(
        a=[[failed(FailureReason.REJECTED, status=400, error=UpstreamError(message="https://secret-host.example"))]]
    )

    (end,) = await stage.run(plan(step("gpt-image-1", secret)))

    assert [
        {"deployment": "gpt-image-1", "outcome": "rejected", "status": 400, "latency_ms": 0}
    ] == end.summary.as_json()


# -- what was drawn ---------------------------------------------------------------------------------------------------


async def test_what_a_picture_drew():
    """Of a picture the journal keeps how many there are, and the tokens that upstream counted."""
    usage = {"input_tokens": 5, "output_tokens": 272}
    stage = Stage(a=[[partial(), picture("QUJD", "QUJE", usage=usage)]])

    await stage.run(one_of_each("a"), images=2)

    drawn = AttemptUsage(step=0, kind=OutcomeKind.PICTURE, images=2, tokens=Tokens(text_in=5, image_out=272))
    assert (drawn,) == stage.log.consumed


async def test_pictures_are_counted_and_not_items():
    """An item without a picture is none."""
    empty = picture("QUJD")
    empty.answer.value["data"].append({"revised_prompt": "a fox"})
    stage = Stage(a=[[empty]])

    await stage.run(one_of_each("a"))

    assert (AttemptUsage(step=0, kind=OutcomeKind.PICTURE, images=1),) == stage.log.consumed


async def test_what_each_attempt_drew():
    """Every attempt is kept with the step that it asked, and how it ended: retries, and then a fallback."""
    stage = Stage(a=[[BUSY], [BUSY], [CUT]], b=[[picture()]])

    await stage.run(one_of_each("a", "b"))

    expected = [(0, OutcomeKind.THROTTLED, 0), (1, OutcomeKind.PICTURE, 1)]
    assert expected == [(each.step, each.kind, each.images) for each in stage.log.consumed]


async def test_what_an_attempt_in_flight_draws():
    """Of an attempt whose end nobody sees, it is known that it was made, for as long as it is in flight."""
    stage = Stage(a=[[partial(), picture()]])
    async with aclosing(stage.generate(one_of_each("a"), partials=1)) as events:
        await anext(events)
        assert (AttemptUsage(step=0, kind=None),) == stage.log.consumed
        await anext(events)
        assert [OutcomeKind.PICTURE] == [each.kind for each in stage.log.consumed]


# -- leaving ----------------------------------------------------------------------------------------------------------


async def leave(task: asyncio.Task) -> None:
    """Leave as a caller does, and wait until all has been freed."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_left_while_upstream_is_silent():
    """A caller that leaves while a target is asked leaves a call in flight, which may be billed."""
    stage = Stage(a=[[asyncio.Event()]])
    task = asyncio.ensure_future(stage.run(one_of_each("a")))
    await asyncio.sleep(0)
    await leave(task)

    summary = stage.log.summary
    assert (1, "a", True, ()) == (summary.calls, summary.in_flight, summary.perhaps_billed, summary.entries)
    assert [("a", "in_flight", None)] == trail_of(stage.log)
    assert stage.upstream.closed == 1


async def test_left_before_it_was_sent():
    """A caller that leaves while a target is still being reached leaves nothing that may be billed."""
    stage = Stage(a=[[picture()]])
    stage.upstream.until_sent = asyncio.Event()
    task = asyncio.ensure_future(stage.run(one_of_each("a")))
    await asyncio.sleep(0)
    await leave(task)

    summary = stage.log.summary
    assert (1, "a", False, ()) == (summary.calls, summary.in_flight, summary.perhaps_billed, stage.log.consumed)


async def test_left_before_the_second_was_sent():
    """What an attempt before it may have drawn still counts."""
    stage = Stage(a=[[CUT]], b=[[picture()]])
    task = asyncio.ensure_future(stage.run(one_of_each("a", "b")))
    stage.upstream.began = lambda ask: setattr(
        stage.upstream, "until_sent", asyncio.Event() if ask.target.name == "b" else None
    )
    for _ in range(5):
        await asyncio.sleep(0)
    assert ["a", "b"] == stage.upstream.asked
    await leave(task)

    assert stage.log.summary.perhaps_billed
    assert [(0, OutcomeKind.AMBIGUOUS)] == [(each.step, each.kind) for each in stage.log.consumed]


async def test_no_time_for_a_fallback():
    """A fallback for which no time was left is told as such."""
    stage = Stage(limits=TimeLimits(call=10), a=[[CUT]], b=[[picture()]])
    stage.upstream.began = lambda _: stage.clock.pass_by(9.5)

    (end,) = await stage.run(one_of_each("a", "b"))

    assert isinstance(end, Failed)
    assert [("a", "cut_short", 200), ("b", "out_of_time", None)] == trail_of(stage.log)


@pytest.mark.parametrize(("overruns", "least"), [(False, [0, 1]), (True, [0, 0])])
async def test_until_when_what_is_asked_may_be_sent(overruns, least):
    """What waits for a connection may still be sent until the call's end, or a second before if it is not the first."""
    stage = Stage(limits=TimeLimits(call=10), a=[[GONE]], b=[[picture()]])
    ends_at = stage.clock() + 10

    await stage.run(one_of_each("a", "b"), overruns=overruns)

    assert least == [ends_at - ask.begins_by for ask in stage.upstream.asks]


async def test_an_outcome_that_can_be_asked_for_again():
    """Where an attempt may go on beyond the call's end, a fallback is asked as long as that has not come."""
    stage = Stage(limits=TimeLimits(call=10), a=[[CUT]], b=[[picture()]])
    stage.upstream.began = lambda _: stage.clock.pass_by(9.5)

    (end,) = await stage.run(one_of_each("a", "b"), overruns=True)

    assert isinstance(end, Succeeded)


async def test_left_after_a_partial_image():
    """A caller that leaves between two events closes the attempt."""
    stage = Stage(a=[[partial(), picture()]])
    events = stage.generate(one_of_each("a"), partials=1)
    await anext(events)

    await events.aclose()

    assert stage.upstream.closed == 1
    assert stage.log.summary.perhaps_billed
    assert (AttemptUsage(step=0, kind=None),) == stage.log.consumed


async def test_left_as_a_probe():
    """A probe whose caller leaves lets the next call probe."""
    stage = Stage(a=[[asyncio.Event()], [picture()]])
    for _ in range(5):
        stage.cooling.ended(target("a"), "team-a", failed(FailureReason.SERVER_ERROR))
    stage.clock.pass_by(30)
    task = asyncio.ensure_future(stage.run(one_of_each("a")))
    await asyncio.sleep(0)
    (second,) = await stage.run(one_of_each("a"))
    assert isinstance(second, Failed)
    await leave(task)

    stage.log = AttemptLog()
    (third,) = await stage.run(one_of_each("a"))

    assert isinstance(third, Succeeded)


async def test_left_during_a_wait():
    """A caller that leaves during a wait has no call in flight."""
    never = asyncio.Event()
    stage = Stage(a=[[BUSY], [picture()]], wait=lambda _: never.wait())
    task = asyncio.ensure_future(stage.run(one_of_each("a")))
    for _ in range(5):
        await asyncio.sleep(0)
    await leave(task)

    assert (1, None, False) == (
        stage.log.summary.calls,
        stage.log.summary.in_flight,
        stage.log.summary.perhaps_billed,
    )


async def test_every_attempt_is_closed():
    """Each attempt is closed before the next one begins."""
    stage = Stage(a=[[CUT]], b=[[GONE]], c=[[picture()]])
    open_then = []
    stage.upstream.began = lambda _: open_then.append(len(stage.upstream.asks) - 1 - stage.upstream.closed)

    await stage.run(one_of_each("a", "b", "c"))

    assert [0, 0, 0] == open_then
    assert stage.upstream.closed == 3


async def test_a_fault_in_an_attempt():
    """A fault of our own is raised, the attempt is closed, and the target is not held for it."""
    stage = Stage(a=[[partial(), ZeroDivisionError()]])

    with pytest.raises(ZeroDivisionError):
        await stage.run(one_of_each("a"))

    assert stage.upstream.closed == 1
    assert stage.log.summary.perhaps_billed
    assert stage.cooling.of(target("a"), "team-a").is_open(stage.clock())


# -- health and the operator ------------------------------------------------------------------------------------------


async def test_health_is_noted():
    """What one call learns of a target, the next one knows."""
    stage = Stage(a=[[failed(FailureReason.BLOCKED)], [picture()]], b=[[picture()]])

    for _ in range(2):
        await stage.run(one_of_each("a", "b"))

    assert ["a", "b", "b"] == stage.upstream.asked


@pytest.mark.parametrize("reason", [FailureReason.UNAUTHORIZED, FailureReason.BLOCKED])
async def test_the_operator_is_told_once(reason, caplog):
    """What only the operator can mend is one error in the log, with the target's name and no host."""
    bad = target("gpt-image-1#1", endpoint="https://secret-host.example")
    words = UpstreamError(code="Forbidden", message="a prompt, and https://secret-host.example")
    stage = Stage(**{"gpt-image-1#1": [[failed(reason, status=403, error=words)]]}, b=[[picture()]])
    the_plan = plan(step("gpt-image-1", bad), step("b", target("b"), index=1))

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await stage.run(the_plan)
            stage.clock.pass_by(400)

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "gpt-image-1#1" in record.getMessage()
    assert not any(word in record.getMessage() for word in ("secret-host", "prompt", "emulator-key"))


@pytest.mark.parametrize(
    "reason",
    [
        FailureReason.THROTTLED,
        FailureReason.REFUSED,
        FailureReason.REJECTED,
        FailureReason.UNREACHABLE,
        FailureReason.CUT_SHORT,
    ],
)
async def test_the_operator_is_not_told(reason, caplog):
    """What passes, or is about the request, is no error in the log."""
    stage = Stage(a=[[failed(reason)]])

    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            await stage.run(one_of_each("a"))
            stage.clock.pass_by(100)

    assert caplog.messages == []


async def test_the_operator_is_told_why_there_is_no_token(caplog):
    """Without a token, the log says why."""
    why = UpstreamError(message="the identity endpoint answered 500")
    stage = Stage(a=[[failed(FailureReason.NO_TOKEN, error=why)]])

    with caplog.at_level(logging.WARNING):
        await stage.run(one_of_each("a"))

    (line,) = caplog.messages
    assert "the identity endpoint answered 500" in line
