"""A JSON Web Key Set behind a URL: fetched when needed, kept, and asked again within bounds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.auth.jwks import FetchFailed, Jwks
from core.auth.jwt import JwtVerifier, SigningKey
from core.domain.errors import AuthUnavailable, Unauthenticated
from tests.auth.signing import AUDIENCE, ISSUER, NOW, b64, ed_key, jwk, p256_key, rsa_key, token

A, B = jwk(ed_key(0), "a"), jwk(ed_key(1), "b")


class Issuer:
    """In the issuer's place, with a clock: publishes keys, may be down, may be slow."""

    def __init__(self, *keys: Any) -> None:
        self.body = self.set_of(*keys)
        self.now = 1000.0
        self.fetches = 0
        self.down = False
        self.gate: asyncio.Event | None = None
        self.jwks = Jwks(self.fetch, lambda: self.now)

    @staticmethod
    def set_of(*keys: Any) -> bytes:
        """The bytes of a set."""
        return json.dumps({"keys": keys}).encode()

    async def fetch(self) -> bytes:
        """Answer once."""
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise FetchFailed("it is down")
        return self.body

    async def knows(self, kid: str | None, *, after: float = 0.0) -> bool | str:
        """Whether a key is found so many seconds later; `unavailable` where that cannot be told."""
        self.now += after
        try:
            return await self.jwks.find_key(kid) is not None
        except AuthUnavailable:
            return "unavailable"


# ------------------------------------------------------------------------------------------------ keeping


async def test_nothing_is_fetched_before_it_is_needed() -> None:
    """A set is fetched at the first question."""
    issuer = Issuer(A)
    assert 0 == issuer.fetches
    assert await issuer.knows("a")
    assert 1 == issuer.fetches


async def test_kept_for_ten_minutes() -> None:
    """A set is kept for ten minutes, and then fetched again."""
    issuer = Issuer(A)
    assert [True, True, True] == [await issuer.knows("a", after=after) for after in (0, 300, 299.9)]
    assert 1 == issuer.fetches
    assert await issuer.knows("a", after=0.1)
    assert 2 == issuer.fetches
    assert await issuer.knows("a", after=599.9)
    assert 2 == issuer.fetches


async def test_a_key_that_was_withdrawn() -> None:
    """A key that is no longer published counts until the set is fetched again, and no longer."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.body = issuer.set_of(B)
    assert [True, False] == [await issuer.knows("a", after=after) for after in (599, 1)]


async def test_an_outage() -> None:
    """Where the set cannot be fetched again it goes on for an hour after it was fetched, and then nobody gets in."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.down = True
    outcomes = [await issuer.knows("a", after=after) for after in (600, 2999.9, 0.1, 10_000)]
    assert [True, True, "unavailable", "unavailable"] == outcomes
    issuer.down = False
    assert await issuer.knows("a", after=5)


async def test_the_end_of_an_outage() -> None:
    """After an outage the new set counts, and the old one does not."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.down = True
    await issuer.knows("a", after=600)
    issuer.down, issuer.body = False, issuer.set_of(B)
    assert [False, True] == [await issuer.knows(kid, after=5) for kid in ("a", "b")]


async def test_cold_and_down() -> None:
    """Without any set nobody gets in (503), and the next fetch waits five seconds."""
    issuer = Issuer(A)
    issuer.down = True
    assert ["unavailable"] * 3 == [await issuer.knows("a", after=after) for after in (0, 1, 3.9)]
    assert 1 == issuer.fetches
    assert "unavailable" == await issuer.knows("a", after=0.1)
    assert 2 == issuer.fetches
    issuer.down = False
    assert "unavailable" == await issuer.knows("a", after=4.9)
    assert await issuer.knows("a", after=0.1)
    assert 3 == issuer.fetches


async def test_outage_is_not_hammered() -> None:
    """In an outage the issuer is asked every five seconds at most, whoever asks."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.down = True
    issuer.now += 600
    for step in range(100):
        await issuer.knows("a" if step % 2 else f"made up {step}", after=0.1)
    assert issuer.fetches <= 1 + 3


# ------------------------------------------------------------------------------------------------ unknown kids


