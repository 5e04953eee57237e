"""All keys together: those of the setting come first, and an id that names two keys stops everything."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from core.auth.authenticator import Authenticator
from core.auth.jwt import FixedKey, JwtVerifier, SigningKey
from core.auth.key_cache import KeyCache
from core.auth.key_directory import KeyDirectory
from core.auth.virtual_keys import ConfiguredKeys, VirtualKey, hash_secret
from core.domain.errors import GatewayError
from core.domain.secret import Secret
from tests.auth.signing import AUDIENCE, CLAIMS, ISSUER, NOW, SECRET, token
from tests.auth.storing import DAY, OUT_OF_REACH, TERMS, KeyTerms, Wall, Watched, stored_keys
from tests.fakes import Clock

SECONDS = 30.0
ID = "vk-" + "0" * 20


def of_setting(key: str = "sk-bf-of-the-setting", **fields: Any) -> VirtualKey:
    """A key of the setting."""
    return VirtualKey(**{"id": "team-s", "name": "S", "key_sha256": hash_secret(key), **fields})


class Door:
    """An authenticator over both kinds of keys, with both clocks in hand."""

    def __init__(self, *setting: VirtualKey, watched: Watched | None = None) -> None:
        self.watched = watched or Watched()
        self.wall = Wall()
        self.clock = Clock()
        self.stored = stored_keys(self.watched, self.wall, taken=[key.id for key in setting])
        cached = KeyCache(self.stored, seconds=SECONDS, clock=self.clock)
        self.ring = KeyDirectory(ConfiguredKeys(setting), self.stored, cached)
        jwts = JwtVerifier(FixedKey(SigningKey("HS256", SECRET)), issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
        self._authenticator = Authenticator(self.ring, jwts, self.wall)

    def pass_by(self, seconds: float) -> None:
        """Let time go by, on both clocks."""
        self.wall.pass_by(seconds)
        self.clock.pass_by(seconds)

    async def says(self, credential: str) -> str:
        """Who that is, or why not."""
        try:
            return (await self._authenticator.authenticate(Secret(credential))).id
        except GatewayError as refusal:
            return refusal.code

    async def may_call(self, credential: str, deployment: str) -> bool:
        """Whether it may call a deployment."""
        return (await self._authenticator.authenticate(Secret(credential))).may_call(deployment)


def jwt(record_id: str, **changes: Any) -> str:
    """A JWT of a virtual key."""
    return token({**CLAIMS, "sub": record_id, **changes})


# ------------------------------------------------------------------------------------------------ both kinds


async def test_keys_of_both_kinds() -> None:
    """A key of the setting and a stored one both count, by key and by JWT; what is neither does not."""
    door = Door(of_setting())
    issued = await door.stored.create(TERMS)
    key, record_id = issued.key.reveal(), issued.record.id
    credentials = ("sk-bf-of-the-setting", key, jwt("team-s"), jwt(record_id), "sk-bf-" + "x" * 43, jwt("team-x"))
    expected = ["team-s", record_id, "team-s", record_id, "invalid_credentials", "invalid_credentials"]
    assert expected == [await door.says(each) for each in credentials]


async def test_the_setting_comes_first() -> None:
    """A key of the setting is not looked up in the store, also if it has the form of a stored one."""
    key = "sk-bf-" + "s" * 43
    door = Door(of_setting(key))
    assert ("team-s", 0) == (await door.says(key), door.watched.reads)


async def test_an_outage_of_the_store() -> None:
    """Without the store the keys of the setting count as ever, and others are 503."""
    door = Door(of_setting())
    key = (await door.stored.create(TERMS)).key.reveal()
    door.watched.fails = OUT_OF_REACH
    credentials = ("sk-bf-of-the-setting", jwt("team-s"), jwt("root", role="admin"), key, jwt(ID))
    expected = ["team-s", "team-s", "root", "auth_unavailable", "auth_unavailable"]
    assert expected == [await door.says(each) for each in credentials]


# ------------------------------------------------------------------------------------------------ an id twice


@pytest.mark.parametrize("credential", ["sk-bf-of-the-setting", "of the store", "sk-bf-x", jwt("root", role="admin")])
async def test_an_id_that_names_two_keys(credential: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every call is 503, whoever calls, and one line in the log names the id and the cure."""
    watched = Watched()
    issued = await stored_keys(watched).create(TERMS)
    door = Door(of_setting(id=issued.record.id), watched=watched)
    with caplog.at_level(logging.CRITICAL):
        said = [await door.says(issued.key.reveal() if " " in credential else credential) for _ in range(3)]
    assert ["misconfigured"] * 3 == said
    (line,) = [record.getMessage() for record in caplog.records]
    assert [True] * 3 == [word in line for word in (issued.record.id, "GATEWAY_VIRTUAL_KEYS", "another id")]


