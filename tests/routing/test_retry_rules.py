"""What may follow an outcome, and what it does to its target: the table, row by row."""

from __future__ import annotations

import pytest

from core.domain.outcome import ERROR_MAPPINGS, GATEWAY_REASONS, FailureReason, OutcomeKind
from core.routing.retry_rules import (
    COOL_OFFS,
    MAX_COOL_OFF_SECONDS,
    REFUSED_MAY_FALL_BACK,
    RULES,
    AfterFailure,
    CoolOff,
)

SIBLING, AGAIN, FALLBACK = AfterFailure.SIBLING, AfterFailure.AGAIN, AfterFailure.FALLBACK

MOVES = {
    OutcomeKind.REFUSED: [],
    OutcomeKind.REJECTED: [],
    OutcomeKind.THROTTLED: [SIBLING, FALLBACK, AGAIN],
    OutcomeKind.OVERLOADED: [SIBLING, AGAIN, FALLBACK],
    OutcomeKind.UNREACHABLE: [SIBLING, FALLBACK, AGAIN],
    OutcomeKind.AMBIGUOUS: [FALLBACK],
    OutcomeKind.MISCONFIGURED: [SIBLING, FALLBACK],
    OutcomeKind.BLOCKED: [SIBLING, FALLBACK],
}


@pytest.mark.parametrize(("kind", "moves"), MOVES.items())
def test_what_may_follow(kind, moves):
    """What surely bought nothing may go on elsewhere; what perhaps did goes only where the caller said."""
    assert tuple(moves) == RULES[kind].moves


def test_every_kind_has_a_rule():
    """Every outcome without a picture has its row, and there is no other."""
    assert set(OutcomeKind) - {OutcomeKind.PICTURE} == set(RULES)


def test_what_may_be_asked_again():
    """The same target gets the same request again only if the first one surely bought nothing and it may get well."""
    again = {OutcomeKind.THROTTLED, OutcomeKind.OVERLOADED, OutcomeKind.UNREACHABLE}

    assert again == {kind for kind, rule in RULES.items() if rule.may_be_asked_again}
    assert again == {kind for kind, rule in RULES.items() if AGAIN in rule.moves}


def test_a_refusal_where_the_operator_lets_it_fall_back():
    """Under GATEWAY_FALLBACK_ON_REFUSAL a refusal goes to the caller's fallbacks, and nowhere else."""
    assert (FALLBACK,) == REFUSED_MAY_FALL_BACK.moves
    assert not REFUSED_MAY_FALL_BACK.may_be_asked_again


COOLS = {
    FailureReason.THROTTLED: CoolOff(after=1, seconds=10, stated=True),
    FailureReason.SERVER_ERROR: CoolOff(after=5, seconds=30, per_key=True),
    FailureReason.UNREACHABLE: CoolOff(after=3, seconds=30),
    FailureReason.UNAUTHORIZED: CoolOff(after=1, seconds=60, logged=True),
    FailureReason.NO_TOKEN: CoolOff(after=1, seconds=10, logged=True),
    FailureReason.BLOCKED: CoolOff(after=1, seconds=300, logged=True),
    FailureReason.OUT_OF_QUOTA: CoolOff(after=1, seconds=300, logged=True),
}
AMBIGUOUS = [reason for reason, row in ERROR_MAPPINGS.items() if row.kind is OutcomeKind.AMBIGUOUS]


@pytest.mark.parametrize(
    ("reason", "row"), [*COOLS.items(), *((reason, CoolOff(after=5, seconds=30, per_key=True)) for reason in AMBIGUOUS)]
)
def test_what_cools_a_target(reason, row):
    """A failing target is left alone after so many failures in a row, for so long."""
    assert row == COOL_OFFS[reason]


def test_what_says_nothing_about_a_target():
    """What is wrong with the request, with the deployment's name, or with us does not cool the target."""
    about_the_request = {
        FailureReason.REFUSED,
        FailureReason.REJECTED,
        FailureReason.NOT_FOUND,
        FailureReason.WRONG_ENDPOINT,
        FailureReason.UNEXPECTED_STATUS,
    }

    assert about_the_request | GATEWAY_REASONS == set(FailureReason) - set(COOL_OFFS)


def test_a_stated_wait_has_an_end():
    """No target is left alone for more than ten minutes on upstream's word."""
    assert MAX_COOL_OFF_SECONDS == 600