async def test_unknown_kid_finds_a_new_key() -> None:
    """A key that was published after the set was fetched is found at once."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.body = issuer.set_of(A, B)
    assert await issuer.knows("b", after=1)
    assert 2 == issuer.fetches


async def test_unknown_kid_once_a_minute() -> None:
    """For unknown kids the set is fetched again at most once a minute."""
    issuer = Issuer(A)
    await issuer.knows("a")
    assert [False, False, False] == [await issuer.knows("b", after=after) for after in (1, 1, 58.9)]
    assert 2 == issuer.fetches
    assert not await issuer.knows("b", after=0.1)
    assert 3 == issuer.fetches


async def test_made_up_kids() -> None:
    """A thousand made-up kids within a minute are one fetch."""
    issuer = Issuer(A)
    await issuer.knows("a")
    assert not any([await issuer.knows(f"made up {number}", after=0.05) for number in range(1000)])
    assert 2 == issuer.fetches


async def test_unknown_kid_on_a_cold_start() -> None:
    """A set that is new is not fetched twice for one question."""
    issuer = Issuer(A)
    assert not await issuer.knows("b")
    assert 1 == issuer.fetches


async def test_known_kids_live_through_unknown_ones() -> None:
    """While the issuer is down, tokens with unknown kids do not shut out those with known ones."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.down = True
    outcomes = []
    for number in range(20):
        await issuer.knows(f"made up {number}", after=1)
        outcomes.append(await issuer.knows("a"))
    assert [True] * 20 == outcomes


async def test_known_kids_do_not_wait_for_unknown_ones() -> None:
    """While the set is fetched for an unknown `kid`, a token with a known one is checked at once."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.gate = asyncio.Event()
    made_up = asyncio.create_task(issuer.knows("made up"))
    await asyncio.sleep(0)
    assert 2 == issuer.fetches
    assert await asyncio.wait_for(issuer.knows("a"), 1) is True
    issuer.gate.set()
    assert await made_up is False


async def test_known_kids_do_not_wait_for_a_renewal() -> None:
    """While a set that is too old is fetched again, those who come meanwhile are checked with the old one."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.gate = asyncio.Event()
    renewing = asyncio.create_task(issuer.knows("a", after=600))
    await asyncio.sleep(0)
    issuer.body = issuer.set_of(B)
    assert await asyncio.wait_for(issuer.knows("a"), 1) is True
    issuer.gate.set()
    assert await renewing is False
    assert await issuer.knows("a") is False


