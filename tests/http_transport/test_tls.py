"""TLS: whom the gateway believes, and that nothing is sent to anybody else."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.http import transports
from tests.http_transport.asking import LOST, Told, ask, leaving_sockets, only_built_in
from tests.http_transport.peer import CLOSE, RESET, ok, speaking
from tests.http_transport.test_answers import refusing

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = ipaddress.ip_address("127.0.0.1")
NOW = dt.datetime.now(dt.UTC)


class Authority:
    """A certificate authority of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An authority of tests")])
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
        )
        certificate = (
            self._of(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **usage
                ),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = directory / "authority.pem"
        self.bundle.write_bytes(certificate.public_bytes(Encoding.PEM))

    def server(self, name: str) -> ssl.SSLContext:
        """What a server for that name presents."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._of(x509.Name([]), key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(LOOPBACK)]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        both = self._directory / f"{name}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        both.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def _of(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=1))
            .not_valid_after(NOW + dt.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def _anew():
    """Whom to trust is found out anew: in a process it is found out once."""
    transports.trusted.cache_clear()
    yield
    transports.trusted.cache_clear()


@pytest.fixture
def believed(authority, monkeypatch):
    """The authority, named to the gateway as an operator would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    return authority


async def test_the_right_host(believed, make):
    """A host that proves its name is asked, over HTTP/1.1 and on a connection that is kept."""
    transport, body = make(), bytes(3_000_000)
    async with speaking(ok(body), ok(), tls=believed.server("localhost")) as peer:
        assert (200, body) == await ask(transport, peer.url)
        tls = peer.open[1].get_extra_info("ssl_object")
        assert "http/1.1" == tls.selected_alpn_protocol()
        assert (200, b"ok") == await ask(transport, peer.url)

        assert [1, 1] == peer.asked_on


async def test_another_host(believed, make):
    """A host that proves another name is told nothing."""
    told = Told()
    async with speaking(ok(), tls=believed.server("elsewhere.example")) as peer:
        with pytest.raises(httpx2.ConnectError):
            await ask(make(), peer.url, trace=told)

        assert [] == peer.requests
    assert not told.is_sent


async def test_a_host_by_its_address(believed, make):
    """A host that is named by its address proves that."""
    async with speaking(ok(), tls=believed.server("elsewhere.example")) as peer:
        assert (200, b"ok") == await ask(make(), peer.url.replace("localhost", str(LOOPBACK)))


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", None])
async def test_another_authority(authority, make, monkeypatch, tmp_path, variable):
    """A host whose authority is not in the list is told nothing.

    The operator's list is the only one; where there is none, certifi's counts.
    """
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, str(other.bundle if variable == "SSL_CERT_FILE" else tmp_path / "other"))
    async with speaking(ok(), tls=authority.server("localhost")) as peer:
        with pytest.raises(httpx2.ConnectError):
            await ask(make(), peer.url)

        assert [] == peer.requests


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "torn down"])
async def test_an_answer_that_breaks_off(believed, make, end):
    """A body that is cut short is lost over TLS as well."""
    cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegins"
    async with speaking((cut, end), tls=believed.server("localhost")) as peer:
        with pytest.raises(LOST):
            await ask(make(), peer.url)


async def test_more_that_the_loop_has_not_seen(believed, make):
    """What a server sends unasked, encrypted as it is, keeps its connection from being used again."""
    transport = make()
    async with speaking(ok(), ok(b"again"), tls=believed.server("localhost")) as peer:
        await ask(transport, peer.url)
        await asyncio.sleep(0.01)
        peer.open[1].write(ok(b"WRONG"))

        assert (200, b"again") == await ask(transport, peer.url)
        assert [1, 2] == peer.asked_on


@only_built_in("httpx2 looks for an answer when it has sent all", run=False)
async def test_an_answer_before_the_request_was_read(believed, make):
    """Where the server answers without reading what was asked, the rest of that is not in the next one's way."""
    early, transport = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\nno", make(max_connections=1)
    async with refusing(early, tls=believed.server("localhost")) as url:
        for _ in range(2):
            assert (429, b"no") == await ask(
                transport, url.replace("127.0.0.1", "localhost"), content=bytes(30_000_000)
            )


@leaving_sockets
async def test_cancelled_at_any_moment(believed, make):
    """Wherever a call is cancelled, from the first address to the answer, its connection and its place come free."""
    transport = make(max_connections=1)
    async with speaking(asyncio.Event(), tls=believed.server("localhost")) as peer:
        url = peer.url.replace("localhost", "127.0.0.1")
        for rounds in range(60):
            task = asyncio.ensure_future(ask(transport, url))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        await peer.until(lambda peer: not peer.open)
        peer.answers = [(ok(),)]

        assert (200, b"ok") == await ask(transport, url)
