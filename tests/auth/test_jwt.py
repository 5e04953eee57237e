"""JWTs: RFC 8725 and the table of contract §2, with real keys and signatures made by hand."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from core.auth.jwt import FixedKey, JwtVerifier, SigningKey, load_pem
from core.domain.errors import Unauthenticated
from tests.auth.signing import (
    AUDIENCE,
    CLAIMS,
    ISSUER,
    NOW,
    PRIVATE,
    SECRET,
    T,
    b64,
    ed_key,
    jwk,
    p256_key,
    pem,
    public,
    rsa_key,
    signature,
    token,
    unb64,
)

ALGORITHMS = list(PRIVATE)


def verifier(algorithm: str = "HS256", now: dt.datetime = NOW, key: SigningKey | None = None) -> JwtVerifier:
    """A verifier with the one key of an algorithm."""
    key = key or SigningKey(algorithm, public(PRIVATE[algorithm]))  # type: ignore[arg-type]
    return JwtVerifier(FixedKey(key), issuer=ISSUER, audience=AUDIENCE, now=lambda: now)


async def verdict(text: str, by: JwtVerifier | None = None) -> str:
    """The subject of a token that counts, or the code of the refusal."""
    try:
        return (await (by or verifier()).verify(text)).sub
    except Unauthenticated as refusal:
        return refusal.code


def claims(**changes: Any) -> dict[str, Any]:
    """The claims with changes; `...` takes one away."""
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}


# ------------------------------------------------------------------------------------------------ signatures


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_each_algorithm(algorithm: str) -> None:
    """A token of each of the four algorithms counts."""
    assert "team-a" == await verdict(token(algorithm=algorithm), verifier(algorithm))


@pytest.mark.parametrize("configured", ALGORITHMS)
async def test_the_key_fixes_the_algorithm(configured: str) -> None:
    """A token of any other algorithm does not count, however well it is signed."""
    others = [name for name in ALGORITHMS if name != configured]
    assert [await verdict(token(algorithm=other), verifier(configured)) for other in others] == [
        "invalid_credentials"
    ] * 3


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_sister_algorithms(algorithm: str) -> None:
    """The right key with a sister of its algorithm does not count."""
    configured = "HS256" if algorithm.startswith("HS") else "RS256"
    text = token(algorithm=algorithm, private=PRIVATE[configured])
    assert "invalid_credentials" == await verdict(text, verifier(configured))


@pytest.mark.parametrize("named", ALGORITHMS)
@pytest.mark.parametrize("configured", ALGORITHMS)
async def test_a_lie_about_the_algorithm(configured: str, named: str) -> None:
    """A token counts only where its header names the algorithm that it is signed with, which is the key's."""
    text = token(header={"alg": named}, algorithm=configured)
    assert ("team-a" if named == configured else "invalid_credentials") == await verdict(text, verifier(configured))


@pytest.mark.parametrize("configured", ALGORITHMS)
@pytest.mark.parametrize(
    "named",
    ["none", "None", "NONE", "nOnE", "none ", "", None, "hs256", "Hs256", 0, True, ["HS256"], {"a": 1}],
    ids=repr,
)
async def test_alg_none(configured: str, named: object) -> None:
    """`none` in any spelling, and whatever is no algorithm's name, does not count, signed or not."""
    signed = token(algorithm=configured, header={"alg": named})
    unsigned = signed[: signed.rindex(".") + 1]
    for text in (signed, unsigned, unsigned + "AA"):
        assert "invalid_credentials" == await verdict(text, verifier(configured))


async def test_alg_missing() -> None:
    """A header without `alg` does not count."""
    assert "invalid_credentials" == await verdict(token(header=b"{}"))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_public_key_as_a_secret(algorithm: str) -> None:
    """A public key, as PEM with or without its last line break, is no HS256 secret."""
    text = pem(PRIVATE[algorithm])
    key = load_pem(text)
    for secret in (text, text.strip(), text.replace("\n", "\\n")):
        forged = token(algorithm="HS256", private=secret.encode())
        assert "invalid_credentials" == await verdict(forged, verifier(key=key))


