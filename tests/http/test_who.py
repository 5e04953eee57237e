"""Contract §2, who may call: the credential's headers, virtual keys, JWTs, and what each is answered."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from emulator.loopback import serving
from tests.house import KEY, PROMPT, house, key_record
from tests.http.wire import QUICK, path, refusal, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = f"{QUICK}--other"
ISSUER = "https://issuer.example"
AUDIENCE = "image-gateway"
SECRET = "a secret of thirty-two bytes or more, and long enough for the other algorithms"
TRUST = {"GATEWAY_JWT_ISSUER": ISSUER, "GATEWAY_JWT_AUDIENCE": AUDIENCE}

KEYS = [
    key_record(),
    key_record("sk-bf-narrow", id="narrow", deployments=[QUICK]),
    key_record("sk-bf-nothing", id="nothing", deployments=[]),
    {**key_record("sk-bf-unsaid", id="unsaid"), "deployments": None},
    key_record("sk-bf-inactive", id="inactive", active=False),
    key_record("sk-bf-expired", id="expired", expires_at="2020-01-01T00:00:00Z"),
    key_record("sk-bf-lasting", id="lasting", expires_at="2199-01-01T00:00:00Z"),
]
del KEYS[3]["deployments"]


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good JWT, with changes; None leaves a claim out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "team-a",
        "role": "virtual_key",
        "exp": int(time.time()) + 600,
        **changed,
    }
    return {name: value for name, value in good.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **changed: Any) -> str:
    """A JWT that is good but for what is changed."""
    return jwt.encode(claims(**changed), key, algorithm, headers=None if kid is None else {"kid": kid})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door():
    """A gateway that knows some virtual keys, and JWTs by a secret."""
    async with house(GATEWAY_VIRTUAL_KEYS=KEYS, GATEWAY_JWT_SECRET=SECRET, GATEWAY_MAX_RETRIES="0", **TRUST) as own:
        yield own


@pytest.fixture
def who(door):
    """The same, and nothing asked upstream yet."""
    door.calls.clear()
    return door


class TestHeaders:
    """Where the credential stands."""

    @pytest.mark.parametrize(
        "headers",
        [
            [("authorization", f"Bearer {KEY}")],
            [("authorization", f"bearer {KEY}")],
            [("authorization", f"BEARER   {KEY}")],
            [("api-key", KEY)],
            [("x-api-key", KEY)],
            [("x-bf-vk", KEY)],
            [("API-KEY", KEY)],
            [("api-key", KEY), ("authorization", f"Bearer {KEY}")],
            [("authorization", f"Bearer {KEY}"), ("api-key", KEY), ("x-api-key", KEY), ("x-bf-vk", KEY)],
            [("api-key", KEY), ("x-api-key", "")],
            [("api-key", KEY), ("api-key", KEY)],
        ],
        ids=lambda headers: "+".join(name for name, _ in headers),
    )
    async def test_taken(self, who, headers):
        """A token is read from any of four headers, also from several with the same value."""
        response = await who.http.post(path(), headers=headers, json={"model": "m", "prompt": PROMPT})
        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ([], "missing_credentials"),
            ([("authorization", "")], "missing_credentials"),
            ([("authorization", "Bearer")], "missing_credentials"),
            ([("api-key", "")], "missing_credentials"),
            ([("cookie", f"api-key={KEY}")], "missing_credentials"),
            ([("api-key", KEY), ("authorization", "Bearer sk-bf-another")], "ambiguous_credentials"),
            ([("api-key", "sk-bf-another"), ("x-bf-vk", KEY)], "ambiguous_credentials"),
            ([("api-key", KEY), ("api-key", "sk-bf-another")], "ambiguous_credentials"),
            ([("x-api-key", KEY), ("authorization", "Basic dXNlcjpwYXNz")], "ambiguous_credentials"),
            ([("authorization", f"Basic {KEY}")], "invalid_credentials"),
            ([("authorization", KEY)], "invalid_credentials"),
            ([("api-key", f"Bearer {KEY}")], "invalid_credentials"),
        ],
    )
    async def test_refused(self, who, headers, code):
        """No credential, different ones, and other schemes are 401, and nothing is asked upstream."""
        response = await who.http.post(path(), headers=headers, json={"model": "m", "prompt": PROMPT})
        assert (401, code, None) == said(response)
        assert ("Bearer", 0) == (response.headers["www-authenticate"], len(who.calls))

    async def test_not_in_the_query(self, who):
        """A key in the URL, where it would be logged, does not count."""
        response = await who.http.post(
            path(), params={"api-key": KEY, "subscription-key": KEY}, json={"model": "m", "prompt": PROMPT}
        )
        assert (401, "missing_credentials", None) == said(response)


class TestVirtualKeys:
    """Opaque keys, known by their hash."""

    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            ("sk-bf-unknown", (401, "invalid_credentials")),
            ("sk-bf-", (401, "invalid_credentials")),
            (KEY.upper(), (401, "invalid_credentials")),
            (KEY + "x", (401, "invalid_credentials")),
            (KEY.removeprefix("sk-bf-"), (401, "invalid_credentials")),
            (key_record()["key_sha256"], (401, "invalid_credentials")),
            ("sk-bf-" + "x" * 20_000, (401, "invalid_credentials")),
            ("emulator-key", (401, "invalid_credentials")),
            ("sk-bf-expired", (401, "expired_credentials")),
            ("sk-bf-inactive", (403, "key_inactive")),
        ],
        ids=lambda value: value[:20] if isinstance(value, str) else value[1],
    )
    async def test_refused(self, who, key, expected):
        """A key that is unknown, expired or inactive is refused, and nothing is asked upstream."""
        response = await who.draw(QUICK, key=key)
        assert (*expected, None) == said(response)
        assert ("Bearer" if expected[0] == 401 else None) == response.headers.get("www-authenticate")
        assert len(who.calls) == 0

    async def test_lasting(self, who):
        """A key whose end is still to come counts."""
        assert (await who.draw(QUICK, key="sk-bf-lasting")).status_code == 200

    @pytest.mark.parametrize("key", ["sk-bf-narrow", "sk-bf-nothing", "sk-bf-unsaid"])
    async def test_not_allowed(self, who, key):
        """A deployment that the key's record does not name is 403, and nothing is asked upstream."""
        assert (403, "deployment_not_allowed", None) == said(await who.draw(OTHER, key=key))
        assert len(who.calls) == 0

    async def test_allowed(self, who):
        """A deployment that it names is drawn by, whatever the body's `model` says."""
        assert (await who.draw(QUICK, key="sk-bf-narrow", model=OTHER)).status_code == 200

    @pytest.mark.parametrize("name", [QUICK.upper(), f"{QUICK}.", OTHER])
    async def test_by_the_very_name(self, who, name):
        """What is allowed is a name letter for letter, not what resembles it."""
        assert (403, "deployment_not_allowed", None) == said(await who.draw(name, key="sk-bf-narrow"))

    @pytest.mark.parametrize("prefix", ["", "azure/"])
    async def test_fallback_not_allowed(self, who, prefix):
        """A fallback that is not allowed is 403 at once, also where it would not have been needed."""
        response = await who.draw(QUICK, key="sk-bf-narrow", fallbacks=[QUICK, f"{prefix}{OTHER}"])
        assert (403, "deployment_not_allowed", "fallbacks[1]") == said(response)
        assert len(who.calls) == 0

    @pytest.mark.parametrize("key", ["sk-bf-unknown", "sk-bf-expired", None])
    async def test_nothing_is_told(self, who, key):
        """A refusal repeats neither the token nor what is known of it."""
        response = await who.draw(QUICK, key=key)
        known = [*(record["key_sha256"] for record in KEYS), *(record["name"] for record in KEYS), "sk-bf-", "team-a"]
        assert [] == [word for word in known if word in response.text]

    async def test_nobody(self):
        """Where no key is set, nobody may call."""
        async with house(GATEWAY_VIRTUAL_KEYS=None) as own:
            assert (401, "invalid_credentials", None) == said(await own.draw(QUICK))


