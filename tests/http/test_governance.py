"""The admin API: keys made, shown, listed, changed, rotated and deleted, over HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from typing import Any

import pytest
import pytest_asyncio

from core.auth.virtual_keys import hash_secret
from core.storage.memory import MemoryTables
from tests.auth.storing import NO_ANSWER, OUT_OF_REACH, Wall, Watched
from tests.fakes import Clock
from tests.house import KEY, key_record
from tests.http.governing import NOBODY, PATH, TEAM_A, USAGE, Operator, governed, own_path, token
from tests.http.wire import QUICK, refusal, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = {
    PATH: "GET, POST",
    NOBODY: "GET, PUT, DELETE",
    f"{NOBODY}/rotate": "POST",
    f"{NOBODY}/usage": "GET",
    USAGE: "GET",
}
CALLS = [(method, path) for path, methods in ROUTES.items() for method in methods.split(", ")]
EVERY_CALL = pytest.mark.parametrize(("method", "path"), CALLS, ids=lambda value: value.removeprefix("/api/governance"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator():
    """An operator of a gateway with one key in its setting."""
    async with governed() as own:
        yield own


# ------------------------------------------------------------------------------------------------ who


class TestWho:
    """Only an admin whose JWT is not narrowed."""

    @EVERY_CALL
    @pytest.mark.parametrize(
        ("credential", "expected"),
        [
            (KEY, (403, "admin_required")),
            (token(role="virtual_key", sub="team-a"), (403, "admin_required")),
            (token(deployments=["gpt-image-1"]), (403, "admin_required")),
            (token(deployments=[]), (403, "admin_required")),
            (token(exp=0), (401, "expired_credentials")),
            (token(role="virtual_key", sub="nobody"), (401, "invalid_credentials")),
            (token(role="owner"), (401, "invalid_credentials")),
            ("sk-bf-unknown", (401, "invalid_credentials")),
            (token()[:-4] + "AAAA", (401, "invalid_credentials")),
        ],
        ids=[
            "key",
            "key's JWT",
            "narrowed",
            "narrowed to none",
            "expired",
            "no record",
            "no role",
            "unknown",
            "forged",
        ],
    )
    async def test_refused(self, operator, method, path, credential, expected):
        """A virtual key, its JWT and a narrowed admin are 403, whoever is nobody 401; the body is not looked at."""
        response = await Operator(operator.house, credential).ask(method, path, content=b"nope")
        assert (*expected, None) == said(response)
        assert "governance" == response.json()["extra_fields"]["request_type"]

    @EVERY_CALL
    async def test_nobody(self, operator, method, path):
        """Without a credential it is 401."""
        response = await operator.house.http.request(method, path)
        assert (401, "missing_credentials", None) == said(response)

    @pytest.mark.parametrize("header", ["api-key", "x-api-key", "x-bf-vk"])
    async def test_other_headers(self, operator, header):
        """The JWT may come in any header that takes credentials."""
        response = await operator.house.http.get(PATH, headers={header: token()})
        assert 200 == response.status_code

    async def test_a_star_narrows_nothing(self, operator):
        """An admin's JWT whose `deployments` are all of them is not narrowed."""
        response = await Operator(operator.house, token(deployments=["*"])).ask("GET")
        assert 200 == response.status_code


class TestRoutes:
    """What there is, and what is not."""

    @pytest.mark.parametrize(("path", "allowed"), ROUTES.items(), ids=str)
    async def test_other_methods(self, operator, path, allowed):
        """Every other method is 405 with the ones that are taken, whoever asks."""
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(allowed.split(", ")):
            response = await operator.house.http.request(method, path)
            assert (405, "method_not_allowed", None) == said(response)
            assert allowed.replace("GET", "GET, HEAD") == response.headers["allow"]

    async def test_case_does_not_matter(self, operator):
        """Paths are matched without regard to case, and to a slash at the end."""
        for path in (PATH.upper(), f"{PATH}/", f"{NOBODY}/Usage/"):
            assert (await operator.ask("GET", path)).status_code in {200, 404}
        assert (404, "key_not_found", "id") == said(await operator.ask("GET", f"{NOBODY}/Usage/"))

    @pytest.mark.parametrize("path", ["/api", "/api/governance", f"{PATH}/a/b", f"{NOBODY}/rotate/now"])
    async def test_other_paths(self, operator, path):
        """Every other path is 404."""
        assert (404, "not_found", None) == said(await operator.ask("GET", path))

    @EVERY_CALL
    async def test_nothing_is_stored_on_the_way(self, operator, method, path):
        """No answer of the admin API is kept by whoever stands between."""
        assert "no-store" == (await operator.ask(method, path)).headers["cache-control"]

    async def test_wrong_settings(self):
        """Where the settings are wrong, the admin API is 503 too."""
        async with governed(GATEWAY_VIRTUAL_KEYS="nope") as operator:
            assert (503, "misconfigured", None) == said(await operator.ask("GET"))


