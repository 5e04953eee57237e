"""TLS: whom the gateway believes, and that nothing is sent to anybody else."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.http.http1 import Http1Connection
from core.azure_openai.connection import HttpRequest, Lost, NotSent
from tests.azure_openai.peer import CLOSE, RESET, ok, speaking
from tests.waiting import HANGS_SECONDS

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


@pytest.fixture
def believed(authority, monkeypatch):
    """The authority, named to the gateway as an operator would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    return authority


async def ask(connection: Http1Connection, url: str) -> bytes:
    request = HttpRequest(url=url, headers={}, body=b"a red fox")
    async with (
        asyncio.timeout(HANGS_SECONDS),
        connection.send(request) as response,
        aclosing(response.pieces()) as pieces,
    ):
        return b"".join([piece async for piece in pieces])


async def test_the_right_host(believed, connection):
    """A host that proves its name is asked, over HTTP/1.1 and on a connection that is kept."""
    body = bytes(3_000_000)
    async with speaking(ok(body), ok(), tls=believed.server("localhost")) as peer:
        assert body == await ask(connection, peer.url)
        tls = peer.open[1].get_extra_info("ssl_object")
        assert "http/1.1" == tls.selected_alpn_protocol()
        assert b"ok" == await ask(connection, peer.url)

        assert [1, 1] == peer.asked_on


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_an_answer_before_the_request_was_read(believed, connection, secure):
    """Where upstream answers without reading what was asked, the rest of that is not in the next call's way."""
    early = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\nno"
    asked, over = [], asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        writer.write(early)
        await over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=believed.server("localhost") if secure else None)
    url = f"{'https' if secure else 'http'}://localhost:{server.sockets[0].getsockname()[1]}"
    body = bytes(30_000_000)  # more than any network takes
    for _ in range(2):
        request = HttpRequest(url=url, headers={}, body=body)
        async with asyncio.timeout(HANGS_SECONDS), connection.send(request) as response:
            assert b"no" == await anext(response.pieces())
    server.close()
    over.set()
    await asyncio.wait(asked)

    assert 2 == len(asked)


async def test_another_host(believed, connection):
    """A host that proves another name is told nothing."""
    async with speaking(ok(), tls=believed.server("elsewhere.example")) as peer:
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            await ask(connection, peer.url)

        assert [] == peer.requests


async def test_a_host_by_its_address(believed, connection):
    """A host that is named by its address proves that."""
    async with speaking(ok(), tls=believed.server("elsewhere.example")) as peer:
        assert b"ok" == await ask(connection, peer.url.replace("localhost", str(LOOPBACK)))


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_another_authority(authority, connection, monkeypatch, tmp_path, variable):
    """A host whose authority is not in the list is told nothing; the operator's list is the only one."""
    empty = tmp_path / "none"
    empty.mkdir()
    monkeypatch.setenv(variable, str(empty if variable == "SSL_CERT_DIR" else empty / "missing.pem"))
    async with speaking(ok(), tls=authority.server("localhost")) as peer:
        with pytest.raises(NotSent):
            await ask(connection, peer.url)

        assert [] == peer.requests


async def test_nobodys_authority(authority, connection, monkeypatch):
    """Where nobody names a list, the one of certifi counts, and an unknown authority is not in it."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    async with speaking(ok(), tls=authority.server("localhost")) as peer:
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            await ask(connection, peer.url)

        assert [] == peer.requests


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "torn down"])
async def test_an_answer_that_breaks_off(believed, connection, end):
    """A body that is cut short is lost over TLS as well."""
    cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegins"
    async with speaking((cut, end), tls=believed.server("localhost")) as peer:
        with pytest.raises(Lost):
            await ask(connection, peer.url)


async def test_cancelled_at_any_moment(believed):
    """Wherever a call is cancelled, from the first address to the answer, its connection and its place come free."""
    connection = Http1Connection(connect_seconds=HANGS_SECONDS, most_connections=1)
    async with speaking(asyncio.Event(), tls=believed.server("localhost")) as peer:
        for rounds in range(60):
            task = asyncio.ensure_future(ask(connection, peer.url.replace("localhost", "127.0.0.1")))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        await peer.until(lambda peer: not peer.open)
        assert not connection._pool._open

        peer._answers = [(ok(),)]
        assert b"ok" == await ask(connection, peer.url)
    await connection.aclose()
