"""From a credential to a caller: the table of contract §2."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from core.auth.authenticator import Authenticator
from core.auth.caller import Caller
from core.auth.jwt import FixedKey, JwtVerifier, SigningKey
from core.auth.virtual_keys import ConfiguredKeys, KeyStoreUnavailable, VirtualKey, hash_secret
from core.domain.errors import AuthUnavailable, Forbidden, GatewayError, Unauthenticated
from core.domain.secret import Secret
from tests.auth.signing import AUDIENCE, CLAIMS, ISSUER, NOW, SECRET, T, token

KEY = "sk-bf-team-a"


def record(key: str = KEY, **fields: Any) -> VirtualKey:
    """The record of a key that may call everything."""
    given = {"id": "team-a", "name": "Team A", "deployments": frozenset({"*"}), **fields}
    return VirtualKey(key_sha256=hash_secret(key), **given)


RECORDS = [
    record(),
    record("sk-bf-off", id="off", active=False),
    record("sk-bf-late", id="late", expires_at=NOW),
    record("sk-bf-soon", id="soon", expires_at=NOW + dt.timedelta(microseconds=1)),
    record("sk-bf-late-and-off", id="late-and-off", active=False, expires_at=NOW),
    record("sk-bf-narrow", id="narrow", deployments=frozenset({"a", "b"})),
    record("sk-bf-none", id="none", deployments=frozenset()),
    record("sk-bf-a.b.c", id="dots"),
    record("sk-bf-", id="prefix"),
]


def authenticator(*, jwts: bool = True, now: dt.datetime = NOW, keys: Any = None) -> Authenticator:
    """An authenticator that takes virtual keys and, if wanted, JWTs of HS256."""
    verifier = JwtVerifier(FixedKey(SigningKey("HS256", SECRET)), issuer=ISSUER, audience=AUDIENCE, now=lambda: now)
    return Authenticator(keys or ConfiguredKeys(RECORDS), verifier if jwts else None, lambda: now)


def jwt(**changes: Any) -> str:
    """A signed token with these claims."""
    return token({**CLAIMS, **changes})


async def authenticate(credential: str, **parts: Any) -> Caller:
    """Who that is."""
    return await authenticator(**parts).authenticate(Secret(credential))


# ------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize(
    ("credential", "caller"),
    [
        (KEY, Caller(id="team-a", deployments=frozenset({"*"}))),
        ("sk-bf-soon", Caller(id="soon", deployments=frozenset({"*"}))),
        ("sk-bf-narrow", Caller(id="narrow", deployments=frozenset({"a", "b"}))),
        ("sk-bf-a.b.c", Caller(id="dots", deployments=frozenset({"*"}))),
        (jwt(), Caller(id="team-a", deployments=frozenset({"*"}))),
        (jwt(deployments=["a"]), Caller(id="team-a", deployments=frozenset({"*"}), narrowed_to=frozenset({"a"}))),
        (jwt(role="admin", sub="root"), Caller(id="root", is_admin=True)),
    ],
    ids=["key", "key about to expire", "key for two", "key with dots", "JWT", "narrowing JWT", "admin"],
)
async def test_who(credential: str, caller: Caller) -> None:
    """A key is its record, a JWT of a virtual key the record that its `sub` names, an admin the `sub` itself."""
    assert caller == await authenticate(credential)


@pytest.mark.parametrize(
    ("credential", "kind", "status", "code"),
    [
        pytest.param(credential, kind, status, code, id=name)
        for name, credential, kind, status, code in [
            ("unknown key", "sk-bf-other", Unauthenticated, 401, "invalid_credentials"),
            ("key in upper case", KEY.upper(), Unauthenticated, 401, "invalid_credentials"),
            ("cut key", KEY[:-1], Unauthenticated, 401, "invalid_credentials"),
            ("longer key", KEY + "x", Unauthenticated, 401, "invalid_credentials"),
            ("hash of a key", hash_secret(KEY), Unauthenticated, 401, "invalid_credentials"),
            ("prefix and hash", f"sk-bf-{hash_secret(KEY)}", Unauthenticated, 401, "invalid_credentials"),
            ("id of a key", "team-a", Unauthenticated, 401, "invalid_credentials"),
            ("key of non-ASCII", "sk-bf-é\U0001f98a", Unauthenticated, 401, "invalid_credentials"),
            ("key of another vendor", "sk-proj-x", Unauthenticated, 401, "invalid_credentials"),
            ("no known form", "x", Unauthenticated, 401, "invalid_credentials"),
            ("two parts", "a.b", Unauthenticated, 401, "invalid_credentials"),
            ("four parts", "a.b.c.d", Unauthenticated, 401, "invalid_credentials"),
            ("three parts of nothing", "..", Unauthenticated, 401, "invalid_credentials"),
            ("expired key", "sk-bf-late", Unauthenticated, 401, "expired_credentials"),
            ("inactive key", "sk-bf-off", Forbidden, 403, "key_inactive"),
            ("expired inactive key", "sk-bf-late-and-off", Unauthenticated, 401, "expired_credentials"),
            ("JWT of no record", jwt(sub="nobody"), Unauthenticated, 401, "invalid_credentials"),
            ("JWT of another case", jwt(sub="Team-A"), Unauthenticated, 401, "invalid_credentials"),
            ("JWT of a hash", jwt(sub=hash_secret(KEY)), Unauthenticated, 401, "invalid_credentials"),
            ("JWT of a key itself", jwt(sub=KEY), Unauthenticated, 401, "invalid_credentials"),
            ("JWT of an expired key", jwt(sub="late"), Unauthenticated, 401, "expired_credentials"),
            ("JWT of an inactive key", jwt(sub="off"), Forbidden, 403, "key_inactive"),
            ("expired JWT", jwt(exp=T - 60), Unauthenticated, 401, "expired_credentials"),
            ("expired admin", jwt(role="admin", exp=T - 60), Unauthenticated, 401, "expired_credentials"),
            ("wrong issuer", jwt(iss="x"), Unauthenticated, 401, "invalid_credentials"),
            ("wrong audience", jwt(aud="x"), Unauthenticated, 401, "invalid_credentials"),
            ("no role", jwt(role=None), Unauthenticated, 401, "invalid_credentials"),
            ("bad signature", jwt()[:-4] + "AAAA", Unauthenticated, 401, "invalid_credentials"),
        ]
    ],
)
async def test_who_not(credential: str, kind: type[GatewayError], status: int, code: str) -> None:
    """Each row of the contract's table, and a message that shows nothing of the credential."""
    with pytest.raises(kind) as refusal:
        await authenticate(credential)
    assert (status, code) == (refusal.value.status, refusal.value.code)
    assert len(credential) < 6 or credential not in refusal.value.message