# ------------------------------------------------------------------------------------------------ a key's life


class TestMaking:
    """`POST …/virtual-keys`."""

    async def test_the_documented_call(self, operator):
        """The documented body makes a key: 201, its record as it is shown, and the key itself, this once."""
        response = await operator.ask("POST", json=TEAM_A)
        answer = response.json()
        record = answer["virtual_key"]
        assert (201, own_path(record)) == (response.status_code, response.headers["location"])
        assert f'"{record["etag"]}"' == response.headers["etag"]
        assert {"virtual_key", "key"} == answer.keys()
        assert TEAM_A == {name: record[name] for name in TEAM_A}
        assert (answer["key"][:10], "store", True, None) == (
            record["prefix"],
            record["source"],
            record["active"],
            record["last_used_at"],
        )
        assert record == await operator.show(record["id"])

    async def test_the_least(self, operator):
        """Only a name is needed; without more a key may call nothing, and has no limits."""
        response = await operator.ask("POST", json={"name": "x"})
        record = response.json()["virtual_key"]
        expected = {"deployments": [], "rate_limit": None, "budget": None, "metadata": {}, "expires_at": None}
        assert expected == {name: record[name] for name in expected}
        assert (403, "deployment_not_allowed", None) == said(
            await operator.house.draw(QUICK, key=response.json()["key"])
        )

    async def test_null_is_absent(self, operator):
        """`null` in a field that may be left out is as if it were left out."""
        nulls = dict.fromkeys(("deployments", "expires_at", "rate_limit", "budget", "metadata"))
        record = (await operator.make(**nulls))["virtual_key"]
        assert ([], {}, None) == (record["deployments"], record["metadata"], record["budget"])

    @pytest.mark.parametrize(
        ("field", "given", "shown"),
        [
            ("expires_at", "2027-01-01T02:00:00.25+02:00", "2027-01-01T00:00:00.250000Z"),
            ("expires_at", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"),
            ("expires_at", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"),
            ("rate_limit", {"images": {"limit": 1, "window": "3600s"}}, None),
            ("rate_limit", {}, None),
            ("budget", {"usd": 0.1, "window": "total"}, None),
            ("budget", {"usd": 1e-9, "window": "day"}, None),
            ("budget", {"usd": 1_000_000, "window": "week"}, None),
            ("budget", {"usd": 999_999.123456789, "window": "week"}, None),
            ("deployments", ["b", "a", "b"], ["b", "a"]),
            ("deployments", ["*"], None),
            ("name", "Ä \U0001f98a", None),
            ("metadata", {f"{number}": "x" * 256 for number in range(16)}, None),
            ("active", False, None),
        ],
        ids=str,
    )
    async def test_values(self, operator, field, given, shown):
        """Values are kept as they are: money exactly, times in UTC, windows in the largest unit that fits."""
        record = (await operator.make(**{field: given}))["virtual_key"]
        special = {"rate_limit": {"requests": None, "images": {"limit": 1, "window": "1h"}} if given else None}
        expected = special.get(field, given if shown is None else shown)
        assert expected == record[field]

    async def test_it_works_at_once(self, operator):
        """The new key draws, where it may."""
        key = (await operator.make(deployments=[QUICK], budget=None))["key"]
        response = await operator.house.draw(QUICK, key=key)
        assert 200 == response.status_code
        assert ("60", "20") == (
            response.headers["x-ratelimit-limit-requests"],
            response.headers["x-ratelimit-limit-images"],
        )


WRONG: list[tuple[str, str, dict[str, Any]]] = [
    # code, param, what is changed in a good body
    ("missing_required_parameter", "name", {"name": ...}),
    ("invalid_type", "name", {"name": None}),
    ("invalid_value", "name", {"name": ""}),
    ("invalid_value", "name", {"name": "x" * 257}),
    ("invalid_value", "name", {"name": "a\nb"}),
    ("unknown_parameter", "budgett", {"budgett": TEAM_A["budget"]}),
    ("unknown_parameter", "id", {"id": "vk-1"}),
    ("unknown_parameter", "key_sha256", {"key_sha256": "0" * 64}),
    ("unknown_parameter", "rate_limit.image", {"rate_limit": {"image": {"limit": 1, "window": "1m"}}}),
    ("unknown_parameter", "rate_limit.images.per", {"rate_limit": {"images": {"limit": 1, "window": "1m", "per": 1}}}),
    ("missing_required_parameter", "rate_limit.images.window", {"rate_limit": {"images": {"limit": 1}}}),
    ("invalid_type", "rate_limit.images", {"rate_limit": {"images": 5}}),
    ("invalid_type", "rate_limit", {"rate_limit": []}),
    ("invalid_value", "rate_limit.images.limit", {"rate_limit": {"images": {"limit": 0, "window": "1m"}}}),
    ("invalid_type", "rate_limit.images.limit", {"rate_limit": {"images": {"limit": 1.5, "window": "1m"}}}),
    ("invalid_type", "rate_limit.images.limit", {"rate_limit": {"images": {"limit": True, "window": "1m"}}}),
    *(
        ("invalid_value", "rate_limit.requests.window", {"rate_limit": {"requests": {"limit": 1, "window": window}}})
        for window in ("", "1", "m", "0s", "01s", "1M", "1 m", "1w", "-1m", "1.5h", "32d", "745h", "44641m", "2678401s")
    ),
    ("invalid_type", "budget.usd", {"budget": {"usd": "50", "window": "day"}}),
    ("invalid_type", "budget.usd", {"budget": {"usd": True, "window": "day"}}),
    ("invalid_value", "budget.usd", {"budget": {"usd": 0, "window": "day"}}),
    ("invalid_value", "budget.usd", {"budget": {"usd": -1, "window": "day"}}),
    ("invalid_value", "budget.usd", {"budget": {"usd": 1e-10, "window": "day"}}),
    ("invalid_value", "budget.usd", {"budget": {"usd": 1_000_001, "window": "day"}}),
    ("invalid_value", "budget.window", {"budget": {"usd": 1, "window": "year"}}),
    ("missing_required_parameter", "budget.window", {"budget": {"usd": 1}}),
    ("unknown_parameter", "budget.usdd", {"budget": {"usd": 1, "window": "day", "usdd": 1}}),
    ("invalid_type", "deployments", {"deployments": "*"}),
    ("invalid_value", "deployments[1]", {"deployments": ["a", "-a"]}),
    ("invalid_value", "deployments[0]", {"deployments": ["a*"]}),
    ("invalid_type", "deployments[0]", {"deployments": [1]}),
    ("invalid_value", "deployments", {"deployments": ["a"] * 101}),
    ("invalid_type", "active", {"active": "true"}),
    ("invalid_type", "active", {"active": None}),
    *(
        ("invalid_value", "expires_at", {"expires_at": text})
        for text in ("", "never", "2027-01-01", "2027-01-01T00:00:00", "2027-01-01 00:00:00Z", "2027-02-30T00:00:00Z")
    ),
    ("invalid_type", "expires_at", {"expires_at": 1_800_000_000}),
    ("invalid_type", "metadata.a", {"metadata": {"a": 1}}),
    ("invalid_type", "metadata.a", {"metadata": {"a": None}}),
    ("invalid_value", "metadata.a", {"metadata": {"a": "x" * 257}}),
    ("invalid_value", "metadata", {"metadata": {"": "x"}}),
    ("invalid_value", "metadata", {"metadata": {"x" * 65: "x"}}),
    ("invalid_value", "metadata", {"metadata": {f"{number}": "" for number in range(17)}}),
    ("invalid_type", "metadata", {"metadata": ["a"]}),
]


class TestWrongBodies:
    """What is wrong is named, with what it may be; nothing is made or changed."""

    @pytest.mark.parametrize(
        ("code", "param", "changes"), WRONG, ids=lambda value: None if isinstance(value, dict) else value
    )
    async def test_fields(self, operator, code, param, changes):
        """A field that is wrong is 400 for a new key, and for a change."""
        body = {name: value for name, value in {**TEAM_A, **changes}.items() if value is not ...}
        assert (400, code, param) == said(await operator.ask("POST", json=body))
        if ... not in changes.values():
            response = await operator.ask("PUT", NOBODY, json=changes, headers={"if-match": "*"})
            assert (400, code, param) == said(response)

    @pytest.mark.parametrize(
        ("given", "near"),
        [({"budgett": 1}, "budget"), ({"expires": None}, "expires_at"), ({"rate_limits": {}}, "rate_limit")],
        ids=str,
    )
    async def test_misspelt(self, operator, given, near):
        """A field that nobody knows is named, and so is the one that was perhaps meant."""
        error = refusal(await operator.ask("POST", json={"name": "x", **given}))
        assert error["message"].endswith(f"did you mean {near}?")

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"", 400, "invalid_json"),
            (b"nope", 400, "invalid_json"),
            (b"[]", 400, "invalid_json"),
            (b'{"name": NaN}', 400, "invalid_json"),
            (b'{"name": "\xff"}', 400, "invalid_json"),
            (b"[" * 100_000, 400, "invalid_json"),
            (b'{"name": "' + b"x" * (1 << 20) + b'"}', 413, "request_too_large"),
        ],
        ids=["empty", "no JSON", "no object", "NaN", "no UTF-8", "deep", "large"],
    )
    @pytest.mark.parametrize(("method", "path"), [("POST", PATH), ("PUT", NOBODY), ("POST", f"{NOBODY}/rotate")])
    async def test_bodies(self, operator, body, status, code, method, *, path):
        """A body that is no JSON object is 400, one that is too large 413; only a rotation needs none."""
        response = await operator.ask(method, path, content=body, headers={"if-match": "*"})
        expected = (404, "key_not_found") if not body and path.endswith("rotate") else (status, code)
        assert expected == said(response)[:2]

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("grace_seconds", -1, "invalid_value"),
            ("grace_seconds", 31 * 86_400 + 1, "invalid_value"),
            ("grace_seconds", "0", "invalid_type"),
            ("grace_seconds", None, "invalid_type"),
            ("grace", 0, "unknown_parameter"),
        ],
    )
    async def test_rotations(self, operator, field, value, code):
        """A grace time is a whole number of seconds, at most 31 days."""
        response = await operator.ask("POST", f"{NOBODY}/rotate", json={field: value})
        assert (400, code, field) == said(response)

    async def test_no_secret_of_the_caller_comes_back(self, operator):
        """An error repeats no long text of the body."""
        response = await operator.ask("POST", json={"name": "x", "key": "sk-bf-" + "s" * 43})
        assert "sssss" not in response.text


