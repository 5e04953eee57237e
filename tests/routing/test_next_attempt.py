"""Which target is asked next, told as stories: a plan, what its targets say, and what then happens in order.

A plan is written `A1 A2 > B1 > (C1)`: two targets, a fallback, and one that cannot honour the request. `B1=A1` is
another name for the same target. Targets of a deployment are asked in the order written. A story is what is done:
targets asked, `+3` for a wait of three seconds, and the end: `picture`, or what the caller is told.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.outcome import ERROR_MAPPINGS, Failure, FailureReason, OutcomeKind, UpstreamError
from core.routing.circuit_breaker import CircuitBreaker
from core.routing.executor import MIN_SECONDS_LEFT
from core.routing.next_attempt import FinishedAttempt, RetryPolicy, RoutingState, Stop, TryTarget, choose_next
from tests.fakes import Clock, failed, misfit, picture, plan, step, target

WORDS = {
    "refused": FailureReason.REFUSED,
    "400": FailureReason.REJECTED,
    "401": FailureReason.UNAUTHORIZED,
    "404": FailureReason.NOT_FOUND,
    "blocked": FailureReason.BLOCKED,
    "500": FailureReason.SERVER_ERROR,
    "late": FailureReason.LATE_SERVER_ERROR,
    "timeout": FailureReason.TIMED_OUT,
    "cut": FailureReason.CUT_SHORT,
    "gone": FailureReason.UNREACHABLE,
    "no-time": FailureReason.NO_TIME,
    "no-turn": FailureReason.NO_TURN,
}


def outcome(word: str) -> Failure | None:
    """What a target says: a word, or `429`, or `429:3` with a stated wait. None: a picture."""
    if word == "picture":
        return None
    name, _, wait = word.partition(":")
    if name == "429":
        return failed(FailureReason.THROTTLED, retry_after=float(wait) if wait else None)
    return failed(WORDS[name])


def read_plan(text: str, *, priorities: dict[str, int] | None = None):
    """A plan as it is written in these stories."""
    steps = []
    for index, part in enumerate(text.split(" > ")):
        names = [name.partition("=") for name in part.strip("()").split()]
        targets = [
            target(name, endpoint=f"https://{same or name}.example", priority=(priorities or {}).get(name, place))
            for place, (name, _, same) in enumerate(names)
        ]
        made = misfit if part.startswith("(") else step
        steps.append(made(part.strip("()")[0], *targets, index=index))
    return plan(*steps)


@dataclass
class Drive:
    """Asks what the decisions say, until the end."""

    plan: object
    says: dict[str, str] = field(default_factory=dict)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    seconds: float = 200.0
    """How long the call may take."""
    takes: float = 0.0
    """How long each attempt takes."""
    chance: object = lambda: 0.5
    clock: Clock = field(default_factory=Clock)
    tried: list[FinishedAttempt] = field(default_factory=list)
    passed_over: list[int] = field(default_factory=list)
    end: Stop | None = None

    def __post_init__(self) -> None:
        self.cooling = CircuitBreaker(self.clock)
        self.ends_at = self.clock() + self.seconds
        self._says = {name: words.split() for name, words in self.says.items()}

    def situation(self) -> RoutingState:
        return RoutingState(
            plan=self.plan, tried=self.tried, health=lambda one: self.cooling.of(one, "team-a"), now=self.clock(),
            ends_at=self.ends_at,
            least_seconds=MIN_SECONDS_LEFT if self.tried else 0.0, policy=self.policy, chance=self.chance,
        )  # fmt: skip

    def next(self) -> TryTarget | Stop:
        return choose_next(self.situation())

    def story(self) -> str:
        told = []
        while isinstance(move := self.next(), TryTarget):
            if move.wait:
                told.append(f"+{move.wait:g}")
                self.clock.pass_by(move.wait)
            told.append(move.target.name)
            self.passed_over += move.passed_over
            words = self._says.get(move.target.name, ["picture"])
            said = outcome(words.pop(0) if len(words) > 1 else words[0])
            if said is None:
                return " ".join([*told, "picture"])
            self.cooling.began(move.target, "team-a")
            self.clock.pass_by(self.takes)
            self.cooling.ended(move.target, "team-a", said)
            self.tried.append(FinishedAttempt(step=move.step, target=move.target, outcome=said, ended_at=self.clock()))
        self.end = move
        self.passed_over += move.passed_over
        return " ".join([*told, move.failure.reason])


STORIES = {
    # name: plan, what the targets say, what happens
    "it goes well": ("A1 > B1", {}, "A1 picture"),
    # refused, rejected
    "refused": ("A1 A2 > B1", {"A1": "refused"}, "A1 refused"),
    "rejected": ("A1 A2 > B1", {"A1": "400"}, "A1 rejected"),
    "a fallback refuses": ("A1 > B1 > C1", {"A1": "timeout", "B1": "refused"}, "A1 B1 timed_out"),
    # throttled
    "throttled: a sibling first": ("A1 A2 > B1", {"A1": "429:1", "A2": "picture"}, "A1 A2 picture"),
    "throttled: then a fallback": ("A1 A2 > B1", {"A1": "429:1", "A2": "429:1"}, "A1 A2 B1 picture"),
    "throttled: without either, the stated wait": ("A1", {"A1": "429:3 picture"}, "A1 +3 A1 picture"),
    "throttled: the shortest wait": ("A1 A2", {"A1": "429:9", "A2": "429:2 picture"}, "A1 A2 +2 A2 picture"),
    "throttled: also a fallback's": ("A1 > B1", {"A1": "429:9", "B1": "429:2 picture"}, "A1 B1 +2 B1 picture"),
    "throttled: ten seconds are waited for": ("A1", {"A1": "429:10 picture"}, "A1 +10 A1 picture"),
    "throttled: more is the caller's to wait": ("A1", {"A1": "429:10.001 picture"}, "A1 throttled"),
    "throttled: a day": ("A1 > B1", {"A1": "429:86400", "B1": "429:86400"}, "A1 B1 throttled"),
    "throttled: at most max_retries": ("A1", {"A1": "429:1"}, "A1 +1 A1 +1 A1 throttled"),
    "throttled: zero is no wait": ("A1", {"A1": "429:0 picture"}, "A1 A1 picture"),
    "throttled: each target as often": (
        "A1 A2",
        {"A1": "429:1", "A2": "429:1.5"},
        "A1 A2 +1 A1 +0.5 A2 +0.5 A1 +1 A2 throttled",
    ),
    # overloaded
    "overloaded: a sibling first": ("A1 A2 > B1", {"A1": "500"}, "A1 A2 picture"),
    "overloaded: then again, with backoff": ("A1 > B1", {"A1": "500 500 picture"}, "A1 +0.25 A1 +0.5 A1 picture"),
    "overloaded: then a fallback": ("A1 > B1", {"A1": "500"}, "A1 +0.25 A1 +0.5 A1 B1 picture"),
    "overloaded: everywhere": ("A1", {"A1": "500"}, "A1 +0.25 A1 +0.5 A1 server_error"),
    # unreachable
    "unreachable: a sibling at once": ("A1 A2 > B1", {"A1": "gone"}, "A1 A2 picture"),
    "unreachable: then a fallback": ("A1 A2 > B1", {"A1": "gone", "A2": "gone"}, "A1 A2 B1 picture"),
    "unreachable: surely not sent, so once more": ("A1", {"A1": "gone picture"}, "A1 +0.25 A1 picture"),
    # ambiguous
    "ambiguous: no sibling, not again": ("A1 A2", {"A1": "timeout"}, "A1 timed_out"),
    "ambiguous: only a fallback": ("A1 A2 > B1", {"A1": "late"}, "A1 B1 picture"),
    "ambiguous: not the same target by another name": ("A1 > B1=A1", {"A1": "cut"}, "A1 cut_short"),
    "ambiguous: but what stands beside it": ("A1 > B1=A1 B2", {"A1": "cut"}, "A1 B2 picture"),
    "ambiguous: after a retry": ("A1 > B1", {"A1": "500 timeout"}, "A1 +0.25 A1 B1 picture"),
    "ambiguous: in the fallback": ("A1 > B1 B2 > C1", {"A1": "429:1", "B1": "cut"}, "A1 B1 C1 picture"),
    "ambiguous: not after a fallback's 429": ("A1 > B1", {"A1": "cut", "B1": "429:1"}, "A1 B1 +1 B1 +1 B1 cut_short"),
    "ambiguous: no sibling later on, either": (
        "A1 A2 > B1",
        {"A1": "429:1", "A2": "timeout", "B1": "429:5 picture"},
        "A1 A2 B1 +5 B1 picture",
    ),
    # misconfigured, blocked
    "401: a sibling": ("A1 A2 > B1", {"A1": "401"}, "A1 A2 picture"),
    "401: a fallback": ("A1 > B1", {"A1": "401"}, "A1 B1 picture"),
    "401: not again": ("A1", {"A1": "401 picture"}, "A1 unauthorized"),
    "404: a fallback, not again": ("A1 > B1", {"A1": "404", "B1": "404"}, "A1 B1 not_found"),
    "blocked: a sibling, then a fallback": ("A1 A2 > B1", {"A1": "blocked", "A2": "blocked"}, "A1 A2 B1 picture"),
    "blocked: not again": ("A1", {"A1": "blocked picture"}, "A1 blocked"),
    # fallbacks
    "in order": ("A1 > B1 > C1 > D1", {"A1": "cut", "B1": "401", "C1": "gone"}, "A1 B1 C1 D1 picture"),
    "a misfit is passed over": ("A1 > (B1) > C1", {"A1": "cut"}, "A1 C1 picture"),
    "nothing but misfits": ("A1 > (B1) > (C1)", {"A1": "cut"}, "A1 cut_short"),
    "the primary's error is told": ("A1 > B1 > C1", {"A1": "404", "B1": "cut", "C1": "blocked"}, "A1 B1 C1 not_found"),
    "the primary's last error": ("A1 A2 > B1", {"A1": "429:99", "A2": "401", "B1": "cut"}, "A1 A2 B1 unauthorized"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "says", "expected"), STORIES.values(), ids=STORIES)
def test_a_story(text, says, expected):
    """What happens follows from the plan and from what its targets say."""
    assert expected == Drive(read_plan(text), says).story()


def test_what_was_passed_over_is_said():
    """A misfit and a target that cools are named with the step that is asked in their place."""
    drive = Drive(read_plan("A1 > (B1) > C1 > D1"), {"A1": "cut"})
    drive.cooling.ended(drive.plan.steps[1].deployment.targets[0], "team-a", failed(FailureReason.BLOCKED))

    assert drive.story() == "A1 D1 picture"
    assert drive.passed_over == [1, 2]


# -- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says", "expected"),
    [
        ("A1 A2 > B1", {"A1": "refused"}, "A1 B1 picture"),
        ("A1 A2", {"A1": "refused"}, "A1 refused"),
        ("A1 > B1 > C1", {"A1": "refused", "B1": "refused", "C1": "refused"}, "A1 B1 C1 refused"),
        ("A1 > B1", {"A1": "refused", "B1": "429:1 picture"}, "A1 B1 +1 B1 picture"),
        ("A1 > B1", {"A1": "400"}, "A1 rejected"),
    ],
)
def test_fallback_on_refusal(text, says, expected):
    """Where the operator says so, a refusal goes to the fallbacks, and never to the same target again."""
    assert expected == Drive(read_plan(text), says, policy=RetryPolicy(fallback_on_refusal=True)).story()


@pytest.mark.parametrize(
    ("retries", "expected"),
    [(0, "A1 server_error"), (1, "A1 +0.25 A1 server_error"), (3, "A1 +0.25 A1 +0.5 A1 +1 A1 server_error")],
)
def test_max_retries(retries, expected):
    """The same target is asked again as often as the operator allows."""
    assert expected == Drive(read_plan("A1"), {"A1": "500"}, policy=RetryPolicy(max_retries=retries)).story()


def test_the_same_target_under_two_names_counts_once():
    """A target that stands in two deployments gets as many tries as one."""
    story = Drive(read_plan("A1 > B1=A1"), {"A1": "500", "B1": "500"}, policy=RetryPolicy(max_retries=2)).story()

    assert ["A1", "A1", "A1"] == [word for word in story.split() if word in {"A1", "B1"}]


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_backoff_with_full_jitter(chance):
    """Backoff doubles from half a second up to eight, each time a random part of it."""
    drive = Drive(read_plan("A1"), policy=RetryPolicy(max_retries=7), chance=lambda: chance)
    one = drive.plan.steps[0].deployment.targets[0]
    waits = []
    for _ in range(7):
        drive.tried.append(
            FinishedAttempt(step=0, target=one, outcome=failed(FailureReason.SERVER_ERROR), ended_at=drive.clock())
        )
        waits.append(drive.next().wait)

    assert [longest * chance for longest in (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)] == waits


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(6.0, "A1 +3 A1 picture"), (5.001, "A1 +3 A1 picture"), (5.0, "A1 throttled"), (2.0, "A1 throttled")],
)
def test_a_wait_fits_the_deadline(seconds, expected):
    """A wait that does not leave time for an attempt is not waited."""
    assert expected == Drive(read_plan("A1"), {"A1": "429:3 picture"}, seconds=seconds, takes=1.0).story()


@pytest.mark.parametrize(("takes", "expected"), [(3.999, "A1 B1 picture"), (4.0, "A1 timed_out")])
def test_a_fallback_fits_the_deadline(takes, expected):
    """A fallback that could not draw in time is not asked: what it begins may be billed, and nobody would get it."""
    drive = Drive(read_plan("A1 > B1"), {"A1": "timeout"}, seconds=5, takes=takes)

    assert expected == drive.story()
    assert drive.end is None or ([1], True) == (drive.passed_over, drive.end.is_out_of_time)


def test_the_first_is_asked_in_any_time():
    """However short a call is, it is asked for once: that is the operator's choice."""
    assert "A1 picture" == Drive(read_plan("A1"), seconds=0.01).story()


