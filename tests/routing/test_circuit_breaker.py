"""Targets that fail are left alone for a while: when, for how long, and how they come back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.outcome import ERROR_MAPPINGS, GATEWAY_REASONS, FailureReason, OutcomeKind
from core.routing.circuit_breaker import MAX_KEYS, MAX_TARGETS, PROBE_SECONDS, CircuitBreaker
from core.routing.retry_rules import COOL_OFFS, CoolOff
from tests.fakes import Clock, failed, picture, refused, target

A, B = target("a"), target("b")
US, THEM, OTHERS = "team-a", "team-b", "team-c"
ROW = CoolOff(seconds=0)
AMBIGUOUS = [reason for reason, row in ERROR_MAPPINGS.items() if row.kind is OutcomeKind.AMBIGUOUS]


class Ward:
    """A cooling, its clock, and what happens to a target in the order in which it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cooling = CircuitBreaker(self.clock)

    def tell(self, *outcomes, at=A, by=US) -> list[bool]:
        """Calls that begin and end one after the other; gives whether the operator was to be told, for each."""
        told = []
        for outcome in outcomes:
            self.cooling.began(at, by)
            told.append(self.cooling.ended(at, by, outcome))
        return told

    def is_open(self, at=A, *, to=US) -> bool:
        return self.cooling.of(at, to).is_open(self.clock())

    def seconds_until_open(self, at=A, *, to=US) -> float:
        return max(0.0, self.cooling.of(at, to).cools_until - self.clock())


@pytest.fixture
def ward():
    return Ward()


COOLS = [
    (FailureReason.SERVER_ERROR, 5, 30),
    *((reason, 5, 30) for reason in AMBIGUOUS),
    (FailureReason.UNREACHABLE, 3, 30),
    (FailureReason.UNAUTHORIZED, 1, 60),
    (FailureReason.NO_TOKEN, 1, 10),
    (FailureReason.BLOCKED, 1, 300),
    (FailureReason.THROTTLED, 1, 10),
]


@pytest.mark.parametrize(("reason", "times", "seconds"), COOLS)
def test_so_many_in_a_row(ward, reason, times, seconds):
    """A target cools after so many failures in a row, not before, and for so long, not longer."""
    ward.tell(*[failed(reason)] * (times - 1))
    assert ward.is_open()

    ward.tell(failed(reason))

    assert (False, seconds) == (ward.is_open(), ward.seconds_until_open())
    ward.clock.pass_by(seconds - 0.001)
    assert not ward.is_open()
    ward.clock.pass_by(0.001)
    assert ward.is_open()


@pytest.mark.parametrize(
    ("stated", "cools"), [(None, 10), (0.0, 0), (0.5, 0.5), (7.0, 7), (600.0, 600), (601.0, 600), (86_400.0, 600)]
)
def test_a_stated_wait(ward, stated, cools):
    """A throttled target cools for as long as upstream says, up to ten minutes."""
    ward.tell(failed(FailureReason.THROTTLED, retry_after=stated))

    assert cools == ward.seconds_until_open()


def test_a_stated_wait_of_another_failure(ward):
    """Only a throttled target's stated wait counts."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR, retry_after=300)] * 5)

    assert ward.seconds_until_open() == 30


@pytest.mark.parametrize(
    "reason", [FailureReason.REJECTED, FailureReason.NOT_FOUND, FailureReason.UNEXPECTED_STATUS, FailureReason.REFUSED]
)
def test_what_is_about_the_request(ward, reason):
    """However often a request is refused, that says nothing about the target."""
    told = ward.tell(*[failed(reason)] * 20)

    assert (True, [False] * 20) == (ward.is_open(), told)


@pytest.mark.parametrize("reason", sorted(GATEWAY_REASONS))
def test_what_is_about_the_gateway(ward, reason):
    """What was not sent for want of time or of a connection is laid at no target's door, and makes none well."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 4)
    told = ward.tell(*[failed(reason)] * 20)
    assert (True, [False] * 20) == (ward.is_open(), told)

    ward.tell(failed(FailureReason.SERVER_ERROR))

    assert not ward.is_open()