class TestQueries:
    """What stands behind the question mark."""

    @EVERY_CALL
    async def test_unknown(self, operator, method, path):
        """A parameter that nobody knows is 400 and named, on every route."""
        response = await operator.ask(method, path, params={"limits": "5"}, json={}, headers={"if-match": "*"})
        assert (400, "unknown_parameter", "limits") == said(response)

    @pytest.mark.parametrize("path", [PATH, USAGE])
    @pytest.mark.parametrize("limit", ["", "0", "-1", "1.5", "x", "1001", "1e2", "٣", "9" * 5000], ids=ascii)
    async def test_limits(self, operator, path, limit):
        """A limit is a whole number within bounds."""
        response = await operator.ask("GET", path, params={"limit": limit})
        assert (400, "invalid_value", "limit") == said(response)

    async def test_twice(self, operator):
        """A parameter that is given twice is 400."""
        response = await operator.ask("GET", f"{PATH}?limit=1&limit=2")
        assert (400, "invalid_value", "limit") == said(response)

    @pytest.mark.parametrize("path", [PATH, USAGE])
    @pytest.mark.parametrize("cursor", ["", "x", "abc", "AB", "a" * 5000], ids=lambda text: text[:5])
    async def test_cursors(self, operator, path, cursor):
        """What is no cursor is 400."""
        response = await operator.ask("GET", path, params={"cursor": cursor})
        assert (400, "invalid_value", "cursor") == said(response)

    @pytest.mark.parametrize("path", [PATH, USAGE])
    @pytest.mark.parametrize("place", [b"\x00", b"#999999999999", b"\xff" * 512, b"zzz", "é".encode() * 200], ids=repr)
    async def test_made_up_cursors(self, operator, path, place):
        """A place in the list that was never given is one all the same, and nothing breaks."""
        assert 200 == (await operator.ask("GET", path, params={"cursor": place.hex()})).status_code