def test_fallbacks_that_cool_are_not_out_of_time():
    """Where time is left, what is passed over is so for another cause."""
    drive = Drive(read_plan("A1 > B1"), {"A1": "cut"})
    cool(drive, "B1", failed(FailureReason.BLOCKED))

    assert "A1 cut_short" == drive.story()
    assert ([1], False) == (drive.passed_over, drive.end.is_out_of_time)


NOT_ASKED = {
    "no turn at all": ("A1 A2 > B1", {"A1": "no-turn"}, "A1 no_turn"),
    "no turn for the fallback": ("A1 > B1 > C1", {"A1": "cut", "B1": "no-turn"}, "A1 B1 cut_short"),
    "no time, and a fallback that may have drawn": ("A1 > B1", {"A1": "no-time", "B1": "cut"}, "A1 B1 cut_short"),
    "no turn for the second try": ("A1", {"A1": "429:3 no-turn"}, "A1 +3 A1 throttled"),
    "no time, and then some": ("A1 > B1", {"A1": "no-time"}, "A1 B1 picture"),
    "no time for the second try": ("A1", {"A1": "429:3 no-time"}, "A1 +3 A1 +0.5 A1 throttled"),
    "no time for anything": ("A1", {"A1": "no-time"}, "A1 +0.25 A1 +0.5 A1 no_time"),
}


