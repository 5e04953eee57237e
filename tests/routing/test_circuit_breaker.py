"""Targets that fail are left alone for a while: when, for how long, and how they come back."""

from __future__ import annotations

import pytest

from core.domain.outcome import ERROR_MAPPINGS, GATEWAY_REASONS, FailureReason, OutcomeKind
from core.routing.circuit_breaker import MAX_TARGETS, PROBE_SECONDS, CircuitBreaker
from tests.fakes import Clock, failed, picture, refused, target

A, B = target("a"), target("b")
AMBIGUOUS = [reason for reason, row in ERROR_MAPPINGS.items() if row.kind is OutcomeKind.AMBIGUOUS]


class Ward:
    """A cooling, its clock, and what happens to a target in the order in which it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cooling = CircuitBreaker(self.clock)

    def tell(self, *outcomes, at=A) -> list[bool]:
        """Calls that begin and end one after the other; gives whether the operator was to be told, for each."""
        told = []
        for outcome in outcomes:
            self.cooling.began(at)
            told.append(self.cooling.ended(at, outcome))
        return told

    def is_open(self, at=A) -> bool:
        return self.cooling.of(at).is_open(self.clock())

    def seconds_until_open(self, at=A) -> float:
        return max(0.0, self.cooling.of(at).cools_until - self.clock())


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
    cooled.cooling.began(A)

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
        cooling.ended(target(f"T{number}"), failed(FailureReason.UNAUTHORIZED))
    known = [number for number in range(MAX_TARGETS + 50) if cooling.of(target(f"T{number}")).cause]
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
    cooled.cooling.began(A)
    cooled.cooling.left(A)

    assert cooled.is_open()
    cooled.cooling.began(A)
    assert not cooled.is_open()


def test_a_probe_that_never_ends(cooled):
    """A probe that nobody hears of again does not keep others away for ever."""
    cooled.cooling.began(A)
    cooled.clock.pass_by(PROBE_SECONDS)

    assert cooled.is_open()


def test_no_probe_after_quota(ward):
    """A target that was only throttled is open to all once its time has come."""
    ward.tell(failed(FailureReason.THROTTLED, retry_after=5))
    ward.clock.pass_by(5)

    ward.cooling.began(A)

    assert ward.is_open()


def test_a_call_that_is_left_says_nothing(ward):
    """A call whose caller went away neither counts as a failure nor ends the count."""
    ward.tell(*[failed(FailureReason.SERVER_ERROR)] * 4)
    for _ in range(10):
        ward.cooling.began(A)
        ward.cooling.left(A)
    assert ward.is_open()

    ward.tell(failed(FailureReason.SERVER_ERROR))

    assert not ward.is_open()


# -- one cause after another ------------------------------------------------------------------------------------------


def test_different_failures_in_a_row(ward):
    """Failures of different kinds are one row."""
    ward.tell(failed(FailureReason.TIMED_OUT), failed(FailureReason.SERVER_ERROR), failed(FailureReason.UNREACHABLE))

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