class TestListing:
    """`GET …/virtual-keys`."""

    async def test_pages(self):
        """All keys come, those of the setting first, then by age; each once, whatever the size of a page."""
        setting = [key_record(f"sk-bf-{name}", id=name) for name in ("zoe", "adam", "eve")]
        async with governed(GATEWAY_VIRTUAL_KEYS=setting) as operator:
            made = [(await operator.make(name=f"{number}"))["virtual_key"]["id"] for number in range(4)]
            expected = ["zoe", "adam", "eve", *made]
            for limit in (1, 2, 3, 4, 6, 7, 8, 200):
                assert expected == [record["id"] for record in await _all(operator, limit)]

    async def test_nothing(self):
        """Without any key the list is empty."""
        async with governed(GATEWAY_VIRTUAL_KEYS=None) as operator:
            response = await operator.ask("GET")
            assert {"virtual_keys": [], "next_cursor": None} == response.json()

    async def test_no_secret(self, operator):
        """Neither a key nor its hash is in a list or a record."""
        answer = await operator.make()
        texts = [(await operator.ask("GET", path)).text for path in (PATH, own_path(answer["virtual_key"]))]
        for secret in (answer["key"][10:], hash_secret(answer["key"]), key_record()["key_sha256"]):
            assert [False, False] == [secret in text for text in texts]