@pytest.mark.parametrize(("the_plan", "says", "expected"), NOT_ASKED.values(), ids=NOT_ASKED)
def test_what_could_not_be_asked(the_plan, says, expected):
    """Without a connection nobody else is tried; what the target itself has said last is what the caller is told."""
    assert expected == Drive(read_plan(the_plan), says).story()


def test_nobody_is_asked_after_the_deadline():
    """Once the time of the call is over, no sibling and no fallback is asked."""
    for says in ("gone", "500", "cut", "401"):
        story = Drive(read_plan("A1 A2 > B1"), {"A1": says}, seconds=5, takes=5).story()
        assert story.startswith("A1 ")
        assert story.count(" ") == 1


def test_the_time_since_counts():
    """Of a stated wait, what has gone by while others were asked is not waited again."""
    assert (
        Drive(read_plan("A1 > B1"), {"A1": "429:5 picture", "B1": "429:9"}, takes=2.0).story() == "A1 B1 +3 A1 picture"
    )
    assert Drive(read_plan("A1 > B1"), {"A1": "429:5 picture", "B1": "429:9"}, takes=7.0).story() == "A1 B1 A1 picture"


# -- which of several -------------------------------------------------------------------------------------------------


def test_priorities():
    """The lowest priority is asked first, others when those have failed."""
    the_plan = read_plan("A1 A2 A3", priorities={"A1": 3, "A2": 1, "A3": 2})

    assert Drive(the_plan, {"A1": "401", "A2": "401", "A3": "401"}).story() == "A2 A3 A1 unauthorized"


