"""Which public keys are taken from `GATEWAY_JWT_PUBLIC_KEY`."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from core.auth.jwt import load_pem
from tests.auth.signing import ed_key, p256_key, pem, rsa_key


def certificate() -> str:
    """A certificate signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(p256_key().public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=9000))
        .sign(p256_key(), hashes.SHA256())
    )
    return built.public_bytes(Encoding.PEM).decode()


def private_pem(form: PrivateFormat) -> str:
    """A private key."""
    return rsa_key().private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def unknown_curve() -> str:
    """A key on a curve that nobody has heard of: P-256's, with another object identifier."""
    der = p256_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    odd = der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f"))
    return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(odd).decode()}\n-----END PUBLIC KEY-----\n"


def unknown_kind() -> str:
    """A key of a kind that nobody has heard of."""
    der = ed_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    odd = der.replace(bytes.fromhex("2b6570"), bytes.fromhex("2b657f"))
    return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(odd).decode()}\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        pytest.param(pem(rsa_key()), "RS256", id="RSA 2048"),
        pytest.param(pem(p256_key()), "ES256", id="P-256"),
        pytest.param(pem(ed_key()), "EdDSA", id="Ed25519"),
        pytest.param(pem(ed_key()).strip(), "EdDSA", id="without its last line break"),
        pytest.param(pem(ed_key()).replace("\n", "\r\n"), "EdDSA", id="Windows line breaks"),
        pytest.param(pem(ed_key()).replace("\n", " "), "EdDSA", id="line breaks that became spaces"),
        pytest.param(
            rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode(), "RS256", id="PKCS#1"
        ),
    ],
)
def test_taken(text: str, algorithm: str) -> None:
    """RSA of 2048 bits, P-256 and Ed25519 are taken, each for its one algorithm."""
    key = load_pem(text)
    assert key is not None
    assert algorithm == key.algorithm


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("PEM", id="no PEM"),
        pytest.param("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", id="an empty PEM"),
        pytest.param("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", id="a PEM of nothing"),
        pytest.param(pem(ed_key())[:-20], id="cut"),
        pytest.param("é" + chr(0xD800), id="no text of Unicode"),
        pytest.param(pem(rsa_key(1024)), id="RSA 1024"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), id="P-384"),
        pytest.param(pem(ec.generate_private_key(ec.SECP521R1())), id="P-521"),
        pytest.param(pem(ec.generate_private_key(ec.SECP256K1())), id="secp256k1"),
        pytest.param(pem(ec.generate_private_key(ec.BrainpoolP256R1())), id="brainpool"),
        pytest.param(pem(ed448.Ed448PrivateKey.generate()), id="Ed448"),
        pytest.param(pem(x25519.X25519PrivateKey.generate()), id="X25519"),
        pytest.param(pem(dsa.generate_private_key(2048)), id="DSA"),
        pytest.param(private_pem(PrivateFormat.PKCS8), id="a private key, PKCS#8"),
        pytest.param(private_pem(PrivateFormat.TraditionalOpenSSL), id="a private key, PKCS#1"),
        pytest.param(
            ed25519.Ed25519PrivateKey.generate()
            .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            .decode(),
            id="a private Ed25519 key",
        ),
        pytest.param(certificate(), id="a certificate"),
        pytest.param(unknown_curve(), id="an unknown curve"),
        pytest.param(unknown_kind(), id="an unknown kind"),
        pytest.param("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA x", id="an SSH key"),
    ],
)
def test_not_taken(text: str) -> None:
    """Weak keys, other curves and kinds, private keys and certificates are no public key of ours, and never a fault."""
    assert load_pem(text) is None