@pytest.mark.parametrize("reason", sorted(GATEWAY_REASONS))
def test_a_probe_that_was_not_sent(ward, reason):
    """A probe that was not sent lets the next call probe."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 5)
    ward.clock.pass_by(30)

    ward.tell(failed(reason))
    assert ward.is_open()
    ward.tell(failed(FailureReason.SERVER_ERROR))

    assert not ward.is_open()


def test_success_makes_well(ward):
    """A picture ends the count: only failures in a row cool."""
    for _ in range(3):
        ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 4, picture())

    assert ward.is_open()


def test_each_target_has_its_own_health(ward):
    """One target's failures are not another's."""
    ward.tell(failed(FailureReason.BLOCKED))

    assert (False, True) == (ward.is_open(A), ward.is_open(B))


def test_the_same_target_under_two_names(ward):
    """Two names of the same deployment of the same resource have one health."""
    other = target("other", endpoint=A.endpoint.upper().replace("HTTPS", "https"), deployment=A.deployment.title())

    ward.tell(failed(FailureReason.BLOCKED))

    assert not ward.is_open(other)


# -- the probe --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cooled(ward):
    """A ward whose target cooled for 30 seconds, which are over."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 5)
    ward.clock.pass_by(30)
    assert ward.is_open()
    return ward


def test_one_probe(cooled):
    """After cooling, one call tries the target out, and it is still passed over by others, for half a minute."""
    cooled.cooling.began(A, US)

    assert not cooled.is_open()
    cooled.clock.pass_by(PROBE_SECONDS - 1)
    assert not cooled.is_open()
    cooled.clock.pass_by(1)
    assert cooled.is_open()


def test_an_older_call_does_not_heal(ward):
    """A call that began before the target was blocked, and ends well, does not end the five minutes."""
    ward.tell(failed(FailureReason.BLOCKED))
    ward.tell(picture())

    assert not ward.is_open()


def test_only_so_many_are_remembered():
    """Names that callers make up do not fill the memory, and what was heard of lately stays."""
    clock = Clock()
    cooling = CircuitBreaker(clock)
    for number in range(MAX_TARGETS + 50):
        cooling.ended(target(f"T{number}"), US, failed(FailureReason.UNAUTHORIZED))
    known = [number for number in range(MAX_TARGETS + 50) if cooling.of(target(f"T{number}"), US).cause]
    assert list(range(50, MAX_TARGETS + 50)) == known


def test_a_probe_that_goes_well(cooled):
    """A probe that gets a picture makes the target well at once, with nothing counted."""
    cooled.tell(picture())

    assert cooled.is_open()
    cooled.tell(*[failed(FailureReason.SERVER_ERROR)] * 4)
    assert cooled.is_open()


def test_a_probe_that_is_refused(cooled):
    """A target that answers, even with a refusal, is no longer kept from others."""
    cooled.tell(refused())

    assert cooled.is_open()


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [(FailureReason.SERVER_ERROR, 30), (FailureReason.TIMED_OUT, 30), (FailureReason.UNREACHABLE, 30)],
)
def test_a_probe_that_fails(cooled, reason, seconds):
    """A probe that fails lets the target cool again at once."""
    cooled.tell(failed(reason))

    assert (False, seconds) == (cooled.is_open(), cooled.seconds_until_open())


def test_a_probe_that_is_left(cooled):
    """A probe whose caller went away lets the next one probe, and only one."""
    cooled.cooling.began(A, US)
    cooled.cooling.left(A, US)

    assert cooled.is_open()
    cooled.cooling.began(A, US)
    assert not cooled.is_open()


def test_a_probe_that_never_ends(cooled):
    """A probe that nobody hears of again does not keep others away for ever."""
    cooled.cooling.began(A, US)
    cooled.clock.pass_by(PROBE_SECONDS)

    assert cooled.is_open()


def test_no_probe_after_quota(ward):
    """A target that was only throttled is open to all once its time has come."""
    ward.tell(failed(FailureReason.THROTTLED, retry_after=5))
    ward.clock.pass_by(5)

    ward.cooling.began(A, US)

    assert ward.is_open()