def test_a_priority_that_cools():
    """Where all of one priority cool, the next one is asked."""
    drive = Drive(read_plan("A1 A2", priorities={"A1": 2, "A2": 1}))
    drive.cooling.ended(drive.plan.steps[0].deployment.targets[1], "team-a", failed(FailureReason.BLOCKED))

    assert drive.story() == "A1 picture"


@pytest.mark.parametrize(
    ("chance", "expected"),
    [(0.0, "a"), (0.0999, "a"), (0.1, "b"), (0.3999, "b"), (0.4, "c"), (0.9999999999999999, "c")],
)
def test_weights(chance, expected):
    """Among equals, chance decides, by weight."""
    targets = [target("a", weight=1), target("b", weight=3), target("c", weight=6), target("d", weight=99, priority=2)]

    move = Drive(plan(step("A", *targets)), chance=lambda: chance).next()

    assert expected == move.target.name


# -- all cool ---------------------------------------------------------------------------------------------------------


def cool(drive: Drive, name: str, said: Failure) -> None:
    """Another caller's failure at a target."""
    found = next(each for step in drive.plan.steps for each in step.deployment.targets if each.name == name)
    drive.cooling.began(found, "team-a")
    drive.cooling.ended(found, "team-a", said)


def test_all_cool():
    """Where everything cools, the caller learns the primary's cause and the shortest wait, and nobody is asked."""
    drive = Drive(read_plan("A1 A2 > (B1) > C1"))
    cool(drive, "A1", failed(FailureReason.BLOCKED))
    cool(drive, "A2", failed(FailureReason.THROTTLED, retry_after=40))
    cool(drive, "C1", failed(FailureReason.THROTTLED, retry_after=5))
    drive.clock.pass_by(10)
    drive.ends_at += 10
    cool(drive, "C1", failed(FailureReason.THROTTLED, retry_after=5))

    assert drive.story() == "throttled"
    assert drive.end.failure.retry_after == 30
    assert drive.passed_over == [0, 1, 2]