async def test_all_invalid_ones_are_alike() -> None:
    """Nothing tells an unknown key from a bad signature, a wrong issuer or an unknown form."""
    messages = set()
    for credential in ("sk-bf-other", "x", jwt(iss="x"), jwt(aud="x"), jwt()[:-4] + "AAAA", jwt(sub="nobody")):
        with pytest.raises(Unauthenticated) as refusal:
            await authenticate(credential)
        messages.add((refusal.value.message, refusal.value.code, tuple(refusal.value.headers.items())))
    expected = {("The credentials are not valid", "invalid_credentials", (("www-authenticate", "Bearer"),))}
    assert expected == messages


@pytest.mark.parametrize(("microseconds", "in_time"), [(-1, True), (0, False), (1, False)])
async def test_expiry_of_a_key(microseconds: int, in_time: bool) -> None:
    """From the very moment that its record names a key no longer counts; there is no leeway for it."""
    now = NOW + dt.timedelta(microseconds=microseconds)
    for credential in ("sk-bf-late", token({**CLAIMS, "sub": "late"})):
        try:
            counted = await authenticate(credential, now=now) is not None
        except Unauthenticated:
            counted = False
        assert in_time is counted


async def test_expiry_in_another_time_zone() -> None:
    """An expiry in another time zone is the same moment."""
    tokyo = dt.timezone(dt.timedelta(hours=9))
    keys = ConfiguredKeys([record(expires_at=NOW.astimezone(tokyo))])
    assert "team-a" == (await authenticate(KEY, keys=keys, now=NOW - dt.timedelta(seconds=1))).id
    with pytest.raises(Unauthenticated):
        await authenticate(KEY, keys=keys)


async def test_without_jwts() -> None:
    """Where no JWTs are taken a good one is not valid, and keys are."""
    assert "team-a" == (await authenticate(KEY, jwts=False)).id
    with pytest.raises(Unauthenticated) as refusal:
        await authenticate(jwt(), jwts=False)
    assert "invalid_credentials" == refusal.value.code


@pytest.mark.parametrize("credential", [KEY, jwt(), jwt(role="admin")], ids=["key", "JWT", "admin"])
async def test_nothing_set_means_nobody(credential: str) -> None:
    """Without keys and without JWTs nobody gets in."""
    with pytest.raises(Unauthenticated):
        await Authenticator(ConfiguredKeys([]), None, lambda: NOW).authenticate(Secret(credential))


