"""A value that must not be seen."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import pytest

from core.domain.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "sk-bf-do-not-show"


@dataclass(frozen=True)
class Holder:
    """Something that holds one."""

    key: Secret


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(lambda secret: f"{secret}", id="f-string"),
        pytest.param(lambda secret: f"{secret!r} {secret!s} {secret!a}", id="conversions"),
        pytest.param(lambda secret: "%s %r" % (secret, secret), id="percent"),  # noqa: UP031 -- as logging does it
        pytest.param("{0} {0!r}".format, id="format"),
        pytest.param(lambda secret: repr([secret, {"key": secret}]), id="in containers"),
        pytest.param(lambda secret: repr(Holder(secret)), id="in a dataclass"),
        pytest.param(lambda secret: str(ValueError(secret)), id="in an exception"),
        pytest.param(lambda secret: "".join(traceback.format_exception(ValueError(secret))), id="in a traceback"),
        pytest.param(lambda secret: json.dumps({"key": secret}, default=str), id="JSON by str"),
    ],
)
def test_says_nothing(shown: Callable[[Secret], str]) -> None:
    """However a secret is shown, its value is not."""
    assert VALUE not in shown(Secret(VALUE))


@pytest.mark.parametrize(
    "carried_off",
    [
        *(pytest.param(lambda secret, p=p: pickle.dumps(secret, p), id=f"pickle {p}") for p in range(6)),
        pytest.param(lambda secret: pickle.dumps(Holder(secret)), id="pickle of a holder"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(json.dumps, id="json"),
        pytest.param(orjson.dumps, id="orjson"),
        pytest.param(vars, id="vars"),
        pytest.param(iter, id="iter"),
        pytest.param(bytes, id="bytes"),
        pytest.param(lambda secret: f"{secret:>40}", id="a format of its own"),
        pytest.param(lambda secret: "Bearer " + secret, id="concatenation"),
    ],
)
def test_does_not_leave(carried_off: Callable[[Secret], object]) -> None:
    """A secret cannot be pickled, copied, put into JSON or a text, or taken apart."""
    with pytest.raises(TypeError) as refusal:
        carried_off(Secret(VALUE))
    assert VALUE not in str(refusal.value)


def test_is_revealed_where_it_is_needed() -> None:
    """`reveal` hands out the value itself."""
    assert Secret(VALUE).reveal() == VALUE


def test_equality() -> None:
    """Two secrets are equal by value, are one in a set, and are never equal to their text."""
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE
    assert 1 == len({Secret(VALUE), Secret(VALUE)})