def test_all_cool_says_nothing_of_another_call():
    """The words and ids of the call for which a target cools were another caller's; they are not handed on."""
    drive = Drive(read_plan("A1"))
    error = UpstreamError(code="429", message="Please retry after 20 seconds.", details={"inner_error": {"x": 1}})
    cool(
        drive,
        "A1",
        failed(FailureReason.THROTTLED, status=429, retry_after=20, error=error, relayed={"apim-request-id": "1"}),
    )

    told = drive.next().failure

    assert (FailureReason.THROTTLED, 20) == (told.reason, told.retry_after)
    assert ({}, None, {}) == (told.relayed, told.error.message, told.error.details)


def test_the_primary_cools_and_a_fallback_draws():
    """A primary that cools is passed over at once."""
    drive = Drive(read_plan("A1 > B1"))
    cool(drive, "A1", failed(FailureReason.UNAUTHORIZED))

    assert drive.story() == "B1 picture"
    assert drive.passed_over == [0]


def test_the_primary_cools_and_a_fallback_fails():
    """Where the primary cooled and the fallbacks failed, the caller learns what the primary cools for."""
    drive = Drive(read_plan("A1 > B1"), {"B1": "cut"})
    cool(drive, "A1", failed(FailureReason.UNAUTHORIZED))

    assert drive.story() == "B1 unauthorized"