async def test_a_set_that_is_too_old_counts_for_nobody() -> None:
    """After an hour without the issuer nobody is checked with the old set, also while it is fetched again."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.gate = asyncio.Event()
    renewing = asyncio.create_task(issuer.knows("a", after=3600))
    await asyncio.sleep(0)
    meanwhile = asyncio.create_task(issuer.knows("a"))
    await asyncio.sleep(0)
    assert not meanwhile.done()
    issuer.gate.set()
    assert [True, True] == await asyncio.gather(renewing, meanwhile)


# ------------------------------------------------------------------------------------------------ many at once


async def test_many_at_once_on_a_cold_start() -> None:
    """Fifty callers who come at once wait for one fetch."""
    issuer = Issuer(A)
    issuer.gate = asyncio.Event()
    asking = [asyncio.create_task(issuer.knows("a")) for _ in range(50)]
    await asyncio.sleep(0)
    issuer.gate.set()
    assert [True] * 50 == await asyncio.gather(*asking)
    assert 1 == issuer.fetches


async def test_many_at_once_while_down() -> None:
    """Fifty callers who come at once while the issuer is down are one fetch, too."""
    issuer = Issuer(A)
    issuer.down = True
    assert ["unavailable"] * 50 == await asyncio.gather(*(issuer.knows("a") for _ in range(50)))
    assert 1 == issuer.fetches


async def test_many_at_once_with_a_new_key() -> None:
    """Fifty callers with a new key are one fetch, and all of them get in."""
    issuer = Issuer(A)
    await issuer.knows("a")
    issuer.body, issuer.now = issuer.set_of(A, B), issuer.now + 1
    assert [True] * 50 == await asyncio.gather(*(issuer.knows("b") for _ in range(50)))
    assert 2 == issuer.fetches


async def test_a_caller_who_leaves() -> None:
    """A caller who leaves during the fetch does not take the others along."""
    issuer = Issuer(A)
    issuer.gate = asyncio.Event()
    leaving, staying = (asyncio.create_task(issuer.knows("a")) for _ in range(2))
    for _ in range(3):
        await asyncio.sleep(0)
    leaving.cancel()
    issuer.gate.set()
    assert await staying is True
    assert leaving.cancelled()


# ------------------------------------------------------------------------------------------------ which keys count


def p384() -> dict[str, Any]:
    """A key on a curve that is not taken."""
    return jwk(ec.generate_private_key(ec.SECP384R1()), "x")


RSA, EC, OKP = jwk(rsa_key(), "x"), jwk(p256_key(), "x"), jwk(ed_key(2), "x")


@pytest.mark.parametrize(
    ("entry", "algorithm"),
    [
        pytest.param(RSA, "RS256", id="RSA"),
        pytest.param(EC, "ES256", id="P-256"),
        pytest.param(OKP, "EdDSA", id="Ed25519"),
        pytest.param({**RSA, "alg": "RS256", "use": "sig"}, "RS256", id="with alg and use"),
        pytest.param({**OKP, "key_ops": ["verify"]}, "EdDSA", id="with key_ops"),
        pytest.param({**EC, "x5c": ["MII"], "x5t": "x", "x5u": "https://h", "new": {}}, "ES256", id="with more"),
    ],
)
async def test_taken(entry: dict[str, Any], algorithm: str) -> None:
    """The algorithm of a published key is fixed by its kind."""
    key = await Issuer(entry).jwks.find_key("x")
    assert isinstance(key, SigningKey)
    assert algorithm == key.algorithm


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"kty": "oct", "k": b64(b"x" * 32), "kid": "x"}, id="a secret"),
        pytest.param({"kty": "oct", "k": b64(b"x" * 32), "kid": "x", "alg": "HS256"}, id="a secret for HS256"),
        pytest.param({**OKP, "d": b64(b"x" * 32)}, id="a private Ed25519 key"),
        pytest.param({**EC, "d": b64(b"x" * 32)}, id="a private P-256 key"),
        pytest.param({**RSA, "d": "AQAB"}, id="a private RSA key"),
        pytest.param({**RSA, "d": None}, id="a private RSA key, blacked out"),
        pytest.param(jwk(rsa_key(1024), "x"), id="RSA 1024"),
        pytest.param(p384(), id="P-384"),
        pytest.param({**EC, "crv": "P-521"}, id="P-521"),
        pytest.param({**EC, "crv": "secp256k1"}, id="secp256k1"),
        pytest.param({**OKP, "crv": "X25519"}, id="X25519"),
        pytest.param({**OKP, "crv": "Ed448"}, id="Ed448"),
        pytest.param({**RSA, "use": "enc"}, id="for encryption"),
        pytest.param({**RSA, "use": None}, id="use null"),
        pytest.param({**RSA, "key_ops": ["encrypt"]}, id="for encryption by key_ops"),
        *[
            pytest.param({**RSA, "key_ops": odd}, id=f"key_ops {odd!r}")
            for odd in (5, True, "verify", "verifying", {"verify": 1}, ["sign"], [["verify"]], [None])
        ],
        pytest.param({**RSA, "alg": "RS512"}, id="for RS512"),
        pytest.param({**RSA, "alg": "HS256"}, id="RSA for HS256"),
        pytest.param({**RSA, "alg": "none"}, id="for none"),
        pytest.param({**RSA, "alg": ["RS256"]}, id="a list of algorithms"),
        pytest.param({**EC, "alg": "EdDSA"}, id="P-256 for EdDSA"),
        pytest.param({**RSA, "n": 5}, id="a modulus that is no text"),
        pytest.param({**RSA, "n": ""}, id="an empty modulus"),
        pytest.param({**RSA, "n": "é"}, id="a modulus that is no base64"),
        pytest.param({**RSA, "e": "Ag"}, id="an even exponent"),
        pytest.param({**RSA, "e": "AQ"}, id="the exponent 1"),
        pytest.param({"kty": "RSA", "kid": "x"}, id="RSA without numbers"),
        pytest.param({**EC, "y": EC["x"]}, id="a point off the curve"),
        pytest.param({**EC, "x": "AA"}, id="a short point"),
        pytest.param({**EC, "x": None}, id="a point that is null"),
        pytest.param({**OKP, "x": "AA"}, id="a short key"),
        pytest.param({**OKP, "x": 7}, id="a key that is a number"),
        pytest.param({**OKP, "kid": 7}, id="a kid that is a number"),
        pytest.param({**OKP, "kid": ["x"]}, id="a kid that is a list"),
        pytest.param({**OKP, "kty": ["OKP"]}, id="a kind that is a list"),
        pytest.param({**OKP, "kty": "okp"}, id="a kind in lower case"),
        pytest.param({}, id="nothing"),
        pytest.param(None, id="null"),
        pytest.param(7, id="a number"),
        pytest.param("x", id="a text"),
        pytest.param([OKP], id="a list"),
    ],
)
async def test_passed_over(entry: Any) -> None:
    """A key that cannot be used is passed over, and the others of its set count."""
    issuer = Issuer(entry, A)
    assert [False, True] == [await issuer.knows(kid) for kid in ("x", "a")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"5",
        b'"keys"',
        b'{"keys":null}',
        b'{"keys":5}',
        b'{"keys":"abc"}',
        b'{"keys":{}}',
        b'{"keys":{"a":{}}}',
        b"<html></html>",
        b"\xff",
        b"[" * 100_000,
        json.dumps([A]).encode(),
        json.dumps(A).encode(),
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_what_is_no_key_set(body: bytes) -> None:
    """An answer that is no key set counts as a failed fetch: what is kept goes on, and without it nobody gets in."""
    cold = Issuer()
    cold.body = body
    assert "unavailable" == await cold.knows("a")
    warm = Issuer(A)
    await warm.knows("a")
    warm.body = body
    assert await warm.knows("a", after=600) is True


async def test_an_empty_set() -> None:
    """A set without keys is a set: nobody gets in, and that is not an outage."""
    assert await Issuer().knows("a") is False


# ------------------------------------------------------------------------------------------------ tokens without a kid


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        pytest.param([A], True, id="one key"),
        pytest.param([jwk(ed_key(0))], True, id="one key without a kid"),
        pytest.param([A, {"kty": "oct", "k": "AA", "kid": "s"}, p384()], True, id="one key that can be used"),
        pytest.param([A, B], False, id="two keys"),
        pytest.param([A, jwk(ed_key(1))], False, id="two keys, one of them without a kid"),
        pytest.param([jwk(ed_key(0)), jwk(ed_key(1))], False, id="two keys without a kid"),
        pytest.param([A, {**B, "kid": "a"}], False, id="two keys of the same kid"),
        pytest.param([], False, id="no key"),
    ],
)
async def test_no_kid(keys: list[Any], found: bool) -> None:
    """A token without a `kid` is taken only where the set has just one key."""
    assert found is await Issuer(*keys).knows(None)


async def test_no_kid_fetches_nothing_more() -> None:
    """A token without a `kid` never has the set fetched again."""
    issuer = Issuer(A, B)
    for _ in range(5):
        await issuer.knows(None, after=61)
    assert 1 == issuer.fetches


async def test_a_kid_that_is_not_published() -> None:
    """A token whose kid is unknown is not checked with some other key, even where there is only one."""
    assert [False, False, False] == [await Issuer(jwk(ed_key(0))).knows(kid) for kid in ("a", "", "None")]


# ------------------------------------------------------------------------------------------------ with tokens


@pytest.mark.parametrize(
    ("algorithm", "private"),
    [("RS256", rsa_key()), ("ES256", p256_key()), ("EdDSA", ed_key(2))],
    ids=lambda v: str(v)[:5],
)
async def test_tokens(algorithm: str, private: Any) -> None:
    """A token is verified by the key that its kid names, with that key's algorithm, and by no other."""
    issuer = Issuer(jwk(private, "x"), A)
    by = JwtVerifier(issuer.jwks, issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
    good = token(algorithm=algorithm, private=private, header={"kid": "x"})
    assert "team-a" == (await by.verify(good)).sub
    for kid in ("a", "other"):
        with pytest.raises(Unauthenticated) as refusal:
            await by.verify(token(algorithm=algorithm, private=private, header={"kid": kid}))
        assert "invalid_credentials" == refusal.value.code
