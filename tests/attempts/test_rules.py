"""What may follow an outcome, and what it does to its target: the table, row by row."""

from __future__ import annotations

import pytest

from core.attempts.rules import COOLING, MOST_COOLING_SECONDS, REFUSED_MAY_FALL_BACK, RULES, Cools, Move
from core.contract.outcomes import OF_OUR_OWN, SHOWN, Kind, Reason

SIBLING, AGAIN, FALLBACK = Move.SIBLING, Move.AGAIN, Move.FALLBACK

MOVES = {
    Kind.REFUSED: [],
    Kind.REJECTED: [],
    Kind.THROTTLED: [SIBLING, FALLBACK, AGAIN],
    Kind.OVERLOADED: [SIBLING, AGAIN, FALLBACK],
    Kind.UNREACHABLE: [SIBLING, FALLBACK, AGAIN],
    Kind.AMBIGUOUS: [FALLBACK],
    Kind.MISCONFIGURED: [SIBLING, FALLBACK],
    Kind.BLOCKED: [SIBLING, FALLBACK],
}


@pytest.mark.parametrize(("kind", "moves"), MOVES.items())
def test_what_may_follow(kind, moves):
    """What surely bought nothing may go on elsewhere; what perhaps did goes only where the caller said."""
    assert tuple(moves) == RULES[kind].moves


def test_every_kind_has_a_rule():
    """Every outcome without a picture has its row, and there is no other."""
    assert set(Kind) - {Kind.PICTURE} == set(RULES)


def test_what_may_be_asked_again():
    """The same target gets the same request again only if the first one surely bought nothing and it may get well."""
    again = {Kind.THROTTLED, Kind.OVERLOADED, Kind.UNREACHABLE}

    assert again == {kind for kind, rule in RULES.items() if rule.may_be_asked_again}
    assert again == {kind for kind, rule in RULES.items() if AGAIN in rule.moves}


def test_a_refusal_where_the_operator_lets_it_fall_back():
    """Under GATEWAY_FALLBACK_ON_REFUSAL a refusal goes to the caller's fallbacks, and nowhere else."""
    assert (FALLBACK,) == REFUSED_MAY_FALL_BACK.moves
    assert not REFUSED_MAY_FALL_BACK.may_be_asked_again


COOLS = {
    Reason.THROTTLED: Cools(after=1, seconds=10, stated=True),
    Reason.SERVER_ERROR: Cools(after=5, seconds=30),
    Reason.UNREACHABLE: Cools(after=3, seconds=30),
    Reason.UNAUTHORIZED: Cools(after=1, seconds=60, logged=True),
    Reason.NO_TOKEN: Cools(after=1, seconds=10, logged=True),
    Reason.BLOCKED: Cools(after=1, seconds=300, logged=True),
}
AMBIGUOUS = [reason for reason, row in SHOWN.items() if row.kind is Kind.AMBIGUOUS]


@pytest.mark.parametrize(
    ("reason", "row"), [*COOLS.items(), *((reason, Cools(after=5, seconds=30)) for reason in AMBIGUOUS)]
)
def test_what_cools_a_target(reason, row):
    """A failing target is left alone after so many failures in a row, for so long."""
    assert row == COOLING[reason]


def test_what_says_nothing_about_a_target():
    """What is wrong with the request, with the deployment's name, or with us does not cool the target."""
    about_the_request = {Reason.REFUSED, Reason.REJECTED, Reason.NOT_FOUND, Reason.UNEXPECTED_STATUS}

    assert about_the_request | OF_OUR_OWN == set(Reason) - set(COOLING)


def test_a_stated_wait_has_an_end():
    """No target is left alone for more than ten minutes on upstream's word."""
    assert MOST_COOLING_SECONDS == 600