def test_the_primary_gets_well_in_the_meantime():
    """Where the primary cooled at first and another call has made it well since, there is still an end."""
    drive = Drive(read_plan("A1 > B1"), {"B1": "cut"})
    cool(drive, "A1", failed(FailureReason.THROTTLED, retry_after=60))
    fallback = drive.plan.steps[1].deployment.targets[0]
    drive.tried.append(
        FinishedAttempt(step=1, target=fallback, outcome=failed(FailureReason.CUT_SHORT), ended_at=drive.clock())
    )
    drive.cooling = CircuitBreaker(drive.clock)  # all are well

    assert drive.story() in {"cut_short", "A1 picture"}


def test_another_caller_probes():
    """A target that another call tries out is passed over, and with no other the wait is that of the probe."""
    drive = Drive(read_plan("A1"))
    for _ in range(5):
        cool(drive, "A1", failed(FailureReason.SERVER_ERROR))
    drive.clock.pass_by(30)
    drive.ends_at += 30
    assert isinstance(drive.next(), TryTarget)

    drive.cooling.began(drive.plan.steps[0].deployment.targets[0], "team-a")

    assert drive.story() == "server_error"


# -- always -----------------------------------------------------------------------------------------------------------

RESOURCES = st.sampled_from("pqrst")
TARGETS = st.builds(
    lambda resource, priority, weight: target(resource, priority=priority, weight=weight),
    RESOURCES,
    st.integers(1, 2),
    st.integers(1, 3),
)
STEPS = st.tuples(st.lists(TARGETS, min_size=1, max_size=3), st.booleans())
PLANS = st.lists(STEPS, min_size=1, max_size=4).map(
    lambda steps: plan(
        *(
            (misfit if is_misfit and number > 0 else step)(f"D{number}", *targets, index=number)
            for number, (targets, is_misfit) in enumerate(steps)
        )
    )
)
FAILURES = st.builds(
    lambda reason, wait: failed(reason, retry_after=wait if reason is FailureReason.THROTTLED else None),
    st.sampled_from(FailureReason),
    st.none() | st.sampled_from([0.0, 0.5, 9.0, 10.0, 11.0, 700.0]),
)
OUTCOMES = st.lists(st.tuples(FAILURES, st.sampled_from([0.0, 0.1, 3.0, 40.0])), min_size=1, max_size=30)
CHANCES = st.floats(0, 1, exclude_max=True)


@dataclass(frozen=True, kw_only=True)
class World:
    """A call and what it meets."""

    plan: object
    outcomes: list
    policy: RetryPolicy
    chance: float
    seconds: float
    earlier: list
    """What other calls met before it."""
    meanwhile: list
    """What they meet while it goes on."""


