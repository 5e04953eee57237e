"""`make mutants`: which changes it makes."""

from __future__ import annotations

import pytest

from tools.mutants import find_mutants


@pytest.mark.parametrize(
    ("source", "mutants"),
    [
        ("a and b", ["a or b"]),
        ("a or b or c", ["a and b or c", "a or b and c"]),
        ("a < b <= c", ["a <= b <= c", "a < b < c"]),
        ("a > b", ["a >= b"]),
        ("a >= b", ["a > b"]),
        ("a == b", ["a != b"]),
        ("a != b", ["a == b"]),
        ("a is b", ["a is not b"]),
        ("a is  not b", ["a is b"]),
        ("a in b", ["a not in b"]),
        ("a not in b", ["a in b"]),
        ("'ä<' < (  # ä < or\n  b)", ["'ä<' <= (  # ä < or\n  b)"]),
        ("(a\n  # or and\n  or b)", ["(a\n  # or and\n  and b)"]),
        ("x = a + b if c else d", []),
    ],
)
def test_each_operator_is_changed_alone(source: str, mutants: list[str]) -> None:
    """To its neighbour or its opposite, wherever it stands."""
    text = source.encode()
    found = sorted(find_mutants("x.py", text), key=lambda mutant: mutant.start)
    changed = [text[: each.start] + each.becomes.encode() + text[each.end :] for each in found]
    assert mutants == [each.decode() for each in changed]


def test_a_mutant_knows_the_lines_that_reach_it() -> None:
    """From the beginning of its expression to the operator."""
    (mutant,) = find_mutants("x.py", b"\nx = (\n    a\n    and b\n)\n")
    assert range(3, 5) == mutant.lines