BAD_JWTS = {
    "wrong signature": lambda: token("another secret of thirty-two bytes or more"),
    "no signature": lambda: token(None, "none"),
    "another algorithm": lambda: token(algorithm="HS512"),
    "cut": lambda: token()[:-2],
    "two parts": lambda: token().rsplit(".", 1)[0],
    "junk": lambda: "a.b.c",
    "wrong issuer": lambda: token(iss="https://other.example"),
    "issuer with a slash": lambda: token(iss=f"{ISSUER}/"),
    "wrong audience": lambda: token(aud="other"),
    "audience among wrong ones": lambda: token(aud=["other", "another"]),
    "no issuer": lambda: token(iss=None),
    "no audience": lambda: token(aud=None),
    "no subject": lambda: token(sub=None),
    "no end": lambda: token(exp=None),
    "an end that is text": lambda: token(exp="2199-01-01"),
    "no role": lambda: token(role=None),
    "unknown role": lambda: token(role="root"),
    "not yet": lambda: token(nbf=int(time.time()) + 600),
    "of a key that is unknown": lambda: token(sub="nobody"),
    "deployments a string": lambda: token(deployments="*"),
    "deployments of numbers": lambda: token(deployments=[1]),
    "deployments an object": lambda: token(deployments={QUICK: True}),
    "critical header": lambda: jwt.encode(claims(), SECRET, "HS256", headers={"crit": ["x"], "x": 1}),
}