def test_a_call_that_is_left_says_nothing(ward):
    """A call whose caller went away neither counts as a failure nor ends the count."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 4)
    for _ in range(10):
        ward.cooling.began(A, US)
        ward.cooling.left(A, US)
    assert ward.is_open()

    ward.tell(failed(FailureReason.SERVER_ERROR))

    assert not ward.is_open()


# -- whose fault it is ------------------------------------------------------------------------------------------------

ONE_CALLERS = [FailureReason.SERVER_ERROR, *AMBIGUOUS]
THE_TARGETS = [reason for reason, row in COOL_OFFS.items() if not row.per_key]


@pytest.mark.parametrize("reason", ONE_CALLERS)
def test_one_caller_closes_a_target_to_itself_alone(ward, reason):
    """What one caller alone can bring about leaves the target alone for that caller, and is open to all others."""
    ward.tell(*[failed(reason)] * 20)

    assert (False, True) == (ward.is_open(), ward.is_open(to=THEM))


@pytest.mark.parametrize("reason", THE_TARGETS)
def test_what_only_the_target_can_bring_about(ward, reason):
    """What no caller can bring about closes a target to all at once, whoever met it."""
    ward.tell(*[failed(reason)] * COOL_OFFS[reason].after)

    assert (False, False) == (ward.is_open(), ward.is_open(to=THEM))


def test_two_callers_close_a_target_to_all(ward):
    """Once two keys have failed with no answer between, five in a row are the target's own."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 4)
    assert ward.is_open(to=OTHERS)

    ward.tell(failed(FailureReason.TIMED_OUT), by=THEM)

    assert (False, 30) == (ward.is_open(to=OTHERS), ward.seconds_until_open(to=OTHERS))


def test_an_answer_between(ward):
    """An answer for anybody ends the row of all, but not the row of another key."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 4)
    ward.tell(picture(), by=THEM)
    ward.tell(failed(FailureReason.SERVER_ERROR), by=OTHERS)
    assert ward.is_open(to=OTHERS)

    ward.tell(failed(FailureReason.SERVER_ERROR))

    assert (False, True) == (ward.is_open(), ward.is_open(to=OTHERS))


def closed_to_all(ward) -> None:
    """Let the target be left alone by all, and the time for it go by."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 4)
    ward.tell(failed(FailureReason.SERVER_ERROR), by=THEM)
    ward.clock.pass_by(30)


def test_one_callers_probe_closes_a_target_to_itself_alone(ward):
    """A probe that fails for one caller leaves it to others to try; two that fail close the target to all again."""
    closed_to_all(ward)
    ward.tell(failed(FailureReason.SERVER_ERROR))
    assert (False, True) == (ward.is_open(), ward.is_open(to=OTHERS))

    ward.tell(failed(FailureReason.SERVER_ERROR), by=THEM)

    assert not ward.is_open(to=OTHERS)


def test_one_callers_probe_keeps_nobody_away(ward):
    """While one caller's probe is under way another may probe too, and only one."""
    closed_to_all(ward)
    ward.cooling.began(A, US)
    assert (False, True) == (ward.is_open(), ward.is_open(to=THEM))

    ward.cooling.began(A, THEM)

    assert not ward.is_open(to=OTHERS)
    ward.clock.pass_by(PROBE_SECONDS)
    assert ward.is_open(to=OTHERS)


def test_only_so_many_keys_are_remembered():
    """The failures of very many keys do not fill the memory."""
    cooling = CircuitBreaker(Clock())
    for number in range(MAX_KEYS + 50):
        cooling.ended(A, f"key-{number}", failed(FailureReason.SERVER_ERROR))
        cooling.ended(A, OTHERS, picture())

    assert MAX_KEYS >= len(cooling._keys)


_KEYS = st.sampled_from([US, THEM, OTHERS])
_ONE_CALLERS = st.sampled_from(ONE_CALLERS).map(failed)
_ANY = st.sampled_from([*FailureReason]).map(failed) | st.just(picture())
_MOVES = st.lists(st.tuples(_KEYS, st.sampled_from(["ends", "begins", "leaves"]), _ANY, st.floats(0, 700)), max_size=30)


def play(ward, moves) -> None:
    """Let calls begin, end, and be left, in any order, some time apart."""
    for key, how, outcome, seconds in moves:
        if how == "leaves":
            ward.cooling.left(A, key)
        else:
            ward.cooling.began(A, key)
            if how == "ends":
                ward.cooling.ended(A, key, outcome)
        ward.clock.pass_by(seconds)


@settings(max_examples=300, deadline=None)
@given(_MOVES, st.lists(_ONE_CALLERS, max_size=12))
def test_no_single_key_closes_a_target_to_another(moves, failures):
    """Whatever one key does and brings about, a target that was open to another key stays so."""
    ward = Ward()
    play(ward, moves)
    ward.clock.pass_by(700)
    assert ward.is_open(to=THEM)
    ward.tell(picture(), by=THEM)

    for failure in failures:
        ward.tell(failure)
        ward.cooling.began(A, US)
        assert ward.is_open(to=THEM)