async def _all(operator: Operator, limit: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = (await operator.ask("GET", params=query)).json()
        assert len(page["virtual_keys"]) <= limit
        records += page["virtual_keys"]
        if page["next_cursor"] is None:
            return records
        query = {"limit": limit, "cursor": page["next_cursor"]}


class TestTheSetting:
    """Keys of GATEWAY_VIRTUAL_KEYS: shown, and not changed."""

    async def test_shown(self):
        """A key of the setting is shown like a stored one, with its limits, but is read-only and has no ETag."""
        limits = {"rate_limit": TEAM_A["rate_limit"], "budget": TEAM_A["budget"]}
        async with governed(GATEWAY_VIRTUAL_KEYS=[key_record(**limits)]) as operator:
            response = await operator.ask("GET", f"{PATH}/team-a")
        record = response.json()["virtual_key"]
        expected = {"id": "team-a", "source": "setting", "prefix": "", "etag": "", "created_at": None, **limits}
        assert expected == {name: record[name] for name in expected}
        assert "etag" not in response.headers

    @pytest.mark.parametrize(("method", "more"), [("PUT", ""), ("DELETE", ""), ("POST", "/rotate")])
    async def test_read_only(self, operator, method, more):
        """It cannot be changed here, and the answer says where."""
        response = await operator.ask(method, f"{PATH}/team-a{more}", json={}, headers={"if-match": "*"})
        assert (409, "read_only_key", None) == said(response)
        assert "GATEWAY_VIRTUAL_KEYS" in refusal(response)["message"]

    async def test_odd_ids(self):
        """An id with a slash or a percent sign is found, encoded."""
        ids = ["a/b", "50%", "ü".encode().hex(), "a?b#c"]
        async with governed(GATEWAY_VIRTUAL_KEYS=[key_record(f"sk-bf-{each}", id=each) for each in ids]) as operator:
            shown = [
                (await operator.ask("GET", f"{PATH}/{path}")).json()["virtual_key"]["id"]
                for path in ("a%2Fb", "50%25", ids[2], "a%3Fb%23c")
            ]
        assert ids == shown

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"rate_limit": {"images": {"limit": 1, "window": "1w"}}}, "[0].rate_limit.images.window"),
            ({"rate_limit": {"image": {}}}, "[0].rate_limit.image"),
            ({"budget": {"usd": 0, "window": "day"}}, "[0].budget.usd"),
            ({"budgett": {}}, "[0].budgett"),
        ],
        ids=str,
    )
    async def test_wrong_limits(self, caplog, changes, word):
        """Limits that are wrong in the setting stop it, with their place."""
        async with governed(GATEWAY_VIRTUAL_KEYS=[key_record(**changes)]) as operator:
            assert (503, "misconfigured", None) == said(await operator.house.draw())
        assert word in caplog.text


