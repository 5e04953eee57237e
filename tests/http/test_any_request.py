"""Whatever comes in: an answer in one of the forms of the contract, and nothing upstream that was refused here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.domain.fields import ILLEGAL, LEGAL
from tests.house import KEY, PROMPT
from tests.http.wire import CATALOGUE, events, path, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
DEPLOYMENTS = list(CATALOGUE["deployments"])
FIELDS = sorted({field for field, *_ in ILLEGAL})
RIGHT, WRONG = (
    {field: [value for name, value, *_ in table if name == field] for field in FIELDS} for table in (LEGAL, ILLEGAL)
)
RIGHT["size"].append("1008x1008")
RIGHT["fallbacks"] = [[], ["gpt-image-2"], ["azure/dall-e-3", "no-family"], ["ghost"]]


def _values(field: str) -> st.SearchStrategy[Any]:
    """Values for a field: mostly right ones, some wrong, a few that are anything."""
    right = st.sampled_from([*RIGHT[field], None])
    return st.one_of(right, right, right, right, st.sampled_from(WRONG[field]), ANY_JSON)


REQUESTS = st.fixed_dictionaries(
    {"model": st.just("m"), "prompt": st.just(PROMPT)},
    optional={field: _values(field) for field in FIELDS if field not in {"model", "prompt"}},
)
MUTATED = st.builds(
    lambda body, changes, unknown: {**unknown, **body, **changes},
    REQUESTS,
    st.sampled_from(FIELDS).flatmap(lambda field: st.fixed_dictionaries({field: _values(field)})),
    st.dictionaries(st.text(max_size=8), ANY_JSON, max_size=1),
)
BODIES = st.one_of(
    REQUESTS.map(json.dumps).map(str.encode),
    MUTATED.map(json.dumps).map(str.encode),
    ANY_JSON.map(json.dumps).map(str.encode),
    st.binary(max_size=40),
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    body=BODIES, deployment=st.sampled_from([*DEPLOYMENTS, "ghost"]), version=st.none() | st.sampled_from(["v1", "x"])
)
async def test_any_request(listed_house, body, deployment, version):
    """Any request is answered with 200 or a 4xx in the one shape; what the gateway refuses never went upstream."""
    before = len(listed_house.calls)
    response = await listed_house.http.post(
        path(deployment),
        params=None if version is None else {"api-version": version},
        headers={"authorization": f"Bearer {KEY}"},
        content=body,
    )
    asked = len(listed_house.calls) - before
    if response.status_code == 200:
        assert asked >= 1
        if response.headers["content-type"] == "application/json":
            assert response.json()["data"]
        else:
            assert {name for name, _ in events(response)} >= {"image_generation.completed"}
        return
    error = refusal(response)
    assert 400 <= response.status_code < 500
    if response.json()["is_bifrost_error"]:
        assert (0, False) == (asked, "attempts" in response.json()["extra_fields"])
    else:
        assert (1, True) == (asked, "attempts" in response.json()["extra_fields"])
    assert PROMPT not in error["message"]