class Unreachable:
    """A key store that cannot be reached."""

    async def get_by_key(self, key: str) -> VirtualKey | None:
        """Fail."""
        raise KeyStoreUnavailable

    async def get_by_id(self, key_id: str) -> VirtualKey | None:
        """Fail."""
        raise KeyStoreUnavailable

    async def check(self) -> None:
        """Find nothing wrong."""

    async def find_key(self, kid: str | None) -> SigningKey | None:
        """Fail, in the place of a JWKS."""
        raise AuthUnavailable


@pytest.mark.parametrize("credential", [KEY, jwt()], ids=["key", "JWT"])
async def test_key_store_out_of_reach(credential: str) -> None:
    """Where the key store cannot be reached nobody gets in: 503, fail closed."""
    with pytest.raises(AuthUnavailable) as refusal:
        await authenticate(credential, keys=Unreachable())
    assert (503, "auth_unavailable") == (refusal.value.status, refusal.value.code)


async def test_jwks_out_of_reach() -> None:
    """Where the keys for JWTs cannot be reached, JWTs are 503, and virtual keys still count."""
    verifier = JwtVerifier(Unreachable(), issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
    asked = Authenticator(ConfiguredKeys(RECORDS), verifier, lambda: NOW)
    with pytest.raises(AuthUnavailable):
        await asked.authenticate(Secret(jwt()))
    assert "team-a" == (await asked.authenticate(Secret(KEY))).id


# ------------------------------------------------------------------------------------------------ what they may call

NAMES = ("a", "b", "c", "A", "*", "")


@pytest.mark.parametrize(
    ("of_the_key", "of_the_token", "allowed"),
    [
        pytest.param({"a", "b"}, None, {"a", "b"}, id="no narrowing"),
        pytest.param({"a", "b"}, ["a"], {"a"}, id="narrowed to one"),
        pytest.param({"a", "b"}, ["a", "c"], {"a"}, id="never widened by a name"),
        pytest.param({"a", "b"}, ["*"], {"a", "b"}, id="never widened by a star"),
        pytest.param({"a", "b"}, ["c"], set(), id="narrowed to another"),
        pytest.param({"a", "b"}, [], set(), id="narrowed to none"),
        pytest.param({"*"}, None, set(NAMES), id="a star"),
        pytest.param({"*"}, ["a"], {"a"}, id="a star, narrowed"),
        pytest.param({"*"}, [], set(), id="a star, narrowed to none"),
        pytest.param(set(), None, set(), id="a key that allows none"),
        pytest.param(set(), ["a"], set(), id="a key that allows none, and a token with a name"),
        pytest.param(set(), ["*"], set(), id="a key that allows none, and a token with a star"),
        pytest.param({"a*"}, None, set(), id="a star is no pattern"),
        pytest.param({"A"}, ["a"], set(), id="names are compared as they are"),
    ],
)
async def test_narrowing(of_the_key: set[str], of_the_token: list[str] | None, allowed: set[str]) -> None:
    """A token narrows what its key may call, and never widens it."""
    keys = ConfiguredKeys([record(deployments=frozenset(of_the_key))])
    more = {} if of_the_token is None else {"deployments": of_the_token}
    caller = await authenticate(jwt(**more), keys=keys)
    assert allowed == {name for name in NAMES if caller.may_call(name)}


async def test_admin_may_call_everything() -> None:
    """An admin may call every deployment."""
    caller = await authenticate(jwt(role="admin"))
    assert [True] * len(NAMES) == [caller.may_call(name) for name in NAMES]


async def test_a_key_is_never_an_admin() -> None:
    """Only the role of a signed token makes an admin: not a key, not a subject, not a claim of another name."""
    keys = ConfiguredKeys([record(id="admin")])
    callers = [
        await authenticate(KEY, keys=keys),
        await authenticate(jwt(sub="admin", admin=True, is_admin=True), keys=keys),
    ]
    assert [False, False] == [caller.is_admin for caller in callers]


async def test_records_are_found_by_hash_and_id_only() -> None:
    """The record of a key holds its hash; the key itself is nowhere in it."""
    assert KEY not in repr(record())
    store = ConfiguredKeys([record()])
    assert [record(), None] == [await store.get_by_key(KEY), await store.get_by_key(hash_secret(KEY))]
    assert [record(), None] == [await store.get_by_id("team-a"), await store.get_by_id("Team A")]