class TestChanging:
    """`PUT …/{id}`, guarded by If-Match."""

    async def test_what_is_left_out_stays(self, operator):
        """Only what is given changes; the ETag does, too."""
        before = (await operator.make())["virtual_key"]
        response = await operator.change(before, name="Team B")
        after = response.json()["virtual_key"]
        changed = {name for name in before if before[name] != after[name]}
        assert (200, "Team B") == (response.status_code, after["name"])
        assert {"name", "etag", "updated_at"} >= changed >= {"name", "etag"}
        assert f'"{after["etag"]}"' == response.headers["etag"]
        assert after == await operator.show(before["id"])

    @pytest.mark.parametrize(
        ("field", "cleared"),
        [("deployments", []), ("expires_at", None), ("rate_limit", None), ("budget", None), ("metadata", {})],
    )
    async def test_null_clears(self, operator, field, cleared):
        """`null` clears a field, and leaves the others."""
        before = (await operator.make(expires_at="2199-01-01T00:00:00Z"))["virtual_key"]
        after = (await operator.change(before, **{field: None})).json()["virtual_key"]
        assert {**before, field: cleared} == {**after, "etag": before["etag"], "updated_at": before["updated_at"]}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("rate_limit", {"requests": None, "images": {"limit": 1, "window": "1d"}}),
            ("rate_limit", {"images": {"limit": 1, "window": "1d"}}),
            ("metadata", {"b": "c"}),
            ("deployments", ["x"]),
            ("active", False),
        ],
        ids=str,
    )
    async def test_what_is_given_is_replaced_whole(self, operator, field, value):
        """A field that is given takes the place of the old one, whole."""
        before = (await operator.make())["virtual_key"]
        after = (await operator.change(before, **{field: value})).json()["virtual_key"]
        assert (value if field != "rate_limit" else {"requests": None, **value}) == after[field]

    async def test_nothing_given(self, operator):
        """An empty change is one: what comes is a new ETag."""
        before = (await operator.make())["virtual_key"]
        after = (await operator.change(before)).json()["virtual_key"]
        assert before["etag"] != after["etag"]

    @pytest.mark.parametrize("form", ['"{}"', "{}", '"other", "{}"', "*"])
    async def test_if_match(self, operator, form):
        """The ETag comes with quotes or without, alone or among others; a star is whatever is there."""
        record = (await operator.make())["virtual_key"]
        condition = {"if-match": form.format(record["etag"])}
        response = await operator.ask("PUT", own_path(record), json={"name": "B"}, headers=condition)
        assert 200 == response.status_code

    @pytest.mark.parametrize("form", ["", '""', '"other"', 'W/"{}"', "other", "{}x"])
    @pytest.mark.parametrize(("method", "more"), [("PUT", ""), ("DELETE", ""), ("POST", "/rotate")])
    async def test_another_etag(self, operator, method, more, form):
        """Another ETag, or a weak one, is 412, and nothing is changed."""
        record = (await operator.make())["virtual_key"]
        condition = {"if-match": form.format(record["etag"])}
        response = await operator.ask(method, own_path(record) + more, json={}, headers=condition)
        assert (412, "etag_mismatch", "If-Match") == said(response)
        assert "false" == response.headers["x-should-retry"]
        assert record == await operator.show(record["id"])

    async def test_without_if_match(self, operator):
        """A change that does not say what was read is 428."""
        record = (await operator.make())["virtual_key"]
        response = await operator.ask("PUT", own_path(record), json={"name": "B"})
        assert (428, "precondition_required", "If-Match") == said(response)

    async def test_of_many_one_gets_through(self, operator):
        """Of ten who read the same and write, one gets through and nine are told."""
        record = (await operator.make())["virtual_key"]
        responses = await asyncio.gather(*(operator.change(record, name=f"{number}") for number in range(10)))
        assert [200, *[412] * 9] == sorted(response.status_code for response in responses)
        (won,) = [response for response in responses if response.status_code == 200]
        assert won.json()["virtual_key"] == await operator.show(record["id"])

    @pytest.mark.parametrize("key_id", ["nobody", "vk-", "vk-" + "0" * 20, "a%2Fb", "%00", "%ff", "~", "id~x"])
    @pytest.mark.parametrize(
        ("method", "more"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/rotate"), ("GET", "/usage")]
    )
    async def test_unknown(self, operator, method, more, key_id):
        """A key that there is not is 404, whatever its id looks like."""
        response = await operator.ask(method, f"{PATH}/{key_id}{more}", json={}, headers={"if-match": "*"})
        assert (404, "key_not_found", "id") == said(response)


class TestRotating:
    """`POST …/{id}/rotate`."""

    async def test_new_secret(self, operator):
        """A new secret for the same record, shown this once; with a grace time the old one draws as well."""
        old = await operator.make(deployments=[QUICK], budget=None)
        response = await operator.ask("POST", own_path(old["virtual_key"], "rotate"), json={"grace_seconds": 60})
        new = response.json()
        assert (200, old["virtual_key"]["id"]) == (response.status_code, new["virtual_key"]["id"])
        assert old["key"] != new["key"]
        assert new["key"][:10] == new["virtual_key"]["prefix"]
        assert f'"{new["virtual_key"]["etag"]}"' == response.headers["etag"]
        assert [200, 200] == [(await operator.house.draw(QUICK, key=each["key"])).status_code for each in (old, new)]

    @pytest.mark.parametrize(("body", "hours"), [(None, 24), ({}, 24), ({"grace_seconds": 3600}, 1)], ids=str)
    async def test_grace(self, operator, body, hours):
        """Until when the old one counts is shown; it is a day if nothing is said."""
        record = (await operator.make())["virtual_key"]
        response = await operator.ask("POST", own_path(record, "rotate"), json=body)
        rotated = response.json()["virtual_key"]
        until = dt.datetime.fromisoformat(rotated["previous_key_until"])
        assert dt.timedelta(hours=hours) == until - dt.datetime.fromisoformat(rotated["updated_at"])

    async def test_without_grace(self, operator):
        """Without a grace time the old one is unknown at once, on the instance that was asked."""
        old = await operator.make(deployments=[QUICK], budget=None)
        assert 200 == (await operator.house.draw(QUICK, key=old["key"])).status_code
        response = await operator.ask("POST", own_path(old["virtual_key"], "rotate"), json={"grace_seconds": 0})
        assert response.json()["virtual_key"]["previous_key_until"] is None
        assert (401, "invalid_credentials", None) == said(await operator.house.draw(QUICK, key=old["key"]))

    async def test_a_grace_time_that_is_over(self):
        """When the grace time is over the old secret has expired, and the record no longer shows it."""
        wall = Wall(dt.datetime.now(dt.UTC))
        async with governed(now=wall) as operator:
            old = await operator.make(deployments=[QUICK], budget=None)
            await operator.ask("POST", own_path(old["virtual_key"], "rotate"), json={"grace_seconds": 60})
            wall.pass_by(60)
            assert (401, "expired_credentials", None) == said(await operator.house.draw(QUICK, key=old["key"]))
            assert (await operator.show(old["virtual_key"]["id"]))["previous_key_until"] is None


class TestEnding:
    """A key that is to count no longer."""

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"active": False}, (403, "key_inactive")),
            ({"expires_at": "2020-01-01T00:00:00Z"}, (401, "expired_credentials")),
            ({"deployments": ["other"]}, (403, "deployment_not_allowed")),
            (None, (401, "invalid_credentials")),
        ],
        ids=["inactive", "expired", "narrowed", "deleted"],
    )
    async def test_at_once_here(self, operator, changes, expected):
        """On the instance that was asked it holds at once, also for JWTs of the key; nothing is asked upstream."""
        made = await operator.make(deployments=[QUICK], budget=None)
        record = made["virtual_key"]
        credentials = (made["key"], token(role="virtual_key", sub=record["id"]))
        assert [200, 200] == [(await operator.house.draw(QUICK, key=each)).status_code for each in credentials]
        operator.house.calls.clear()
        if changes is None:
            response = await operator.ask("DELETE", own_path(record))
            assert (204, b"") == (response.status_code, response.content)
        else:
            assert 200 == (await operator.change(record, **changes)).status_code
        for each in credentials:
            assert expected == said(await operator.house.draw(QUICK, key=each))[:2]
        assert 0 == len(operator.house.calls)

    async def test_elsewhere_within_the_cache_time(self):
        """On another instance it holds as soon as its cache time is over."""
        tables, clock = MemoryTables(), Clock()
        async with (
            governed(tables=tables) as operator,
            governed(tables=tables, clock=clock, GATEWAY_KEY_CACHE_SECONDS="7") as other,
        ):
            made = await operator.make(deployments=[QUICK], rate_limit=None, budget=None)
            statuses = [(await other.house.draw(QUICK, key=made["key"])).status_code]
            await operator.ask("DELETE", own_path(made["virtual_key"]))
            for seconds in (6.9, 0.1):
                clock.pass_by(seconds)
                statuses.append((await other.house.draw(QUICK, key=made["key"])).status_code)
        assert [200, 200, 401] == statuses

    async def test_deleted_twice(self, operator):
        """What is gone is 404."""
        record = (await operator.make())["virtual_key"]
        answers = [await operator.ask("DELETE", own_path(record)) for _ in range(2)]
        assert [204, 404] == [answer.status_code for answer in answers]

    async def test_only_as_it_was_read(self, operator):
        """A deletion with If-Match deletes what was read."""
        record = (await operator.make())["virtual_key"]
        response = await operator.ask("DELETE", own_path(record), headers={"if-match": f'"{record["etag"]}"'})
        assert 204 == response.status_code