async def test_the_check_costs_nothing_else() -> None:
    """An id that no stored key can have is not checked; one that could is checked once."""
    door = Door(of_setting())
    await door.ring.check()
    assert 0 == door.watched.reads
    door = Door(of_setting(id=ID))
    for _ in range(3):
        await door.ring.check()
    assert 1 == door.watched.reads


async def test_what_cannot_be_checked() -> None:
    """Where the store cannot say whether an id names two keys, nobody gets in until it can."""
    door = Door(of_setting(id=ID))
    door.watched.fails = OUT_OF_REACH
    assert "auth_unavailable" == await door.says("sk-bf-of-the-setting")
    door.watched.fails = None
    assert ID == await door.says("sk-bf-of-the-setting")


async def test_what_an_operator_is_told() -> None:
    """At a start the clash is a settings error that names the setting; without one there is none."""
    watched = Watched()
    issued = await stored_keys(watched).create(TERMS)
    clash = await Door(of_setting(id=issued.record.id), watched=watched).ring.find_clash()
    assert clash is not None
    assert "GATEWAY_VIRTUAL_KEYS" == clash.setting
    assert await Door(of_setting(id=ID), watched=watched).ring.find_clash() is None


# ------------------------------------------------------------------------------------------------ JWTs of stored keys


@pytest.mark.parametrize(
    ("ends", "expected"),
    [("inactive", "key_inactive"), ("expired", "expired_credentials"), ("deleted", "invalid_credentials")],
)
@pytest.mark.parametrize("by", ["key", "JWT"])
async def test_the_record_ends_it(ends: str, expected: str, by: str) -> None:
    """A record that is inactive, expired or deleted ends its key and its JWTs, within the cache time."""
    door = Door()
    issued = await door.stored.create(TERMS)
    credential = issued.key.reveal() if by == "key" else jwt(issued.record.id)
    assert issued.record.id == await door.says(credential)
    if ends == "deleted":
        await door.stored.delete(issued.record)
    else:
        ended = KeyTerms(name="A", active=ends != "inactive", expires_at=NOW if ends == "expired" else None)
        await door.stored.change(issued.record, ended)
    door.pass_by(SECONDS)
    assert expected == await door.says(credential)


async def test_an_expiry_that_is_known_holds_at_once() -> None:
    """A key that expires while it is kept ends at that very moment."""
    door = Door()
    soon = KeyTerms(name="A", expires_at=NOW + DAY)
    issued = await door.stored.create(soon)
    door.wall.pass_by(DAY.total_seconds() - 1)
    credentials = (issued.key.reveal(), jwt(issued.record.id))
    assert [issued.record.id] * 2 == [await door.says(each) for each in credentials]
    door.pass_by(1)
    assert ["expired_credentials"] * 2 == [await door.says(each) for each in credentials]


async def test_the_grace_time_of_an_old_secret() -> None:
    """The old secret counts until its grace time is over; then it has expired. JWTs do not notice."""
    door = Door()
    old = await door.stored.create(TERMS)
    new = await door.stored.rotate(old.record, DAY)
    credentials = (old.key.reveal(), new.key.reveal(), jwt(old.record.id))
    door.pass_by(DAY.total_seconds() - 0.001)
    assert [old.record.id] * 3 == [await door.says(each) for each in credentials]
    door.pass_by(0.001)
    assert ["expired_credentials", old.record.id, old.record.id] == [await door.says(each) for each in credentials]


@pytest.mark.parametrize(
    ("claim", "allowed"),
    [(None, ["a", "b"]), (["a"], ["a"]), (["a", "c"], ["a"]), (["*"], ["a", "b"]), ([], [])],
    ids=str,
)
async def test_a_jwt_only_narrows(claim: list[str] | None, allowed: list[str]) -> None:
    """The `deployments` of a JWT narrow what its record allows, and never widen it."""
    door = Door()
    record = (await door.stored.create(KeyTerms(name="A", deployments=("a", "b")))).record
    credential = jwt(record.id, **({} if claim is None else {"deployments": claim}))
    assert allowed == [name for name in ("a", "b", "c") if await door.may_call(credential, name)]
