"""Real keys, and tokens signed with them by hand: what is tested must not also make what it is tested with."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
T = int(NOW.timestamp())
SECRET = b"a secret of at least 32 bytes ...."
ISSUER, AUDIENCE = "https://issuer.example", "image-gateway"

CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "team-a", "exp": T + 600, "role": "virtual_key"}


def b64(data: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The reverse."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@functools.cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """An RSA key; `number` tells several apart."""
    return rsa.generate_private_key(65537, bits)


@functools.cache
def p256_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def ed_key(number: int = 0) -> ed25519.Ed25519PrivateKey:
    """An Ed25519 key."""
    return ed25519.Ed25519PrivateKey.generate()


def public(private: Any) -> Any:
    """The public half; a secret has none but itself."""
    return private if isinstance(private, bytes) else private.public_key()


def pem(private: Any) -> str:
    """The PEM of the public half."""
    text: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def signature(private: Any, data: bytes, algorithm: str) -> bytes:
    """Sign as the algorithm says (RFC 7518 §3, RFC 8037 §3.1)."""
    if isinstance(private, bytes):
        return hmac.digest(private, data, f"sha{algorithm.removeprefix('HS')}")
    if isinstance(private, rsa.RSAPrivateKey):
        digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
        if algorithm.startswith("PS"):
            return private.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return private.sign(data, padding.PKCS1v15(), digest)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    signed: bytes = private.sign(data)
    return signed


PRIVATE: dict[str, Any] = {"HS256": SECRET, "RS256": rsa_key(), "ES256": p256_key(), "EdDSA": ed_key()}
"""One key of each kind that the gateway takes."""


def token(
    claims: dict[str, Any] | bytes | None = None,
    algorithm: str = "HS256",
    private: Any = None,
    header: dict[str, Any] | bytes | None = None,
) -> str:
    """A token with these claims; `header` adds to the header, or as bytes replaces it whole."""
    if not isinstance(header, bytes):
        header = json.dumps({"alg": algorithm, "typ": "JWT", **(header or {})}).encode()
    if not isinstance(claims, bytes):
        claims = json.dumps(CLAIMS if claims is None else claims).encode()
    data = f"{b64(header)}.{b64(claims)}"
    return f"{data}.{b64(signature(private or PRIVATE[algorithm], data.encode(), algorithm))}"


def number(value: int) -> str:
    """A number as JWKs write it (RFC 7518 §2)."""
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def jwk(private: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The public half as a JWK (RFC 7517)."""
    entry: dict[str, Any]
    half = private.public_key()
    if isinstance(half, rsa.RSAPublicKey):
        numbers = half.public_numbers()
        entry = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    elif isinstance(half, ec.EllipticCurvePublicKey):
        point = half.public_numbers()
        size = (half.key_size + 7) // 8
        x, y = (b64(part.to_bytes(size, "big")) for part in (point.x, point.y))
        entry = {"kty": "EC", "crv": f"P-{half.key_size}", "x": x, "y": y}
    else:
        entry = {"kty": "OKP", "crv": "Ed25519", "x": b64(half.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    return {**entry, **({} if kid is None else {"kid": kid}), **more}


def thumb(text: str) -> str:
    """A short name of a long text, for ids."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]