# ------------------------------------------------------------------------------------------------ an outage


class TestOutage:
    """A store that cannot be reached, or does not answer."""

    @pytest.mark.parametrize(("method", "path"), [call for call in CALLS if call[1] != USAGE])
    async def test_out_of_reach(self, method, path):
        """Every call that needs the store is 503 with Retry-After, and may be tried again."""
        watched = Watched()
        async with governed(tables=watched) as operator:
            watched.fails = OUT_OF_REACH
            response = (
                await operator.ask(method, path, json={"name": "x"}, headers={"if-match": "*"})
                if (not path.endswith("rotate"))
                else await operator.ask(method, path)
            )
        assert (503, "store_unavailable", None) == said(response)
        assert ("5", None) == (response.headers["retry-after"], response.headers.get("x-should-retry"))

    async def test_no_answer(self, caplog):
        """A change whose fate nobody knows is 503 too, says so, and is not to be tried again; the log has it."""
        watched = Watched()
        async with governed(tables=watched) as operator:
            record = (await operator.make())["virtual_key"]
            watched.fails_afterwards = NO_ANSWER
            with caplog.at_level(logging.INFO, logger="gateway.changes"):
                response = await operator.change(record, name="Team B")
            assert (503, "store_unavailable", None) == said(response)
            assert "false" == response.headers["x-should-retry"]
            assert "may have been made" in refusal(response)["message"]
            assert "Team B" == (await operator.show(record["id"]))["name"]
        assert ["perhaps"] == [line["outcome"] for line in _changes(caplog)]

    async def test_virtual_keys(self):
        """Meanwhile a stored key that is not cached is 503, and one of the setting draws."""
        watched = Watched()
        async with governed(tables=watched) as operator:
            key = (await operator.make())["key"]
            watched.fails = OUT_OF_REACH
            assert (503, "auth_unavailable", None) == said(await operator.house.draw(QUICK, key=key))
            assert 200 == (await operator.house.draw(QUICK)).status_code