def worlds(meanwhile):
    return st.builds(
        World,
        plan=PLANS,
        outcomes=OUTCOMES,
        policy=st.builds(RetryPolicy, max_retries=st.integers(0, 3), fallback_on_refusal=st.booleans()),
        chance=CHANCES,
        seconds=st.sampled_from([1.0, 12.0, 220.0]),
        earlier=st.lists(st.tuples(RESOURCES, FAILURES), max_size=6),
        meanwhile=meanwhile,
    )


def check_any_story(world: World) -> None:
    """Drive a plan to its end and see that no rule of the house was broken on the way."""
    the_plan, policy = world.plan, world.policy
    drive = Drive(the_plan, policy=policy, chance=lambda: world.chance, seconds=world.seconds)
    everything = {each.identity: each for one in the_plan.steps for each in one.deployment.targets}
    for resource, said in world.earlier:
        met = target(resource)
        drive.cooling.began(met, "team-a")
        drive.cooling.ended(met, "team-a", said)
    said_next, others = iter(world.outcomes * 40), iter(world.meanwhile)
    asked: list[tuple[int, tuple[str, str]]] = []
    barred: set[tuple[str, str]] = set()
    while isinstance(move := drive.next(), TryTarget):
        assert len(asked) < len(everything) * (policy.max_retries + 1), "it does not end"
        assert move.target in the_plan.steps[move.step].deployment.targets
        assert move.wait >= 0
        assert drive.clock() + move.wait < drive.ends_at
        assert move.target.identity not in barred
        drive.clock.pass_by(move.wait)
        asked.append((move.step, move.target.identity))
        assert [identity for _, identity in asked].count(move.target.identity) <= policy.max_retries + 1
        said, takes = next(said_next)
        drive.cooling.began(move.target, "team-a")
        drive.clock.pass_by(takes)
        drive.cooling.ended(move.target, "team-a", said)
        for resource, other in itertools.islice(others, 1):
            drive.cooling.ended(target(resource), "team-a", picture() if other == "picture" else other)
        drive.tried.append(FinishedAttempt(step=move.step, target=move.target, outcome=said, ended_at=drive.clock()))
        kind = said.kind
        if kind is OutcomeKind.AMBIGUOUS:
            barred.add(move.target.identity)
        stops = {OutcomeKind.REJECTED} | (set() if policy.fallback_on_refusal else {OutcomeKind.REFUSED})
        if kind in stops:
            assert isinstance(drive.next(), Stop)
    assert isinstance(move, Stop)
    assert move.failure.reason in ERROR_MAPPINGS


@settings(max_examples=150, deadline=None)
@given(worlds(st.just([])))
def test_any_story(world):
    """Every story ends, asks no target too often, none after an ambiguous end, no misfit, and never too late."""
    check_any_story(world)


@settings(max_examples=150, deadline=None)
@given(worlds(st.lists(st.tuples(RESOURCES, FAILURES | st.just("picture")), max_size=6)))
def test_any_story_among_others(world):
    """The same holds while other calls make targets well and ill in the meantime."""
    check_any_story(world)


LIVELY = st.lists(
    st.sampled_from(
        [
            failed(FailureReason.THROTTLED, retry_after=0.5),
            failed(FailureReason.SERVER_ERROR),
            failed(FailureReason.UNREACHABLE),
            failed(FailureReason.TIMED_OUT),
        ]
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(PLANS, LIVELY, CHANCES)
def test_after_an_ambiguous_end_only_later_steps(the_plan, outcomes, chance):
    """After an ambiguous end, only fallbacks that come later are asked: those that the caller named for this."""
    drive = Drive(the_plan, chance=lambda: chance)
    said_next = iter(outcomes * 40)
    furthest = -1
    while isinstance(move := drive.next(), TryTarget):
        assert move.step > furthest
        drive.clock.pass_by(move.wait)
        said = next(said_next)
        drive.tried.append(FinishedAttempt(step=move.step, target=move.target, outcome=said, ended_at=drive.clock()))
        if said.kind is OutcomeKind.AMBIGUOUS:
            furthest = move.step