@pytest.mark.parametrize(
    ("algorithm", "other"),
    [
        ("HS256", SECRET[:-1]),
        ("HS256", SECRET + b"."),
        ("HS256", SECRET.upper()),
        ("RS256", rsa_key(2048, 1)),
        ("ES256", p256_key(1)),
        ("EdDSA", ed_key(1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_another_key(algorithm: str, other: Any) -> None:
    """A signature by another key of the same kind does not count."""
    assert "invalid_credentials" == await verdict(token(algorithm=algorithm, private=other), verifier(algorithm))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_flipped_bits_of_the_signature(algorithm: str) -> None:
    """A signature with any one bit flipped does not count."""
    data, _, signed = token(algorithm=algorithm).rpartition(".")
    whole = unb64(signed)
    for place in range(len(whole)):
        flipped = bytes([*whole[:place], whole[place] ^ 1 << place % 8, *whole[place + 1 :]])
        assert "invalid_credentials" == await verdict(f"{data}.{b64(flipped)}", verifier(algorithm))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_changed_characters(algorithm: str) -> None:
    """A token with any one character changed, put in or left out does not count."""
    text = token(algorithm=algorithm)
    by = verifier(algorithm)
    for place in range(0, len(text), 3):
        other = "A" if text[place] != "A" else "B"
        for changed in (
            text[:place] + other + text[place + 1 :],
            text[:place] + text[place + 1 :],
            text[:place] + "!" + text[place:],
        ):
            assert "invalid_credentials" == await verdict(changed, by)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_truncated(algorithm: str) -> None:
    """A token that is cut at any place, from either side, does not count."""
    text = token(algorithm=algorithm)
    by = verifier(algorithm)
    for place in range(len(text)):
        assert "invalid_credentials" == await verdict(text[:place], by)
        assert place == 0 or await verdict(text[place:], by) == "invalid_credentials"


@pytest.mark.parametrize("odd", ["\n", " ", "====", "!", ".", "\x00", "é", "\U0001f98a", "%20", "+", "/"], ids=ascii)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_junk_around(algorithm: str, odd: str) -> None:
    """Junk before, behind or within a token is not passed over."""
    text = token(algorithm=algorithm)
    header, payload, signed = text.split(".")
    for junk in (odd + text, text + odd, f"{header}{odd}.{payload}.{signed}", f"{header}.{payload}{odd}.{signed}"):
        assert "invalid_credentials" == await verdict(junk, verifier(algorithm))


async def test_last_bits_that_do_not_count() -> None:
    """A signature has one spelling: bits that base64 leaves over are zero."""
    data, _, signed = token().rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    value = alphabet.index(signed[-1])
    for more in (1, 2, 3):
        other = f"{data}.{signed[:-1]}{alphabet[value | more]}"
        assert "invalid_credentials" == await verdict(other)


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 64, 1_000_000])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_signatures_of_odd_size(algorithm: str, size: int) -> None:
    """Zeros of any length are no signature."""
    data = token(algorithm=algorithm).rpartition(".")[0]
    assert "invalid_credentials" == await verdict(f"{data}.{b64(bytes(size))}", verifier(algorithm))


async def test_der_signature() -> None:
    """An ES256 signature in DER, as OpenSSL writes it, is not the JWS form and does not count."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 -- for this test alone
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    data = token(algorithm="ES256").rpartition(".")[0]
    der = p256_key().sign(data.encode(), ec.ECDSA(hashes.SHA256()))
    assert "invalid_credentials" == await verdict(f"{data}.{b64(der)}", verifier("ES256"))


# ------------------------------------------------------------------------------------------------ headers


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_keys_that_a_token_brings_along(algorithm: str) -> None:
    """`jku`, `jwk`, `x5u` and `x5c` are not looked at: a token that brings its own key does not count."""
    own = {"RS256": rsa_key(2048, 1), "ES256": p256_key(1), "EdDSA": ed_key(1)}[algorithm]
    brought = [
        {"jku": "https://evil.example/jwks"},
        {"jwk": jwk(own)},
        {"jwk": jwk(own, kid="k"), "kid": "k"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
    ]
    for header in brought:
        forged = token(algorithm=algorithm, private=own, header=header)
        assert "invalid_credentials" == await verdict(forged, verifier(algorithm))
        assert "team-a" == await verdict(token(algorithm=algorithm, header=header), verifier(algorithm))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["unknown"], "unknown": 1},
        {"crit": ["exp"], "exp": T + 600},
        {"crit": ["alg"]},
        {"crit": []},
        {"crit": None},
        {"crit": "b64"},
        {"crit": {"b64": True}},
        {"crit": [1]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"kid": 5},
        {"kid": None},
        {"kid": ["a"]},
        {"kid": {"a": 1}},
    ],
    ids=str,
)
async def test_headers_that_are_refused(header: dict[str, Any]) -> None:
    """Whatever is critical and not known is refused, and so is what has the wrong type."""
    assert "invalid_credentials" == await verdict(token(header=header))


@pytest.mark.parametrize("header", [{"kid": "any"}, {"kid": ""}, {"typ": "at+jwt"}, {"x": [1]}], ids=str)
async def test_headers_that_do_not_matter(header: dict[str, Any]) -> None:
    """With one configured key the `kid` does not matter, nor does a header that nobody knows."""
    assert "team-a" == await verdict(token(header=header))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"5",
        b"{",
        b"\xff",
        b'{"alg":"HS256"',
        b'{"alg":"HS256","alg":"none"}',
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"alg":"HS256","x":' + b"[" * 5_000 + b"]" * 5_000 + b"} x",
    ],
    ids=lambda odd: repr(odd[:30]),
)
async def test_odd_headers(header: bytes) -> None:
    """A header that is not a JSON object, or is deep without end, does not count."""
    assert "invalid_credentials" == await verdict(token(header=header))


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", "é.é.é", "." * 16_000])
async def test_no_tokens(text: str) -> None:
    """Whatever is not three parts of base64url does not count."""
    assert "invalid_credentials" == await verdict(text)


async def test_encrypted_token() -> None:
    """A token of five parts, as JWE has, does not count."""
    assert "invalid_credentials" == await verdict(token() + ".AA.AA")


# ------------------------------------------------------------------------------------------------ claims

WRONG = [
    *[(name, value) for name in ("iss", "aud", "sub", "exp", "role") for value in (..., None, {}, True, "")],
    *[(name, 5.5) for name in ("iss", "aud", "sub", "role")],
    ("iss", ISSUER + "/"),
    ("iss", ISSUER.upper()),
    ("iss", [ISSUER]),
    ("iss", f" {ISSUER}"),
    ("aud", AUDIENCE + "2"),
    ("aud", AUDIENCE[:-1]),
    ("aud", f"{AUDIENCE} other"),
    ("aud", []),
    ("aud", ["other"]),
    ("aud", [AUDIENCE, 5]),
    ("aud", [[AUDIENCE]]),
    ("aud", {AUDIENCE: 1}),
    ("sub", ["team-a"]),
    ("sub", 7),
    ("exp", str(T + 600)),
    ("exp", "2027-01-01T00:00:00Z"),
    ("exp", [T + 600]),
    ("exp", False),
    ("nbf", str(T)),
    ("nbf", True),
    ("nbf", [T]),
    ("iat", str(T)),
    ("iat", True),
    ("iat", "now"),
    ("role", "ADMIN"),
    ("role", "user"),
    ("role", "virtual_key "),
    ("role", ["admin"]),
    ("deployments", "gpt-image-1"),
    ("deployments", "*"),
    ("deployments", {}),
    ("deployments", {"gpt-image-1": True}),
    ("deployments", [1]),
    ("deployments", [None]),
    ("deployments", ["gpt-image-1", 1]),
    ("deployments", [["gpt-image-1"]]),
    ("deployments", True),
    ("deployments", 0),
    ("deployments", None),
]


@pytest.mark.parametrize(
    ("name", "value"),
    WRONG,
    ids=lambda value: "absent" if value is ... else ascii(value),
)
async def test_wrong_claims(name: str, value: object) -> None:
    """A claim that is missing, wrong or of another type does not count, and the refusal does not say which."""
    with pytest.raises(Unauthenticated) as refusal:
        await verifier().verify(token(claims(**{name: value})))
    expected = ("invalid_credentials", "The credentials are not valid")
    assert expected == (refusal.value.code, refusal.value.message)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" + "0" * 400, "01", "+1", "0x7f"]
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
async def test_numbers_that_are_none(name: str, value: str) -> None:
    """NaN, infinity, numbers beyond every float and numbers that JSON does not know do not count."""
    payload = json.dumps(claims(**{name: 0})).replace(f'"{name}": 0', f'"{name}": {value}').encode()
    assert value.encode() in payload
    assert "invalid_credentials" == await verdict(token(payload))


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"null", b'"x"', b"5", b"{", b"\xff", b"[" * 50_000, b'{"a":' * 5_000, b"\x00"],
    ids=lambda odd: repr(odd[:20]),
)
async def test_odd_payloads(payload: bytes) -> None:
    """A payload that is not a JSON object with the claims does not count, however well it is signed."""
    assert "invalid_credentials" == await verdict(token(payload))


async def test_lone_surrogate() -> None:
    """A subject that is no text of Unicode does not count."""
    payload = json.dumps(CLAIMS).replace('"team-a"', '"\\ud800"').encode()
    assert "invalid_credentials" == await verdict(token(payload))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [AUDIENCE]},
        {"aud": ["other", AUDIENCE]},
        {"exp": T + 0.5},
        {"exp": 1e300},
        {"nbf": T, "iat": T},
        {"nbf": 0, "iat": -1},
        {"role": "admin"},
        {"deployments": []},
        {"deployments": ["gpt-image-1"]},
        {"jti": 5, "unknown": {"deep": [None]}},
    ],
    ids=str,
)
async def test_right_claims(changes: dict[str, Any]) -> None:
    """An audience may be one of several, times may have fractions, and unknown claims do not matter."""
    assert "team-a" == await verdict(token(claims(**changes)))


async def test_non_ascii_subject() -> None:
    """A subject may have any characters."""
    assert "Team-Ä-\U0001f98a" == await verdict(token(claims(sub="Team-Ä-\U0001f98a")))


@pytest.mark.parametrize(
    ("changes", "seconds", "expected"),
    [
        ({"exp": T}, -1, "team-a"),
        ({"exp": T}, 0, "team-a"),
        ({"exp": T}, 59.999, "team-a"),
        ({"exp": T}, 60, "expired_credentials"),
        ({"exp": T}, 60.001, "expired_credentials"),
        ({"exp": T + 0.5}, 60.25, "team-a"),
        ({"exp": T + 0.5}, 60.5, "expired_credentials"),
        ({"exp": 0}, 0, "expired_credentials"),
        ({"exp": -1e300}, 0, "expired_credentials"),
        ({"nbf": T + 60}, 0, "team-a"),
        ({"nbf": T + 60}, -0.001, "invalid_credentials"),
        ({"iat": T + 60}, 0, "team-a"),
        ({"iat": T + 60}, -0.001, "invalid_credentials"),
        ({"nbf": 1e300}, 0, "invalid_credentials"),
        ({"iat": 1e300}, 0, "invalid_credentials"),
    ],
    ids=str,
)
async def test_times(changes: dict[str, Any], seconds: float, expected: str) -> None:
    """60 seconds of leeway, no more and no less, on `exp`, `nbf` and `iat`."""
    by = verifier(now=NOW + dt.timedelta(seconds=seconds))
    assert expected == await verdict(token(claims(**changes)), by)


@pytest.mark.parametrize("changes", [{"iss": "x"}, {"aud": "x"}, {"role": "x"}, {"sub": ""}], ids=str)
async def test_expiry_is_told_to_the_issuers_own_only(changes: dict[str, Any]) -> None:
    """That a token has expired is said only where all else about it is right."""
    assert "invalid_credentials" == await verdict(token(claims(exp=0, **changes)))
    assert "invalid_credentials" == await verdict(token(claims(exp=0))[:-4] + "AAAA")


@pytest.mark.parametrize(
    ("given", "narrowed"),
    [({}, None), ({"deployments": []}, []), ({"deployments": ["a", "a", "b"]}, ["a", "b"])],
    ids=str,
)
async def test_narrowing(given: dict[str, Any], narrowed: list[str] | None) -> None:
    """`deployments` absent means no narrowing, and `[]` means none."""
    expected = None if narrowed is None else frozenset(narrowed)
    assert expected == (await verifier().verify(token(claims(**given)))).narrowed_to


# ------------------------------------------------------------------------------------------------ keys


def test_key_says_nothing() -> None:
    """A key in a log shows its algorithm and nothing of itself."""
    assert "SigningKey(HS256)" == repr(SigningKey("HS256", SECRET))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_pem(algorithm: str) -> None:
    """The algorithm is fixed by the kind of the public key, and the key works."""
    key = load_pem(pem(PRIVATE[algorithm]))
    assert key is not None
    assert algorithm == key.algorithm
    assert "team-a" == await verdict(token(algorithm=algorithm), verifier(key=key))


def test_signing_is_not_random_by_chance() -> None:
    """The tests' own signatures are those of the published algorithms: a MAC of 32 bytes, two numbers of 32 bytes."""
    assert [32, 256, 64, 64] == [len(signature(PRIVATE[name], b"x", name)) for name in ALGORITHMS]