# ------------------------------------------------------------------------------------------------ the log


def _changes(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.changes"]


async def test_the_log(operator, caplog):
    """Each change is one line: who, what, which key, which fields; never a key, a value or what was refused."""
    with caplog.at_level(logging.INFO, logger="gateway.changes"):
        made = await operator.make(metadata={"a": "a note"})
        record = made["virtual_key"]
        changed = (await operator.change(record, name="A new name")).json()["virtual_key"]
        await operator.change(record, name="Too late")
        rotated = await operator.ask("POST", own_path(record, "rotate"), json={"grace_seconds": 60})
        await operator.ask("DELETE", own_path(changed))
        await operator.ask("DELETE", own_path(changed))
        await operator.ask("POST", json={"name": ""})
        await operator.show("team-a")
    lines = _changes(caplog)
    expected = [
        ("create", sorted(TEAM_A)),
        ("change", ["name"]),
        ("rotate", ["grace_seconds=60"]),
        ("delete", []),
    ]
    assert expected == [(line["action"], line["details"]) for line in lines]
    assert {("root", record["id"], "done")} == {(line["admin"], line["key_id"], line["outcome"]) for line in lines}
    for word in (made["key"][10:], rotated.json()["key"][10:], "a note", "A new name"):
        assert word not in caplog.text