class TestJwts:
    """JWTs by a secret."""

    async def test_a_virtual_key(self, who):
        """A JWT with the role of a virtual key may call what the record of its subject may."""
        signed = token(sub="narrow")
        assert (await who.draw(QUICK, key=signed)).status_code == 200
        assert (403, "deployment_not_allowed", None) == said(await who.draw(OTHER, key=signed))

    @pytest.mark.parametrize("header", ["api-key", "x-api-key", "x-bf-vk"])
    async def test_from_every_header(self, who, header):
        """A JWT is read from the same headers as a key."""
        assert (await who.draw(QUICK, key=None, headers={header: token()})).status_code == 200

    async def test_an_admin(self, who):
        """The operator's JWT may call every deployment, also where no record has its subject."""
        assert (await who.draw(OTHER, key=token(role="admin", sub="the operator"))).status_code == 200

    @pytest.mark.parametrize("make", BAD_JWTS.values(), ids=BAD_JWTS)
    async def test_refused(self, who, make):
        """A JWT that is wrong in any way is 401 and told no more than that; nothing is asked upstream."""
        response = await who.draw(QUICK, key=make())
        assert (401, "invalid_credentials", None) == said(response)
        assert ("Bearer", 0) == (response.headers["www-authenticate"], len(who.calls))
        assert refusal(response)["message"] == refusal(await who.draw(QUICK, key="sk-bf-unknown"))["message"]

    async def test_deployments_null(self, who):
        """`deployments: null` is no list of strings, so it is 401."""
        signed = jwt.encode({**claims(), "deployments": None}, SECRET, "HS256")
        assert (401, "invalid_credentials", None) == said(await who.draw(QUICK, key=signed))

    @pytest.mark.parametrize(
        ("seconds", "status"), [(-55, 200), (-65, 401), (-86_400, 401)], ids=["within", "just beyond", "long ago"]
    )
    async def test_expired(self, who, seconds, status):
        """A JWT counts until 60 seconds after its end."""
        response = await who.draw(QUICK, key=token(exp=int(time.time()) + seconds))
        assert status == response.status_code
        if status == 401:
            assert refusal(response)["code"] == "expired_credentials"

    async def test_an_expired_forgery(self, who):
        """Whether a JWT has expired is told only to those who have a real one."""
        forged = token("another secret of thirty-two bytes or more", exp=1)
        assert (401, "invalid_credentials", None) == said(await who.draw(QUICK, key=forged))

    @pytest.mark.parametrize(
        ("subject", "expected"), [("inactive", (403, "key_inactive")), ("expired", (401, "expired_credentials"))]
    )
    async def test_of_a_key_that_does_not_count(self, who, subject, expected):
        """A JWT counts for no more than the record that its subject names."""
        assert (*expected, None) == said(await who.draw(QUICK, key=token(sub=subject)))

    @pytest.mark.parametrize(
        ("subject", "deployments", "status"),
        [
            ("team-a", [QUICK], 200),
            ("team-a", ["*"], 200),
            ("team-a", [OTHER], 403),
            ("team-a", [], 403),
            ("narrow", [QUICK, OTHER], 200),
            ("narrow", ["*"], 200),
            ("nothing", [QUICK], 403),
            ("nothing", ["*"], 403),
        ],
    )
    async def test_narrowed(self, who, subject, deployments, status):
        """`deployments` narrows what a JWT may call and never widens it."""
        response = await who.draw(QUICK, key=token(sub=subject, deployments=deployments))
        assert status == response.status_code
        if status == 403:
            assert refusal(response)["code"] == "deployment_not_allowed"

    async def test_not_taken(self):
        """Where no key for JWTs is set, none counts."""
        async with house() as own:
            assert (401, "invalid_credentials", None) == said(await own.draw(QUICK, key=token()))


RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    """The PEM of a key's public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class TestPem:
    """JWTs by a public key."""

    @pytest.mark.parametrize(
        ("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")], ids=["RSA", "EC", "Ed"]
    )
    async def test_taken(self, key, algorithm):
        """RSA, P-256 and Ed25519 keys check what their private halves have signed, by one algorithm each."""
        async with house(GATEWAY_JWT_PUBLIC_KEY=pem(key).replace("\n", "\\n"), **TRUST) as own:
            good = await own.draw(QUICK, key=token(key, algorithm))
            confused = jwt.api_jws.encode(json.dumps(claims()).encode(), "", "none")
            assert (200, 401) == (good.status_code, (await own.draw(QUICK, key=confused)).status_code)

    async def test_the_key_fixes_the_algorithm(self):
        """A token chooses no algorithm: neither the public key as an HMAC secret nor another hash counts."""
        async with house(GATEWAY_JWT_PUBLIC_KEY=pem(RSA), **TRUST) as own:
            head, payload = (
                jwt.utils.base64url_encode(json.dumps(part).encode()).decode()
                for part in ({"alg": "HS256", "typ": "JWT"}, claims())
            )
            signature = jwt.get_algorithm_by_name("HS256").sign(f"{head}.{payload}".encode(), pem(RSA).encode())
            forged = f"{head}.{payload}.{jwt.utils.base64url_encode(signature).decode()}"
            answers = [
                await own.draw(QUICK, key=each) for each in (forged, token(RSA, "RS512"), token(OTHER_RSA, "RS256"))
            ]
            assert [(401, "invalid_credentials", None)] * 3 == [said(answer) for answer in answers]

    async def test_a_key_in_the_token(self):
        """A key that the token brings along does not count (RFC 8725, 3.10)."""
        brought = {"jwk": json.loads(RSAAlgorithm.to_jwk(OTHER_RSA.public_key()))}
        async with house(GATEWAY_JWT_PUBLIC_KEY=pem(RSA), **TRUST) as own:
            forged = jwt.encode(claims(), OTHER_RSA, "RS256", headers=brought)
            assert (401, "invalid_credentials", None) == said(await own.draw(QUICK, key=forged))

    @pytest.mark.parametrize(
        "bad",
        [
            RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            pem(ec.generate_private_key(ec.SECP384R1())),
            "no key",
        ],
        ids=["private", "P-384", "text"],
    )
    async def test_unusable(self, bad):
        """A private key, another curve or no key at all is a setting that is wrong."""
        async with house(GATEWAY_JWT_PUBLIC_KEY=bad, **TRUST) as own:
            assert (503, "misconfigured", None) == said(await own.draw(QUICK))


@dataclass
class Issuer:
    """An issuer's JWKS, as an ASGI application that counts how often it is asked."""

    keys: dict[str, Any] = field(default_factory=dict)
    """Private keys by `kid`."""
    status: int = 200
    asked: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        self.asked += 1
        content = json.dumps({"keys": [{**_jwk(key), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]})
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": content.encode()})


def _jwk(key: Any) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((kinds[kind] for kind in kinds if isinstance(key, kind)), OKPAlgorithm)
    found: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return found


class TestJwks:
    """JWTs by a key set behind a URL."""

    async def test_taken(self):
        """RS256, ES256 and EdDSA count, each by the key of its `kid`; the set is fetched once."""
        issuer = Issuer({"r": RSA, "e": EC, "d": ED})
        async with serving(issuer) as url, house(GATEWAY_JWT_JWKS_URL=f"{url}/keys", **TRUST) as own:
            signed = [token(RSA, "RS256", "r"), token(EC, "ES256", "e"), token(ED, "EdDSA", "d")]
            assert [200] * 3 == [(await own.draw(QUICK, key=each)).status_code for each in signed]
            assert issuer.asked == 1

    async def test_refused(self):
        """A token by another key, by another key's `kid`, or without one where there are several, is 401."""
        issuer = Issuer({"r": RSA, "e": EC})
        async with serving(issuer) as url, house(GATEWAY_JWT_JWKS_URL=url, **TRUST) as own:
            bad = [token(OTHER_RSA, "RS256", "r"), token(RSA, "RS256", "e"), token(RSA, "RS256")]
            assert [(401, "invalid_credentials", None)] * 3 == [said(await own.draw(QUICK, key=each)) for each in bad]

    async def test_a_new_key(self):
        """A `kid` that is not known has the set fetched again, at most once a minute."""
        issuer = Issuer({"old": RSA})
        async with serving(issuer) as url, house(GATEWAY_JWT_JWKS_URL=url, **TRUST) as own:
            first = await own.draw(QUICK, key=token(RSA, "RS256", "old"))
            issuer.keys["new"] = EC
            second = await own.draw(QUICK, key=token(EC, "ES256", "new"))
            unknown = [await own.draw(QUICK, key=token(ED, "EdDSA", f"made-up-{number}")) for number in range(5)]
            assert [200, 200, 401, 401, 401, 401, 401] == [each.status_code for each in (first, second, *unknown)]
            assert issuer.asked == 2

    @pytest.mark.parametrize("down", ["refuses connections", "fails"])
    async def test_down_from_the_start(self, down):
        """Where the set was never there, nobody is let in by JWT: 503; virtual keys still count."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            async with serving(Issuer(status=500)) as failing:
                url = failing if down == "fails" else f"http://127.0.0.1:{nobody.getsockname()[1]}"
                async with house(GATEWAY_JWT_JWKS_URL=url, **TRUST) as own:
                    response = await own.draw(QUICK, key=token(RSA, "RS256", "r"))
                    assert (503, "auth_unavailable", None) == said(response)
                    assert len(own.calls) == 0
                    assert (await own.draw(QUICK)).status_code == 200

    async def test_down_later(self):
        """Once the set is there, an outage of the issuer locks nobody out."""
        issuer = Issuer({"r": RSA})
        async with serving(issuer) as url, house(GATEWAY_JWT_JWKS_URL=url, **TRUST) as own:
            before = await own.draw(QUICK, key=token(RSA, "RS256", "r"))
            issuer.status = 500
            after = await own.draw(QUICK, key=token(RSA, "RS256", "r"))
            assert (200, 200) == (before.status_code, after.status_code)

    async def test_back_again(self):
        """A set that was not there is asked for again, seconds later on the gateway's clock."""
        now = [1000.0]
        issuer = Issuer({"r": RSA}, status=503)
        async with serving(issuer) as url, house(clock=lambda: now[0], GATEWAY_JWT_JWKS_URL=url, **TRUST) as own:
            signed = token(RSA, "RS256", "r")
            before = await own.draw(QUICK, key=signed)
            issuer.status = 200
            now[0] += 60
            after = await own.draw(QUICK, key=signed)
            assert (503, 200) == (before.status_code, after.status_code)

    async def test_kept_for_ten_minutes(self):
        """The set is fetched again after ten minutes, and not before."""
        now = [1000.0]
        issuer = Issuer({"r": RSA})
        async with serving(issuer) as url, house(clock=lambda: now[0], GATEWAY_JWT_JWKS_URL=url, **TRUST) as own:
            asked = []
            for seconds in (0, 599, 2):
                now[0] += seconds
                assert (await own.draw(QUICK, key=token(RSA, "RS256", "r"))).status_code == 200
                asked.append(issuer.asked)
            assert [1, 1, 2] == asked