@settings(max_examples=300, deadline=None)
@given(_MOVES)
def test_one_keys_calls_alone(moves):
    """The same after any mix of one key's calls, whenever they begin, end or are left, and of others' good ones."""
    ward = Ward()
    own_fault = [
        (
            key,
            how,
            outcome if key == US and COOL_OFFS.get(getattr(outcome, "reason", None), ROW).per_key else picture(),
            s,
        )
        for key, how, outcome, s in moves
    ]
    for move in own_fault:
        play(ward, [move])
        assert ward.is_open(to="team-d")


@settings(max_examples=300, deadline=None)
@given(_MOVES, st.lists(st.tuples(_KEYS, _ONE_CALLERS), min_size=5, max_size=5), st.booleans())
def test_a_dead_target_is_closed_within_five_calls(moves, calls, one_key):
    """Whatever was before, five calls that fail leave no target open to those who made them."""
    ward = Ward()
    play(ward, moves)
    for key, failure in calls:
        by = US if one_key else key
        ward.tell(failure, by=by)
        last = by

    assert not ward.is_open(to=last)
    if len({key for key, _ in calls}) > 1 and not one_key:
        assert not ward.is_open(to="team-d")


# -- one cause after another ------------------------------------------------------------------------------------------


def test_different_failures_in_a_row(ward):
    """Failures of different kinds are one row."""
    failures = [failed(FailureReason.TIMED_OUT), failed(FailureReason.SERVER_ERROR), failed(FailureReason.UNREACHABLE)]
    ward.tell(*failures, failures[0])
    assert ward.is_open()

    ward.tell(failures[1])

    assert not ward.is_open()


def test_a_failure_after_quota(ward):
    """One early 5xx after a throttled time is one failure, not five in a row."""
    ward.tell(failed(FailureReason.THROTTLED, retry_after=5))
    ward.clock.pass_by(5)

    ward.tell(failed(FailureReason.SERVER_ERROR))

    assert ward.is_open()


def test_quota_is_no_failure(ward):
    """To be throttled again and again is no outage: the next early 5xx is the first."""
    for _ in range(4):
        ward.tell(failed(FailureReason.THROTTLED, retry_after=0))

    ward.tell(failed(FailureReason.SERVER_ERROR))

    assert ward.is_open()


def test_a_shorter_wait_does_not_shorten(ward):
    """A call that was under way cannot shorten the time for which the target cools."""
    ward.tell(failed(FailureReason.BLOCKED), failed(FailureReason.THROTTLED, retry_after=1))

    assert ward.seconds_until_open() == 300


# -- telling the operator ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "logged"),
    [(FailureReason.UNAUTHORIZED, True), (FailureReason.NO_TOKEN, True), (FailureReason.BLOCKED, True)]
    + [
        (reason, False)
        for reason in (
            FailureReason.THROTTLED,
            FailureReason.SERVER_ERROR,
            FailureReason.NOT_FOUND,
            FailureReason.REFUSED,
        )
    ],
)
def test_what_the_operator_is_told(ward, reason, logged):
    """The operator is told of what only they can mend."""
    assert [logged] == ward.tell(failed(reason))


def test_the_operator_is_told_once(ward):
    """The operator is told once, until the target has been well."""
    told = []
    for _ in range(4):
        told += ward.tell(failed(FailureReason.UNAUTHORIZED))
        ward.clock.pass_by(60)
    assert [True, False, False, False] == told

    ward.tell(picture())

    assert [True] == ward.tell(failed(FailureReason.UNAUTHORIZED))


@pytest.mark.parametrize("before", [FailureReason.THROTTLED, FailureReason.UNREACHABLE, FailureReason.TIMED_OUT])
def test_the_operator_is_told_after_another_cause(ward, before):
    """A key that is refused is told also where the target cooled for something else before."""
    ward.tell(*[failed(before)] * 5)
    ward.clock.pass_by(600)

    assert [True, False] == ward.tell(failed(FailureReason.UNAUTHORIZED), failed(FailureReason.UNAUTHORIZED))


def test_the_operator_is_told_of_each_cause(ward):
    """A blocked resource is another matter than a refused key."""
    assert [True, True] == ward.tell(failed(FailureReason.UNAUTHORIZED), failed(FailureReason.BLOCKED))


@pytest.mark.parametrize("outcome", [picture(), failed(FailureReason.REFUSED)], ids=["picture", "refused"])
def test_a_stated_wait_outlives_older_calls(ward, outcome):
    """A call that began before the target throttled another, and ends well meanwhile, does not end the stated wait."""
    ward.tell(failed(FailureReason.THROTTLED, retry_after=5))
    ward.tell(outcome)

    assert not ward.is_open()
    ward.clock.pass_by(5)
    assert ward.is_open()
